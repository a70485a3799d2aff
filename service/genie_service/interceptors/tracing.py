"""Tracing: a span around each call, below that of its client if it sends one."""

from __future__ import annotations

from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from typing import Any

import grpc

from genie_core.tracing import answering
from genie_service.calls import current_call
from genie_service.interceptors.wrapping import AroundCall, Context

_OURS = "/genie_api."


class Tracing(AroundCall):
    """Makes each call to Genie's own services a span, if somebody collects them; the engine's are below it."""

    @asynccontextmanager
    async def around(self, method: str, context: Context) -> AsyncIterator[None]:
        """Enter the span; the call's status is known when it is left."""
        if not method.startswith(_OURS):  # probes would be most of all spans
            yield
            return
        headers = {key: value for key, value in context.invocation_metadata() or () if isinstance(value, str)}
        with answering(method, headers, {"genie.request_id": current_call().id}) as code:
            yield
            status: Any = context.code()  # the number 0 before it is set
            code.append((status or grpc.StatusCode.OK).name)


__all__ = ["Tracing"]
