"""``genie token``: makes a token for one user of a server, and notes its hash in the server's file of tokens."""

from __future__ import annotations

import datetime
from pathlib import Path
from typing import Annotated

import typer


def token(
    file: Annotated[Path, typer.Argument(metavar="FILE", help="The server's file of tokens; made if it is not there.")],
    name: Annotated[str, typer.Option("--name", help="Whose token it is; the server's log and audit log say so.")],
    scope: Annotated[
        list[str], typer.Option("--scope", help="What it is for: label, simulate or admin. May be given several times.")
    ] = ["label", "simulate"],  # noqa: B006 - typer copies it
    expires: Annotated[
        datetime.datetime | None, typer.Option("--expires", formats=["%Y-%m-%d"], help="Its last day. [default: none]")
    ] = None,
) -> None:
    """Make a token and print it, once: the file keeps its hash alone. A running server reads the file again.

    Give it to its user as a file that only they can read, named in GENIE_CLIENT_TOKEN_FILE. To take it back, delete
    its table from FILE.
    """
    from genie_core.errors import GenieError
    from genie_service.tokens import Scope, add_token

    unknown = sorted(set(scope) - set(Scope))
    if unknown:
        raise GenieError(f"--scope: got {', '.join(unknown)}, expected {', '.join(Scope)}")
    made = add_token(file, name, [Scope(word) for word in scope], None if expires is None else expires.date())
    print(made)


__all__ = ["token"]
