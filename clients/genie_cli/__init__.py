"""The `genie` command line. One module a command; `serve`, `train` and others come from the packages they belong to."""

from genie_cli.app import main

__all__ = ["main"]
