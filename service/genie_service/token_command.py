"""``genie token``: makes a token for a user of a server, and stores its hash in the server's file of tokens."""

from __future__ import annotations

import datetime
from pathlib import Path
from typing import Annotated

import typer


def token(
    file: Annotated[Path, typer.Argument(metavar="FILE", help="File of the server's tokens; created if missing.")],
    name: Annotated[str, typer.Option("--name", help="Name of the token's user, for the log and the audit log.")],
    scope: Annotated[
        list[str], typer.Option("--scope", help="Scope: label, simulate or admin. May be given several times.")
    ] = ["label", "simulate"],  # noqa: B006 - typer copies it
    expires: Annotated[
        datetime.datetime | None,
        typer.Option("--expires", formats=["%Y-%m-%d"], help="Last valid day. [default: none]"),
    ] = None,
) -> None:
    """Make a token and print it, once: the file keeps only its hash. A running server rereads the file.

    Give it to its user as a file that only they can read, named in GENIE_CLIENT_TOKEN_FILE. To revoke it, delete its
    table from FILE.
    """
    from genie_core.errors import GenieError
    from genie_service.tokens import Scope, add_token

    unknown = sorted(set(scope) - set(Scope))
    if unknown:
        raise GenieError(f"--scope: got {', '.join(unknown)}, expected {', '.join(Scope)}")
    made = add_token(file, name, [Scope(word) for word in scope], None if expires is None else expires.date())
    print(made)


__all__ = ["token"]
