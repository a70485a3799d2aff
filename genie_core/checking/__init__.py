"""`genie check`: is a labelled file fit to train on? Measures labels, judges them by stated rules, and says why.

`run.check_labelled` does all of it. Nothing here trains a model or writes into the labelled file.
"""
