"""A clock that is set back, or ahead, while a dataset is labelled: on either side nothing goes by it."""

from __future__ import annotations

import os
import subprocess
import sys
from pathlib import Path

import pytest

from genie_core.data import open_labelled
from tests.e2e.test_label_cli import finished_episodes, wait_for
from tests.factories.data import make_robomimic

LIBRARY = next(iter(sorted(Path("/usr/lib").glob("*/faketime/libfaketime.so.1"))), None)


@pytest.mark.skipif(LIBRARY is None, reason="needs libfaketime (Debian: apt-get install faketime)")
@pytest.mark.parametrize("to", ["2020-01-01 00:00:00", "2035-01-01 00:00:00"])
def test_a_clock_that_is_set_while_a_dataset_is_labelled_changes_nothing(
    models_folder: Path, tmp_path: Path, to: str
) -> None:
    """Of client and embedded server both: years back, or ahead, in the middle of the run."""
    data = make_robomimic(tmp_path / "long.hdf5", episodes=12, frames=400, size=32)
    output, clock = tmp_path / "long.labelled.hdf5", tmp_path / "clock"
    clock.write_text("+0\n")
    environment = {
        **os.environ,
        "OMP_NUM_THREADS": "1",
        "LD_PRELOAD": str(LIBRARY),
        "FAKETIME_TIMESTAMP_FILE": str(clock),
        "FAKETIME_NO_CACHE": "1",
        "FAKETIME_DONT_FAKE_MONOTONIC": "1",
        "DONT_FAKE_MONOTONIC": "1",
    }
    words = ["label", str(data), "--models", str(models_folder), "--jobs", "2"]
    command = [sys.executable, "-c", "from genie_cli import main; main()", *words]
    with subprocess.Popen(command, env=environment, stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True) as run:
        wait_for(lambda: finished_episodes(output) >= 2)
        clock.write_text(f"@{to}\n")
        out, err = run.communicate(timeout=120)
    assert run.returncode == 0, err
    assert "12 of 12 labelled" in out
    assert len(open_labelled(output).episodes) == 12
