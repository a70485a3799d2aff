"""One measured row of the GPU's table, as it is printed and stored. Needs nothing but Python."""

from __future__ import annotations

import json
from collections.abc import Iterable
from dataclasses import asdict, dataclass
from pathlib import Path


@dataclass(frozen=True)
class Found:
    """A figure.

    Attributes:
        name: what was measured.
        value: the figure.
        unit: ``x`` for a share or ratio.
        target: what it should be at least; None where there is none.
        note: sizes and other facts that belong to it.

    """

    name: str
    value: float
    unit: str
    target: float | None = None
    note: str = ""

    @property
    def line(self) -> str:
        """The row as it is printed."""
        words = f"{self.name:<44} {self.value:>12,.6g} {self.unit:<9}"
        if self.target is not None:
            words += f" {'reached' if self.value >= self.target else 'MISSED'}: at least {self.target:,g}"
        return f"{words}  {self.note}".rstrip()


def append(path: Path, found: Found) -> None:
    """Append a row to a file, flushed to disk at once."""
    with path.open("a", encoding="utf-8") as file:
        file.write(json.dumps(asdict(found)) + "\n")


def read(path: Path) -> list[Found]:
    """Return the rows of a file; none where there is no file."""
    lines = path.read_text(encoding="utf-8").splitlines() if path.exists() else []
    return [Found(**json.loads(line)) for line in lines]


def table(rows: Iterable[Found]) -> str:
    """Return the rows as a Markdown table."""
    lines = ["| row | value | unit | target | facts |", "| -- | -- | -- | -- | -- |"]
    for row in rows:
        target = "" if row.target is None else f"{row.target:,g}, {'yes' if row.value >= row.target else '**no**'}"
        lines.append(f"| {row.name} | {row.value:,.6g} | {row.unit} | {target} | {row.note} |")
    return "\n".join(lines)


__all__ = ["Found", "append", "read", "table"]
