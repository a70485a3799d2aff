"""The program that Rerun's viewer runs for every file that it opens."""

from __future__ import annotations

import subprocess
import sys
from pathlib import Path

import pytest

pytest.importorskip("rerun", reason="looking at recordings is an extra")

from genie_view.importer import NOT_OURS
from tests.factories.data import make_robomimic
from tests.factories.labelled import label_file
from tests.support.recordings import RrdReader, column, verify

PROGRAM = Path(sys.executable).with_name("rerun-importer-genie")


def run(path: Path) -> subprocess.CompletedProcess[bytes]:
    words = [
        PROGRAM,
        path,
        "--application-id",
        "x",
        "--recording-id",
        "given",
        "--opened-recording-id",
        "y",
        "--static",
    ]
    return subprocess.run(words, capture_output=True, check=False)


def test_a_labelled_file_becomes_recordings_on_standard_output(tmp_path: Path) -> None:
    labelled = label_file(make_robomimic(tmp_path / "lift.hdf5", episodes=2))
    done = run(labelled.path)
    assert done.returncode == 0, done.stderr
    path = tmp_path / "x.rrd"
    path.write_bytes(done.stdout)
    verify(path)
    identities = [entry.recording_id for entry in RrdReader(path).recordings()]
    assert len(identities) == 2
    assert "given" in identities
    assert len(column(path, "/labels/code/number", "Scalars:scalars", index=0)) == 11


def test_other_files_are_declined_in_the_way_rerun_expects(tmp_path: Path) -> None:
    import rerun as rr

    assert NOT_OURS == rr.EXTERNAL_IMPORTER_INCOMPATIBLE_EXIT_CODE
    (tmp_path / "x.png").write_bytes(b"\x89PNG")
    (tmp_path / "broken.hdf5").write_bytes(b"no HDF5")
    assert run(tmp_path / "x.png").returncode == NOT_OURS
    assert run(make_robomimic(tmp_path / "unlabelled.hdf5")).returncode == NOT_OURS
    done = run(tmp_path / "broken.hdf5")
    assert done.returncode == NOT_OURS
    assert not done.stdout
