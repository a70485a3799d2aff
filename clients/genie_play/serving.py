"""Serves the page until the user stops it."""

from __future__ import annotations

import asyncio
import socket
from collections.abc import Callable

import uvicorn
from starlette.applications import Starlette

from genie_core.errors import GenieError
from genie_play.starts import MAX_PICTURE_BYTES


def listen(host: str, port: int) -> socket.socket:
    """Return a socket that listens on ``host:port``; port 0 takes any that is free. Raises GenieError if none is."""
    family = socket.AF_INET6 if ":" in host else socket.AF_INET
    listener = socket.socket(family)
    listener.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
    try:
        listener.bind((host, port))
    except OSError as error:
        listener.close()
        raise GenieError(
            f"--port: cannot listen on {host}:{port}: {error.strerror or error}; choose another"
        ) from error
    listener.listen()
    return listener


async def serve(app: Starlette, listener: socket.socket, ready: Callable[[], None]) -> None:
    """Serve an application on a socket until Ctrl-C or SIGTERM; `ready` is called when it answers."""
    config = uvicorn.Config(
        app,
        log_level="warning",
        access_log=False,
        server_header=False,
        ws="websockets-sansio",
        ws_max_size=MAX_PICTURE_BYTES,
        ws_max_queue=8,
        timeout_graceful_shutdown=2,
    )
    server = uvicorn.Server(config)
    serving = asyncio.ensure_future(server.serve([listener]))
    while not (server.started or serving.done()):
        await asyncio.sleep(0.02)
    if server.started:
        ready()
    await serving


__all__ = ["listen", "serve"]
