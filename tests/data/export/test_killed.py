"""Exports that are killed, or find no room: no output, and nothing that stays for ever."""

from __future__ import annotations

import subprocess
import sys
from pathlib import Path
from typing import get_args

import pytest

from genie_core.data.export.run import ExportFormat, ExportPlan, export_labels
from genie_core.errors import DatasetError
from tests.factories.data import make_robomimic
from tests.factories.labelled import label_file

FORMATS: tuple[ExportFormat, ...] = get_args(ExportFormat)

KILLED = """
import os, signal, sys
from pathlib import Path
from typing import get_args
from genie_core.data.export.run import ExportFormat, ExportPlan, export_labels
labelled, folder = Path(sys.argv[1]), Path(sys.argv[2])
for to in get_args(ExportFormat):
    if os.fork() == 0:
        export_labels(labelled, folder / to / "killed", ExportPlan(to), lambda _: os.kill(os.getpid(), signal.SIGKILL))
    assert os.waitstatus_to_exitcode(os.wait()[1]) == -signal.SIGKILL
"""


@pytest.fixture
def labelled(tmp_path: Path) -> Path:
    return label_file(make_robomimic(tmp_path / "a.hdf5", episodes=2, frames=6, size=16)).path


def test_what_killed_exports_leave_is_removed_by_the_next(tmp_path: Path, labelled: Path) -> None:
    for to in FORMATS:
        (tmp_path / to).mkdir()
    subprocess.run([sys.executable, "-c", KILLED, labelled, tmp_path], check=True)
    for to in FORMATS:
        (left,) = (tmp_path / to).iterdir()
        assert left.name.startswith(".killed.genie-new-")
        export_labels(labelled, tmp_path / to / "next", ExportPlan(to))
        assert [path.name for path in (tmp_path / to).iterdir()] == ["next"]


@pytest.mark.parametrize("to", FORMATS)
def test_of_two_exports_to_one_place_the_first_to_end_stands(tmp_path: Path, labelled: Path, to: ExportFormat) -> None:
    output = tmp_path / "out"

    def another(_: float) -> None:
        if not output.exists():
            export_labels(labelled, output, ExportPlan("parquet"))

    with pytest.raises(DatasetError, match="out: exists already; choose another name, or remove it"):
        export_labels(labelled, output, ExportPlan(to), another)
    assert output.read_bytes()[:4] == b"PAR1"
    assert sorted(path.name for path in tmp_path.iterdir()) == ["a.hdf5", "a.labelled.hdf5", "out"]
