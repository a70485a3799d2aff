"""The rows of ``benchmarks/results.json``: one figure each, with everything it was made from. Measures nothing."""

from __future__ import annotations

import os
import statistics
from collections.abc import Iterable, Sequence
from pathlib import Path
from typing import Literal

from pydantic import BaseModel, ConfigDict, TypeAdapter

from benchmarks.machine import Machine


class _Frozen(BaseModel):
    model_config = ConfigDict(frozen=True, extra="forbid")


class Samples(_Frozen):
    """Repeated measurements of one quantity.

    Attributes:
        unit: what the numbers count.
        median: of the samples.
        spread: distance between the quartiles over the median, 0 where the median is 0.
        samples: in the order they were taken.

    """

    unit: str
    median: float
    spread: float
    samples: tuple[float, ...]

    @classmethod
    def of(cls, samples: Iterable[float], unit: str) -> Samples:
        """Summarise at least one sample; rounded to six figures, which is far below the noise."""
        kept = tuple(float(f"{s:.6g}") for s in samples)
        if not kept:
            raise ValueError("got no samples, wanted at least 1")
        median = statistics.median(kept)
        low, _, high = statistics.quantiles(kept, n=4, method="inclusive") if len(kept) > 1 else (median,) * 3
        return cls(
            unit=unit, median=median, spread=round((high - low) / abs(median), 4) if median else 0.0, samples=kept
        )


class Parts(_Frozen):
    """What a row was made from.

    Attributes:
        unit: of the row's value; ``x`` for a ratio.
        target: what the value should reach; None where there is none.
        better: whether the value should be at least or at most the target.
        command: measures this row again.
        quick: fewer or smaller samples than the published figures have.
        measured: the raw samples, by what was measured.
        facts: sizes, differences and other single numbers or words that belong to the measurement.
        table: a line of titles and lines of what was found; () for none.
        date: of the measurement, ISO 8601, UTC; "" of rows from before dates were kept.

    """

    unit: str
    target: float | None
    better: Literal["higher", "lower"]
    command: str
    quick: bool = False
    measured: dict[str, Samples]
    facts: dict[str, float | int | str] = {}
    table: tuple[tuple[str, ...], ...] = ()
    date: str = ""


class Row(_Frozen):
    """One published figure."""

    name: str
    value: float
    parts: Parts
    machine: Machine

    @property
    def reached(self) -> bool | None:
        """Whether the value is at its target or beyond; None where there is no target."""
        p = self.parts
        if p.target is None:
            return None
        return self.value >= p.target if p.better == "higher" else self.value <= p.target


_ROWS = TypeAdapter(list[Row])


def read_rows(path: Path) -> list[Row]:
    """Return the rows of a results file; none where there is no file."""
    return _ROWS.validate_json(path.read_bytes()) if path.exists() else []


def merge_rows(old: Sequence[Row], new: Sequence[Row], order: Sequence[str]) -> list[Row]:
    """`old` with `new` in place of the rows of the same names, in `order`; names that `order` lacks are dropped."""
    by_name = {row.name: row for row in (*old, *new)}
    return [by_name[name] for name in order if name in by_name]


def write_rows(path: Path, rows: Sequence[Row]) -> None:
    """Replace the results file, never leaving half of one."""
    path.parent.mkdir(parents=True, exist_ok=True)
    part = path.with_name(path.name + ".tmp")
    part.write_bytes(_ROWS.dump_json(list(rows), indent=1) + b"\n")
    os.replace(part, path)


__all__ = ["Parts", "Row", "Samples", "merge_rows", "read_rows", "write_rows"]
