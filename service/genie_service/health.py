"""grpc.health.v1: Genie's services are SERVING while the default model is ready and the server is not draining."""

from __future__ import annotations

from collections.abc import Callable

from grpc import aio
from grpc_health.v1 import health, health_pb2, health_pb2_grpc

OVERALL = ""
"""Name under which probes ask about the server as a whole."""


class Health:
    """Answers health checks. The default model determines the services `needing_model`; `others` always serve."""

    def __init__(self, needing_model: tuple[str, ...], others: tuple[str, ...], is_ready: Callable[[], bool]) -> None:
        self._needing_model = (OVERALL, *needing_model)
        self._others = others
        self._is_ready = is_ready
        self._servicer = health.aio.HealthServicer()

    def add_to(self, server: aio.Server) -> None:
        """Register the health service."""
        health_pb2_grpc.add_HealthServicer_to_server(self._servicer, server)

    async def update(self) -> None:
        """Notify all watchers of the current state. Has no effect after `close`."""
        for service in self._others:
            await self._servicer.set(service, health_pb2.HealthCheckResponse.SERVING)
        ready = self._is_ready()
        status = health_pb2.HealthCheckResponse.SERVING if ready else health_pb2.HealthCheckResponse.NOT_SERVING
        for service in self._needing_model:
            await self._servicer.set(service, status)

    async def close(self) -> None:
        """Set every service to NOT_SERVING for good."""
        await self._servicer.enter_graceful_shutdown()


__all__ = ["OVERALL", "Health"]
