"""A soak: far more work than a server can do, beside clients that misbehave, for minutes.

``python -m tests.reliability.soak`` (`make soak`) runs it and prints what came of it; `test_soak` for a minute.
"""
