"""Suites: one bundle's labels on many datasets, beside baselines without training. See `run.run_suite`."""
