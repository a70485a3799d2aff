"""What a measurement hands back, before it is a row."""

from __future__ import annotations

from pydantic import BaseModel, ConfigDict

from benchmarks.catalogue import Figure, command
from benchmarks.machine import Machine
from benchmarks.row import Parts, Row, Samples


class Measured(BaseModel):
    """One figure's value with what it was made from, see `Parts`."""

    model_config = ConfigDict(frozen=True, extra="forbid")

    value: float
    measured: dict[str, Samples]
    facts: dict[str, float | int | str] = {}
    gpu: str = ""


def make_row(figure: Figure, measured: Measured, machine: Machine, *, quick: bool) -> Row:
    """The row of one figure, its value rounded to four figures."""
    parts = Parts(
        unit=figure.unit,
        target=figure.target,
        better=figure.better,
        command=command(figure.name, quick=quick),
        quick=quick,
        measured=measured.measured,
        facts=measured.facts,
    )
    machine = machine.model_copy(update={"gpu": measured.gpu})
    return Row(name=figure.name, value=float(f"{measured.value:.4g}"), parts=parts, machine=machine)


__all__ = ["Measured", "make_row"]
