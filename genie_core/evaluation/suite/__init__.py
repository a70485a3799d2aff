"""Suites: the labels of one bundle on many data sets, beside what needs no training. `run.run_suite` does it all."""
