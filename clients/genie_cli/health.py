"""``genie health``: whether a server can be used now, for health checks of containers and for scripts."""

from __future__ import annotations

from typing import Annotated

import typer


def health(
    address: Annotated[str, typer.Argument(metavar="HOST:PORT", help="The server to ask.")],
    service: Annotated[
        str, typer.Option("--service", metavar="NAME", help="Ask for one service. [default: the whole server]")
    ] = "",
    timeout: Annotated[float, typer.Option("--timeout", min=0, help="How long it may take to answer, seconds.")] = 3.0,
) -> None:
    """Ask a server through gRPC health whether it can be used: exit code 0 if it is SERVING, else 1.

    It needs no token. TLS is set up as for every other command: GENIE_CLIENT_TLS, GENIE_CLIENT_CA and so on.
    """
    from genie_client.health import ask_health

    status = ask_health(address, service, timeout)
    print(status)
    raise typer.Exit(0 if status == "SERVING" else 1)


__all__ = ["health"]
