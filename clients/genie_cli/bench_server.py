"""``genie bench-server``: throughput and latency of a running server at a growing number of clients."""

from __future__ import annotations

import json
from dataclasses import asdict
from typing import TYPE_CHECKING, Annotated, Literal

import typer

from genie_cli.frame_size import read_size
from genie_core.errors import RequestError

if TYPE_CHECKING:
    from rich.table import Table

    from genie_client.sweep import Level


def bench_server(
    address: Annotated[str, typer.Argument(metavar="HOST:PORT", help="Address of the server.")],
    clients: Annotated[str, typer.Option(help="Numbers of concurrent clients, separated by commas.")] = "1,2,4,8,16",
    work: Annotated[
        Literal["label", "play"],
        typer.Option(help="What clients ask for: labels of a clip, or the next frame of a Play session."),
    ] = "label",
    frames: Annotated[int, typer.Option(min=2, max=4096, help="Frames of the clip that is labelled.")] = 64,
    size: Annotated[
        str | None, typer.Option(metavar="HxW", help="Size of its frames, pixels. [default: the model's]")
    ] = None,
    seconds: Annotated[float, typer.Option(min=0.1, help="Time for each number of clients.")] = 10.0,
    model: Annotated[str | None, typer.Option(help="Model to ask. [default: the server's]")] = None,
    as_json: Annotated[bool, typer.Option("--json", help="Print one JSON object for each number of clients.")] = False,
) -> None:
    """Measure a running server at a growing number of clients: answers a second, and percentiles of latency.

    Each client has a connection of its own and asks again as soon as it has its answer. Answers are those of the real
    contract; noise is what is labelled. The server may be anybody's: this is load on it for as long as it lasts.
    """
    import numpy as np
    from rich.console import Console

    from genie_client.client import Client
    from genie_client.sweep import sweep

    levels = _levels(clients)
    with Client(address) as client:
        info = client.model(model)
    height, width = info.frame_size if size is None else read_size(size)
    clip = np.random.default_rng(0).integers(0, 256, (frames, height, width, 3), np.uint8)
    found: list[Level] = []
    for level in sweep(
        lambda: Client(address, own_connection=True),
        levels,
        work=work,
        clip=clip,
        fps=info.fps,
        seconds=seconds,
        model=model,
    ):
        found.append(level)
        if as_json:
            print(json.dumps(asdict(level)), flush=True)
    if not as_json:
        what = f"labels of {frames} frames of {height} x {width}" if work == "label" else "frames of Play sessions"
        Console(highlight=False).print(_table(f"{info.name} at {address}: {what}, {seconds:g} s each", found))


def _table(title: str, levels: list[Level]) -> Table:
    from rich.table import Table

    table = Table(title=title)
    columns = ("clients", "frames/s", "answers/s", "p50 ms", "p90", "p95", "p99", "most", "waited ms", "computed ms")
    for column in (*columns, "failed"):
        table.add_column(column, justify="right")
    for level in levels:
        latencies = [f"{level.latency_ms[rank]:,.1f}" if level.latency_ms else "-" for rank in (50, 90, 95, 99, 100)]
        failed = ", ".join(f"{count} {kind}" for kind, count in sorted(level.failures.items())) or "0"
        table.add_row(
            str(level.clients),
            f"{level.frames_per_s:,.1f}",
            f"{level.calls_per_s:,.2f}",
            *latencies,
            f"{level.queue_ms:,.1f}",
            f"{level.device_ms:,.1f}",
            failed,
        )
    return table


def _levels(text: str) -> list[int]:
    parts = [part.strip() for part in text.split(",")]
    if not all(part.isdecimal() and 0 < int(part) <= 1024 for part in parts):
        raise RequestError("--clients", f"got {text!r}, expected numbers from 1 to 1024 with commas: 1,2,4")
    return [int(part) for part in parts]


__all__ = ["bench_server"]
