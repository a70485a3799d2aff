"""Kill trials: the command line is killed at random moments and at every step that it takes on the disk.

``python -m tests.reliability`` (`make kill-trials`) runs them and prints what came of them; `test_kill_trials` a few.
"""
