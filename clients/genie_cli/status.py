"""``genie status``: everything about a running server on one screen, or as JSON."""

from __future__ import annotations

import json
from dataclasses import asdict
from typing import TYPE_CHECKING, Annotated, Any

import typer

from genie_cli.shared_options import JsonOption

if TYPE_CHECKING:
    from rich.table import Table

    from genie_client.records import ModelInfo, ServerStatistics

_MIB = 1 << 20


def status(
    address: Annotated[str, typer.Argument(metavar="HOST:PORT", help="Address of the server.")],
    as_json: JsonOption = False,
    timeout: Annotated[float, typer.Option("--timeout", min=0.1, help="Longest wait for an answer, seconds.")] = 10.0,
) -> None:
    """Show a server's health, models, memory, queue, sessions and refusals, with version and time since it began.

    Exit code 0 if it is SERVING, else 1. A server with tokens asks for one here too; TLS and token are configured as
    for all commands.
    """
    from rich.console import Console

    from genie_client.client import Client
    from genie_client.health import ask_health

    health = ask_health(address, timeout_s=timeout)
    with Client(address, timeout_s=timeout) as client:
        found, models = client.statistics(), client.models()
    if as_json:
        print(json.dumps(_facts(address, health, found, models), indent=2))
    else:
        console = Console(highlight=False)
        console.print(_table(address, health, found))
        console.print(_models(models))
    raise typer.Exit(0 if health == "SERVING" else 1)


def _facts(address: str, health: str, found: ServerStatistics, models: list[ModelInfo]) -> dict[str, Any]:
    return {
        "address": address,
        "health": health,
        **asdict(found),
        "models": [
            {
                "name": info.name,
                "state": info.state,
                "state_message": info.state_message,
                "is_default": info.is_default,
                "bundle_id": info.bundle_id,
                "precision": info.computation.precision,
            }
            for info in models
        ],
    }


def _table(address: str, health: str, found: ServerStatistics) -> Table:
    from rich.markup import escape
    from rich.table import Table

    table = Table.grid(padding=(0, 2))
    colour = "green" if health == "SERVING" else "red"
    draining = ", draining" if found.draining else ""
    table.add_row("server", f"{escape(address)}, version {escape(found.version or 'unknown')}")
    table.add_row("health", f"[{colour}]{health}[/]{draining}, up {duration(found.uptime_s)}")
    table.add_row("calls", f"{found.calls} of {found.max_calls}, {found.waiting_calls} waiting")
    table.add_row("sessions", f"{found.play_streams} of {found.max_play_streams}")
    table.add_row("queue", f"{found.waiting} pieces waiting, {found.busy_lanes} of {found.lanes} lanes busy")
    used, budget = found.memory_bytes / _MIB, found.memory_budget_bytes / _MIB
    table.add_row("memory", f"{used:,.0f} of {budget:,.0f} MiB for requests")
    refused = ", ".join(f"{number:,} {cause}" for cause, number in sorted(found.refusals.items()))
    table.add_row("refused", escape(refused) or "none")
    pieces, seconds = (sum(getattr(o, name) for o in found.operations.values()) for name in ("pieces", "device_s"))
    table.add_row("done", f"{pieces:,} pieces in {seconds:,.1f} s of the device, {found.dropped:,} dropped")
    return table


def _models(models: list[ModelInfo]) -> Table:
    from rich.markup import escape
    from rich.table import Table

    table = Table("model", "state", "bundle", "precision", box=None)
    for info in models:
        name = f"{info.name} (default)" if info.is_default else info.name
        state = f"{info.state}: {info.state_message}" if info.state_message else info.state
        table.add_row(escape(name), escape(state), info.bundle_id[:12], info.computation.precision)
    return table


def duration(seconds: float) -> str:
    """Return a length of time in its two largest units: ``3 h 5 min``."""
    units = (("d", 86400), ("h", 3600), ("min", 60), ("s", 1))
    left, parts = int(seconds), list[str]()
    for name, size in units:
        count, left = divmod(left, size)
        if count or parts:
            parts.append(f"{count} {name}")
    return " ".join(parts[:2]) or "0 s"


__all__ = ["duration", "status"]
