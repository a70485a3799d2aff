"""``python -m genie_service``: the same as ``genie serve``, for machines without the client package."""

from __future__ import annotations

import sys

from genie_core.errors import GenieError
from genie_service.command import app


def main() -> None:
    """Run the server; exit code 2, with one line on standard error, for errors that the user can fix."""
    try:
        app(prog_name="genie-service")
    except GenieError as error:
        print(f"error: {error}", file=sys.stderr)
        sys.exit(2)


if __name__ == "__main__":
    main()
