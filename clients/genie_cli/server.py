"""Server of a command: the one that the user names, else an embedded one for as long as the command runs."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager
from typing import TYPE_CHECKING, Annotated

import typer

if TYPE_CHECKING:
    from genie_client.client import Client

ServerOption = Annotated[
    str | None,
    typer.Option("--server", metavar="HOST:PORT", help="Address of a running server. [default: an embedded one]"),
]
ModelsOption = Annotated[
    str | None,
    typer.Option(
        "--models",
        metavar="DIR",
        help="Folder of bundles for the embedded server, or a URL. [default: those shipped with Genie]",
    ),
]
ModelOption = Annotated[
    str | None, typer.Option("--model", metavar="NAME", help="Model to use. [default: the server's]")
]


@contextmanager
def connected(server: str | None, models: str | None, model: str | None = None) -> Iterator[Client]:
    """Yield a client of `server`, or of an embedded server that hosts `models` and stops with the block.

    `model` is the one that the embedded server loads; None: its default one.
    """
    from rich.console import Console

    from genie_client.client import Client
    from genie_client.embedded import embedded_client

    if server is not None:
        _refuse_both(models)
        with Client(server) as client:
            yield client
        return
    console = Console(stderr=True)
    with console.status("starting an embedded server ...") as status, embedded_client(models, model) as client:
        status.stop()
        yield client


@contextmanager
def server_address(server: str | None, models: str | None, model: str | None = None) -> Iterator[tuple[str, bool]]:
    """Yield the address of `server`, or of an embedded one as `connected` starts it, and whether it is our own."""
    from rich.console import Console

    from genie_client.embedded import embedded_server

    if server is not None:
        _refuse_both(models)
        yield server, False
        return
    console = Console(stderr=True)
    with (
        console.status("starting an embedded server ...") as status,
        embedded_server(models, model=model) as address,
    ):
        status.stop()
        yield address, True


def _refuse_both(models: str | None) -> None:
    from genie_core.errors import GenieError

    if models is not None:
        raise GenieError("--models: got it with --server: choose one, a running server hosts its own models")


__all__ = ["ModelOption", "ModelsOption", "ServerOption", "connected", "server_address"]
