"""What `genie check --json` said of a labelled file, to lie beside its episodes as properties. Imports nothing of the
check itself, which takes torch.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path

from pydantic import BaseModel, ConfigDict, ValidationError

from genie_core.data import LabelledFile
from genie_core.errors import DatasetError, problems_of

Value = str | int | float | bool
"""Of a property."""


class _Number(BaseModel):
    name: str
    value: float


class _Row(BaseModel):
    model_config = ConfigDict(extra="allow")

    episode: str
    frames: int


class _Report(BaseModel):
    bundle_id: str
    verdict: str
    decided_by: tuple[_Number, ...]
    episodes: tuple[_Row, ...]


@dataclass(frozen=True)
class Checked:
    """A check of one labelled file.

    Attributes:
        verdict: *fit*, *fit with care* or *do not use*.
        decided_by: the numbers that decided, in words.
        rows: by episode, the numbers of its row.

    """

    verdict: str
    decided_by: str
    rows: Mapping[str, Mapping[str, Value]]

    def properties(self, episode: str) -> dict[str, Value]:
        """Return what it says of the file and of an episode, by name."""
        return {"verdict": self.verdict, "decided_by": self.decided_by, **self.rows.get(episode, {})}


def read_check(path: Path, labelled: LabelledFile) -> Checked:
    """Read what `genie check LABELLED --json` printed.

    Raises:
        DatasetError: it is no such report, or one of other labels: of another bundle, or of other episodes.

    """
    try:
        report = _Report.model_validate_json(path.read_bytes())
    except OSError as error:
        raise DatasetError(f"{path}: cannot be read: {error.strerror or error}") from error
    except ValidationError as error:
        raise DatasetError(
            f"{path}: got no report of a check, expected what `genie check {labelled.path} --json` prints "
            f"({problems_of(error)})"
        ) from error
    frames = {row.episode: row.frames for row in report.episodes}
    if report.bundle_id != labelled.model.bundle_id or frames.keys() != set(labelled.episodes):
        raise DatasetError(
            f"{path}: got the check of other labels (bundle {report.bundle_id[:12]}, {len(frames)} episodes), expected "
            f"that of {labelled.path} (bundle {labelled.model.bundle_id[:12]}, {len(labelled.episodes)} episodes)"
        )
    decided_by = ", ".join(f"{of.name} {of.value:.4g}" for of in report.decided_by)
    rows = {row.episode: _values(row) for row in report.episodes}
    return Checked(report.verdict, decided_by, rows)


def _values(row: _Row) -> dict[str, Value]:
    known = {"frames": row.frames, **(row.model_extra or {})}
    return {name: value for name, value in known.items() if isinstance(value, str | int | float | bool)}


__all__ = ["Checked", "Value", "read_check"]
