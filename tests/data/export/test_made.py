"""The same export again, where it was made already: nothing to do; where what is there is another: refused."""

from __future__ import annotations

from dataclasses import replace
from datetime import UTC, datetime
from pathlib import Path
from typing import get_args

import h5py
import pytest

from genie_core.data.export.run import ExportFormat, ExportPlan, export_labels
from genie_core.errors import DatasetError
from tests.factories.data import make_robomimic
from tests.factories.labelled import label_file

FORMATS: tuple[ExportFormat, ...] = get_args(ExportFormat)
LATER = datetime(2027, 1, 2, 12, tzinfo=UTC)


@pytest.fixture
def labelled(tmp_path: Path) -> Path:
    return label_file(make_robomimic(tmp_path / "a.hdf5", episodes=2, frames=6, size=16)).path


def contents(path: Path) -> dict[str, bytes]:
    files = [path] if path.is_file() else sorted(file for file in path.rglob("*") if file.is_file())
    return {str(file): file.read_bytes() for file in files}


@pytest.mark.parametrize("to", FORMATS)
def test_an_export_that_is_there_is_complete(tmp_path: Path, labelled: Path, to: ExportFormat) -> None:
    """One that was killed in its last instant has made it; before, the same command said "exists already"."""
    output, plan = tmp_path / "out", ExportPlan(to)
    first = export_labels(labelled, output, plan)
    assert not first.was_complete
    before = contents(output)
    again = export_labels(labelled, output, replace(plan, exported=LATER))
    assert again.was_complete
    assert (again.path, again.episodes, again.frames) == (output, 2, 12)
    assert contents(output) == before
    assert sorted(path.name for path in tmp_path.iterdir()) == ["a.hdf5", "a.labelled.hdf5", "out"]


@pytest.mark.parametrize("to", FORMATS)
def test_another_export_is_refused(tmp_path: Path, labelled: Path, to: ExportFormat) -> None:
    output, plan = tmp_path / "out", ExportPlan(to)
    export_labels(labelled, output, plan)
    before = contents(output)
    for other in (replace(plan, frames=(8, 8)), replace(plan, task="lift"), replace(plan, to="parquet", fps=3)):
        with pytest.raises(DatasetError, match="out: exists already; choose another name, or remove it"):
            export_labels(labelled, output, other)
    (tmp_path / "b").mkdir()
    newer = label_file(make_robomimic(tmp_path / "b" / "a.hdf5", episodes=2, frames=7, size=16)).path
    with pytest.raises(DatasetError, match="exists already"):
        export_labels(newer, output, plan)
    assert contents(output) == before


@pytest.mark.parametrize("to", FORMATS)
def test_a_damaged_export_is_not_complete(tmp_path: Path, labelled: Path, to: ExportFormat) -> None:
    output, plan = tmp_path / "out", ExportPlan(to)
    export_labels(labelled, output, plan)
    if to == "robomimic":
        with h5py.File(output, "r+") as file:
            file["data/demo_1/latent_actions/code"][3] ^= 1
    else:
        largest = max(contents(output).items(), key=lambda item: len(item[1]) * (".json" not in item[0]))[0]
        Path(largest).write_bytes(contents(output)[largest][:-200])
    with pytest.raises(DatasetError, match="exists already"):
        export_labels(labelled, output, plan)
