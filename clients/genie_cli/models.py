"""``genie models``: lists the models of a server."""

from __future__ import annotations

from typing import TYPE_CHECKING, Annotated

import typer

from genie_cli.server import ModelsOption, ServerOption, connected
from genie_core.errors import GenieError

if TYPE_CHECKING:
    from rich.table import Table

    from genie_client.records import ModelInfo, ServerStatistics


def models(
    server: ServerOption = None,
    models: ModelsOption = None,
    statistics: Annotated[
        bool, typer.Option("--statistics", help="Also show statistics of the server's device.")
    ] = False,
    load: Annotated[
        str | None,
        typer.Option(
            "--load",
            metavar="NAME",
            help="First load this model, or replace it if its files have changed: calls in progress end with the old "
            "one, and none fails.",
        ),
    ] = None,
    unload: Annotated[
        str | None,
        typer.Option("--unload", metavar="NAME", help="First unload this model, once calls that use it have ended."),
    ] = None,
) -> None:
    """List the models of a server, with frame size and rate, codes, parameters, state and alignments."""
    from rich.console import Console

    if server is None and (load or unload):
        raise GenieError("--load and --unload: got no --server, expected the address of a running one")
    with connected(server, models) as client:
        if load is not None:
            client.load_model(load)
        if unload is not None:
            client.unload_model(unload)
        found_models = client.models()
        Console().print(_table(found_models))
        if any(info.alignments for info in found_models):
            Console().print(_alignments(found_models))
        if statistics:
            found = client.statistics()
            Console().print(_work(found))
            print(
                f"up {found.uptime_s:.0f} s; {found.busy_lanes} of {found.lanes} lanes busy, {found.waiting} pieces "
                f"waiting; {found.dropped} dropped that nobody waited for, {found.refused} calls refused"
            )


def _work(found: ServerStatistics) -> Table:
    from rich.table import Table

    table = Table("work", "pieces", "a batch", "device s", "ms a piece")
    for name, done in found.operations.items():
        a_batch, each_ms = done.pieces / done.batches, done.device_s / done.pieces * 1000
        table.add_row(name, f"{done.pieces:,}", f"{a_batch:.1f}", f"{done.device_s:.1f}", f"{each_ms:.1f}")
    return table


def _table(found: list[ModelInfo]) -> Table:
    from rich.table import Table

    table = Table("model", "state", "frames", "frames/s", "codes", "parameters", "bundle")
    for info in found:
        name = f"{info.name} (default)" if info.is_default else info.name
        state = f"{info.state}: {info.state_message}" if info.state_message else info.state
        size = f"{info.frame_height} x {info.frame_width}"
        row = (name, state, size, f"{info.fps:g}", str(info.num_codes), f"{info.parameters:,}", info.bundle_id[:12])
        table.add_row(*row)
    return table


def _alignments(found: list[ModelInfo]) -> Table:
    from rich.markup import escape
    from rich.table import Table

    table = Table("alignment", "of model", "step", "actions")
    for info in found:
        for alignment in info.alignments:
            step = "" if alignment.problem else str(alignment.step)
            actions = alignment.problem or f"{len(alignment.action_names)}: {', '.join(alignment.action_names)}"
            table.add_row(escape(alignment.name), info.name, step, escape(actions))
    return table


__all__ = ["models"]
