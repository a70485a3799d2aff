"""``genie models``: the models that a server hosts."""

from __future__ import annotations

from typing import TYPE_CHECKING

from genie_client.cli.server import ModelsOption, ServerOption, connected

if TYPE_CHECKING:
    from rich.table import Table

    from genie_client.records import ModelInfo


def models(server: ServerOption = None, models: ModelsOption = None) -> None:
    """List the models of a server: frame size and rate, codes, parameters, state."""
    from rich.console import Console

    with connected(server, models) as client:
        Console().print(_table(client.models()))


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


__all__ = ["models"]
