"""Measures the project's figures, most of them ratios of two things timed in turn: ``python -m benchmarks``.

Not installed: it belongs to the repository, and its baselines exist to be compared with.
"""
