"""Evaluation of a bundle: `evaluation.evaluate` makes a `report.Report`; the command is `genie evaluate`."""
