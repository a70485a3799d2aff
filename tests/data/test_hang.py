"""A damaged file that libhdf5 reads without end: the command is ended, and the file named."""

from __future__ import annotations

import gzip
import os
import signal
import subprocess
import sys
from pathlib import Path

from tests.factories.data import make_robomimic

FIND = Path(__file__).parents[1] / "fuzz" / "finds" / "hdf5" / "native-global-heap.gz"


def inspect(path: Path, hang_s: str) -> subprocess.CompletedProcess[str]:
    command = [sys.executable, "-c", "from genie_cli import main; main()", "inspect", str(path), "--thorough"]
    environment = {**os.environ, "GENIE_HANG_SECONDS": hang_s, "OMP_NUM_THREADS": "1"}
    return subprocess.run(command, env=environment, capture_output=True, text=True, timeout=300, check=False)


def test_a_file_that_is_read_without_end_is_named(tmp_path: Path) -> None:
    """Before, the command hung for ever and said nothing."""
    path = tmp_path / "endless.hdf5"
    path.write_bytes(gzip.decompress(FIND.read_bytes()))
    done = inspect(path, "1")
    assert done.returncode == -signal.SIGKILL
    assert f"error: {path}: reading has not come back after 1 s of processor time" in done.stderr


def test_a_good_file_is_read_in_peace(tmp_path: Path) -> None:
    done = inspect(make_robomimic(tmp_path / "good.hdf5", episodes=1), "30")
    assert done.returncode == 0, done.stderr
    assert done.stderr == ""
