"""The port of the metrics: HTTP for Prometheus, apart from gRPC's, in threads of its own."""

from __future__ import annotations

import logging
import socket
import threading
from socketserver import ThreadingMixIn
from typing import Any
from wsgiref.simple_server import WSGIRequestHandler, WSGIServer

from prometheus_client import CollectorRegistry, make_wsgi_app

from genie_core.errors import GenieError

_log = logging.getLogger(__name__)

_READERS = 8
"""Largest number of connections served at once; further ones are closed."""

_PATIENCE_S = 5.0
"""How long a reader may send or accept nothing."""


class Exposition:
    """Serves the metrics of a registry over HTTP until `close`."""

    def __init__(self, registry: CollectorRegistry, host: str, port: int) -> None:
        """Listen on ``host:port``; port 0 for a free one. Raises GenieError if that is not possible."""
        server = _Server6 if ":" in host else _Server
        try:
            self._server = server((host, port), _Handler)
        except OSError as error:
            raise GenieError(f"metrics_address: cannot listen on {host}:{port}: {error.strerror or error}") from None
        self._server.set_app(make_wsgi_app(registry))
        shown = f"[{host}]" if ":" in host else host
        self.address = f"{shown}:{self._server.server_port}"
        self._thread = threading.Thread(target=self._server.serve_forever, name="genie-metrics", daemon=True)
        self._thread.start()

    def close(self) -> None:
        """Stop listening."""
        self._server.shutdown()
        self._server.server_close()
        self._thread.join()


class _Handler(WSGIRequestHandler):
    timeout = _PATIENCE_S  # of each read and write

    def log_message(self, format: str, *arguments: Any) -> None:
        _log.debug(format, *arguments)


class _Server(ThreadingMixIn, WSGIServer):
    daemon_threads = True
    allow_reuse_address = True
    request_queue_size = _READERS

    def __init__(self, *arguments: Any) -> None:
        self._room = threading.BoundedSemaphore(_READERS)
        super().__init__(*arguments)

    def server_bind(self) -> None:
        """Bind without looking the host's name up, which may take seconds."""
        self.socket.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
        self.socket.bind(self.server_address)
        self.server_address = self.socket.getsockname()
        self.server_name, self.server_port = str(self.server_address[0]), self.server_address[1]
        self.setup_environ()

    def process_request(self, request: Any, client_address: Any) -> None:
        if not self._room.acquire(blocking=False):
            self.shutdown_request(request)
            return
        super().process_request(request, client_address)

    def process_request_thread(self, request: Any, client_address: Any) -> None:
        try:
            super().process_request_thread(request, client_address)
        finally:
            self._room.release()

    def handle_error(self, request: Any, client_address: Any) -> None:
        _log.debug("a reader of the metrics failed", exc_info=True)


class _Server6(_Server):
    address_family = socket.AF_INET6


__all__ = ["Exposition"]
