"""The `genie` command line: one module per command; `serve` comes from the package of the service."""

from genie_cli.app import main

__all__ = ["main"]
