"""Where a command finds its server: the one that the user names, else an embedded one for as long as it runs."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import typer

if TYPE_CHECKING:
    from genie_client.client import Client

ServerOption = Annotated[
    str | None,
    typer.Option("--server", metavar="HOST:PORT", help="A running server. [default: an embedded one]"),
]
ModelsOption = Annotated[
    Path | None,
    typer.Option(
        "--models", metavar="DIR", help="Bundles for the embedded server. [default: those that ship with Genie]"
    ),
]
ModelOption = Annotated[
    str | None, typer.Option("--model", metavar="NAME", help="Model to use. [default: the server's]")
]


@contextmanager
def connected(server: str | None, models: Path | None) -> Iterator[Client]:
    """A client of `server`, or of an embedded server that hosts `models` and ends with the block."""
    from rich.console import Console

    from genie_client.client import Client
    from genie_client.embedded import embedded_client
    from genie_core.errors import GenieError

    if server is not None:
        if models is not None:
            raise GenieError("--models is for the embedded server; --server hosts its own")
        with Client(server) as client:
            yield client
        return
    console = Console(stderr=True)
    with console.status("starting an embedded server ...") as status, embedded_client(models) as client:
        status.stop()
        yield client


__all__ = ["ModelOption", "ModelsOption", "ServerOption", "connected"]
