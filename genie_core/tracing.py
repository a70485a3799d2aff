"""Traces by OpenTelemetry, where its packages are installed and somebody collects them; otherwise nothing, at no cost.

`start_tracing` is for processes of our own: a program that uses the client sets its provider up as it likes.
"""

from __future__ import annotations

import os
import time
from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager
from typing import TYPE_CHECKING, Any

from genie_core.errors import GenieError

if TYPE_CHECKING:
    from opentelemetry.trace import Span, Tracer

_ENDPOINTS = ("OTEL_EXPORTER_OTLP_ENDPOINT", "OTEL_EXPORTER_OTLP_TRACES_ENDPOINT")

_CLOCKS_NS = time.time_ns() - time.perf_counter_ns()
"""From `time.perf_counter`, by which work is timed, to the time of day."""

Attributes = Mapping[str, str | int | float]


def start_tracing(service: str) -> None:
    """Export this process's spans over OTLP (HTTP) if the environment says where, as OpenTelemetry's own variables do.

    OTEL_EXPORTER_OTLP_ENDPOINT is the collector; OTEL_SERVICE_NAME replaces `service`; OTEL_SDK_DISABLED=true turns it
    off. Raises GenieError if the packages for it are not installed.
    """
    if not any(os.environ.get(name) for name in _ENDPOINTS):
        return
    try:
        from opentelemetry import trace
        from opentelemetry.exporter.otlp.proto.http.trace_exporter import OTLPSpanExporter
        from opentelemetry.sdk.resources import Resource
        from opentelemetry.sdk.trace import TracerProvider
        from opentelemetry.sdk.trace.export import BatchSpanProcessor
    except ModuleNotFoundError as error:
        advice = "traces need `pip install 'genie-latent[otel]'`"
        raise GenieError(f"OTEL_EXPORTER_OTLP_ENDPOINT: {advice} (there is no {error.name} here)") from None
    resource = Resource.create() if os.environ.get("OTEL_SERVICE_NAME") else Resource.create({"service.name": service})
    provider = TracerProvider(resource=resource)
    provider.add_span_processor(BatchSpanProcessor(OTLPSpanExporter()))
    trace.set_tracer_provider(provider)


class CallSpan:
    """Span of a call, on the side that makes it."""

    def __init__(self, span: Span, headers: Sequence[tuple[str, str]]) -> None:
        self._span = span
        self.headers = headers

    def end(self, code: str) -> None:
        """End the span with the call's status code."""
        _note_status(self._span, code)
        self._span.end()


def begin_call(method: str, attributes: Attributes) -> CallSpan | None:
    """Begin the span of a call that is about to be made; its `headers` go with the call. None: nobody collects."""
    tracer = _tracer()
    if tracer is None:
        return None
    from opentelemetry import propagate, trace

    span = tracer.start_span(method, kind=trace.SpanKind.CLIENT, attributes={**_rpc(method), **attributes})
    carrier: dict[str, str] = {}
    propagate.inject(carrier, trace.set_span_in_context(span))
    return CallSpan(span, list(carrier.items()))


@contextmanager
def answering(method: str, headers: Mapping[str, str], attributes: Attributes) -> Iterator[list[str]]:
    """Make a span of a call that came with `headers` the current one; append its status code to the list given."""
    tracer, code = _tracer(), list[str]()
    if tracer is None:
        yield code
        return
    from opentelemetry import propagate, trace

    with tracer.start_as_current_span(
        method,
        context=propagate.extract(headers),
        kind=trace.SpanKind.SERVER,
        attributes={**_rpc(method), **attributes},
        record_exception=False,
        set_status_on_exception=False,
    ) as span:
        try:
            yield code
        finally:
            _note_status(span, code[-1] if code else "UNKNOWN")


def note_span(name: str, began: float, ended: float, attributes: Attributes) -> None:
    """Add a span below the current one for what is over; times are of `time.perf_counter`, seconds."""
    tracer = _tracer()
    if tracer is not None:
        start, end = (int(at * 1e9) + _CLOCKS_NS for at in (began, ended))
        tracer.start_span(name, start_time=start, attributes=dict(attributes)).end(end)


def collecting() -> bool:
    """Return whether spans of the current call are wanted."""
    if _trace is None or isinstance(_trace.get_tracer_provider(), _trace.ProxyTracerProvider):
        return False
    return bool(_trace.get_current_span().is_recording())


def _tracer() -> Tracer | None:
    if _trace is None or isinstance(_trace.get_tracer_provider(), _trace.ProxyTracerProvider):
        return None
    tracer: Tracer = _trace.get_tracer("genie")
    return tracer


def _rpc(method: str) -> dict[str, str]:
    service, _, name = method.lstrip("/").rpartition("/")
    return {"rpc.system": "grpc", "rpc.service": service, "rpc.method": name}


def _note_status(span: Span, code: str) -> None:
    from opentelemetry.trace import StatusCode

    span.set_attribute("rpc.grpc.status", code)
    if code != "OK":
        span.set_status(StatusCode.ERROR, code)


def _import_trace() -> Any:
    try:
        from opentelemetry import trace
    except ModuleNotFoundError:
        return None
    return trace


_trace = _import_trace()


__all__ = ["Attributes", "CallSpan", "answering", "begin_call", "collecting", "note_span", "start_tracing"]
