"""``genie health``: whether a server is ready, for container health checks and scripts."""

from __future__ import annotations

from typing import Annotated

import typer


def health(
    address: Annotated[str, typer.Argument(metavar="HOST:PORT", help="Address of the server.")],
    service: Annotated[
        str, typer.Option("--service", metavar="NAME", help="Service to check. [default: the whole server]")
    ] = "",
    timeout: Annotated[float, typer.Option("--timeout", min=0, help="Longest wait for an answer, seconds.")] = 3.0,
) -> None:
    """Check a server through gRPC health: exit code 0 if it is SERVING, else 1.

    Needs no token. TLS is configured as for all commands: GENIE_CLIENT_TLS, GENIE_CLIENT_CA and so on.
    """
    from genie_client.health import ask_health

    status = ask_health(address, service, timeout)
    print(status)
    raise typer.Exit(0 if status == "SERVING" else 1)


__all__ = ["health"]
