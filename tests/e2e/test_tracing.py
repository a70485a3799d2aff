"""Traces: from the client's call through the server's to the phases of its work, each below the one before."""

from __future__ import annotations

import asyncio
import os
import subprocess
import sys
import threading
from collections.abc import Iterator
from http.server import BaseHTTPRequestHandler, HTTPServer
from pathlib import Path

import numpy as np
import pytest
from opentelemetry import trace
from opentelemetry.sdk.trace import ReadableSpan, TracerProvider
from opentelemetry.sdk.trace.export import SimpleSpanProcessor
from opentelemetry.sdk.trace.export.in_memory_span_exporter import InMemorySpanExporter

from genie_client import AsyncClient, Client, GenieError
from tests.support.service_server import Running, serving
from tests.support.waiting import wait_until

FRAMES = np.random.default_rng(0).integers(0, 256, (20, 32, 32, 3), np.uint8)
LABEL_CLIP, LABEL_EPISODE = (f"/genie_api.v1.LabellingService/{name}" for name in ("LabelClip", "LabelEpisode"))


@pytest.fixture(scope="module")
def running(models_folder: Path) -> Iterator[Running]:
    with serving(models_folder) as running:
        yield running


@pytest.fixture
def spans(monkeypatch: pytest.MonkeyPatch) -> InMemorySpanExporter:
    """Where the spans of this process go; OpenTelemetry allows no second provider, hence its own variable."""
    exporter, provider = InMemorySpanExporter(), TracerProvider()
    provider.add_span_processor(SimpleSpanProcessor(exporter))
    monkeypatch.setattr(trace, "_TRACER_PROVIDER", provider)
    return exporter


def trees(exporter: InMemorySpanExporter) -> dict[str, list[ReadableSpan]]:
    """The spans below each client's span, by its method."""
    found = exporter.get_finished_spans()
    below = {s.name: s for s in found if s.kind is trace.SpanKind.CLIENT}
    return {
        name: [s for s in found if s.context.trace_id == root.context.trace_id and s is not root]
        for name, root in below.items()
    }


def failures(exporter: InMemorySpanExporter) -> list[ReadableSpan]:
    return [s for s in exporter.get_finished_spans() if s.status.status_code is trace.StatusCode.ERROR]


def ended(exporter: InMemorySpanExporter, name: str, count: int) -> None:
    """Wait until so many spans have ended: gRPC tells of the end of a call in threads of its own."""
    wait_until(lambda: [s.name for s in exporter.get_finished_spans()].count(name) >= count, f"{count} of {name}")


def test_a_call_is_traced_from_client_to_lane(running: Running, spans: InMemorySpanExporter) -> None:
    with Client(running.server.address) as client:
        client.label(FRAMES, fps=10)
    ended(spans, LABEL_CLIP, 2)
    tree = trees(spans)[LABEL_CLIP]
    (server,) = [s for s in tree if s.kind is trace.SpanKind.SERVER]
    (client_span,) = [s for s in spans.get_finished_spans() if s.name == LABEL_CLIP and s is not server]
    assert server.parent is not None
    assert server.parent.span_id == client_span.context.span_id
    phases = {s.name: s for s in tree if s is not server}
    assert set(phases) == {"queue", "batch", "device"}
    for span in phases.values():
        assert span.parent is not None
        assert span.parent.span_id == server.context.span_id
        assert span.attributes is not None
        assert span.attributes["genie.operation"] == "nano/encode"
        assert server.start_time <= span.start_time <= span.end_time <= server.end_time  # type: ignore[operator]
    assert phases["queue"].end_time == phases["batch"].start_time
    assert phases["batch"].end_time == phases["device"].start_time
    for span in (server, client_span):
        assert span.attributes is not None
        assert span.attributes["rpc.grpc.status"] == "OK"
        assert span.attributes["rpc.method"] == "LabelClip"
    assert server.attributes["genie.request_id"] == client_span.attributes["genie.request_id"]  # type: ignore[index]


def test_streams_and_failures_are_traced_by_both_clients(running: Running, spans: InMemorySpanExporter) -> None:
    async def label() -> None:
        async with AsyncClient(running.server.address) as client:
            async with await client.label_stream([FRAMES], fps=10) as stream:
                await stream.read_all()
            with pytest.raises(GenieError):
                await client.label(FRAMES, fps=10, model="none")

    asyncio.run(label())
    with Client(running.server.address) as client, client.label_stream([FRAMES], fps=10) as labels:
        labels.read_all()
    ended(spans, LABEL_EPISODE, 4)
    wait_until(lambda: len(failures(spans)) == 2, "the spans of the call that failed have ended")
    found = [(s.kind.name, s.name, s.status.status_code.name) for s in spans.get_finished_spans()]
    for kind in ("CLIENT", "SERVER"):
        assert found.count((kind, LABEL_EPISODE, "UNSET")) == 2
    assert {(s.kind.name, s.status.description) for s in failures(spans)} == {
        ("CLIENT", "NOT_FOUND"),
        ("SERVER", "NOT_FOUND"),
    }


def test_the_command_line_exports_where_the_environment_says(tmp_path: Path) -> None:
    bodies: list[bytes] = []

    class Collector(BaseHTTPRequestHandler):
        def do_POST(self) -> None:
            bodies.append(self.rfile.read(int(self.headers["content-length"])))
            self.send_response(200)
            self.end_headers()

        def log_message(self, format: str, *arguments: object) -> None:
            pass

    collector = HTTPServer(("127.0.0.1", 0), Collector)
    threading.Thread(target=collector.serve_forever, daemon=True).start()
    environment = {**os.environ, "OTEL_EXPORTER_OTLP_ENDPOINT": f"http://127.0.0.1:{collector.server_port}"}
    program = "from genie_cli import main; main(['models', '--server', '127.0.0.1:1'])"
    done = subprocess.run(
        [sys.executable, "-c", program], env=environment, capture_output=True, text=True, timeout=120, check=False
    )
    collector.shutdown()
    assert done.returncode == 2
    assert "error: no server at 127.0.0.1:1" in done.stderr
    assert any(b"/genie_api.v1.ModelService/ListModels" in body and b"genie" in body for body in bodies)
