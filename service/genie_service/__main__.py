"""``python -m genie_service``: the same as ``genie serve``, for machines that have the service but not the client."""

from __future__ import annotations

import sys

from genie_core.errors import GenieError
from genie_service.command import app


def main() -> None:
    """Run the server; exit code 2 with one line on standard error for what the user can put right."""
    try:
        app(prog_name="genie-service")
    except GenieError as error:
        print(f"error: {error}", file=sys.stderr)
        sys.exit(2)


if __name__ == "__main__":
    main()
