"""A damaged file that libhdf5 reads without end, or crashes on: the command is ended, and the file named."""

from __future__ import annotations

import gzip
import os
import signal
import subprocess
import sys
from pathlib import Path

import pytest

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


@pytest.mark.parametrize(
    ("ends", "code", "says"),
    [
        ("os.kill(os.getpid(), signal.SIGSEGV)", -signal.SIGSEGV, True),
        ("sys.exit(3)", 3, False),
    ],
)
def test_a_file_that_crashes_its_library_is_named(ends: str, code: int, says: bool, tmp_path: Path) -> None:
    """Before, the shell said "Segmentation fault" and nothing more."""
    script = tmp_path / "reads.py"
    lines = [
        "import os, signal, sys",
        "from genie_core.hang import reading, watch_for_hangs",
        "watch_for_hangs()",
        "with reading('bad.hdf5'):",
        f"    {ends}",
    ]
    script.write_text("\n".join(lines))
    done = subprocess.run([sys.executable, script], capture_output=True, text=True, timeout=300, check=False)
    assert done.returncode == code
    assert ("error: bad.hdf5: the process ended while it read this" in done.stderr) == says


def test_a_thread_that_still_reads_when_the_process_ends_is_no_crash(tmp_path: Path) -> None:
    script = tmp_path / "reads.py"
    lines = [
        "import threading",
        "from genie_core.hang import reading, watch_for_hangs",
        "watch_for_hangs()",
        "begun = threading.Event()",
        "def read():",
        "    with reading('good.hdf5'):",
        "        begun.set()",
        "        threading.Event().wait()",
        "threading.Thread(target=read, daemon=True).start()",
        "begun.wait()",
    ]
    script.write_text("\n".join(lines))
    done = subprocess.run([sys.executable, script], capture_output=True, text=True, timeout=300, check=False)
    assert (done.returncode, done.stderr) == (0, "")
