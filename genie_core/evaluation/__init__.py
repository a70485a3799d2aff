"""How good a bundle is, measured: `evaluation.evaluate` makes a `report.Report`; `command` is `genie evaluate`."""
