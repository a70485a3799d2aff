"""``python -m genie_service``: the same as ``genie serve``, for machines that have the service but not the client."""

from __future__ import annotations

import sys

import typer

from genie_core.errors import GenieError
from genie_service.command import serve


def main() -> None:
    """Run the server; exit code 2 with one line on standard error for what the user can put right."""
    app = typer.Typer(add_completion=False, pretty_exceptions_enable=False)
    app.command()(serve)
    try:
        app(prog_name="genie-service")
    except GenieError as error:
        print(f"error: {error}", file=sys.stderr)
        sys.exit(2)


if __name__ == "__main__":
    main()
