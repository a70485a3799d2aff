"""Result of a measurement, before it becomes a row."""

from __future__ import annotations

from datetime import UTC, datetime

from pydantic import BaseModel, ConfigDict

from benchmarks.catalogue import Metric, command
from benchmarks.machine import Machine
from benchmarks.row import Parts, Row, Samples


class Measured(BaseModel):
    """One metric's value with what it was made from, see `Parts`."""

    model_config = ConfigDict(frozen=True, extra="forbid")

    value: float
    measured: dict[str, Samples]
    facts: dict[str, float | int | str] = {}
    table: tuple[tuple[str, ...], ...] = ()
    gpu: str = ""


def make_row(metric: Metric, measured: Measured, machine: Machine, *, quick: bool) -> Row:
    """Return the row of one metric, its value rounded to four significant digits."""
    parts = Parts(
        unit=metric.unit,
        target=metric.target,
        better=metric.better,
        command=command(metric.name, quick=quick),
        quick=quick,
        measured=measured.measured,
        facts=measured.facts,
        table=measured.table,
        date=datetime.now(UTC).date().isoformat(),
    )
    machine = machine.model_copy(update={"gpu": measured.gpu})
    return Row(name=metric.name, value=float(f"{measured.value:.4g}"), parts=parts, machine=machine)


__all__ = ["Measured", "make_row"]
