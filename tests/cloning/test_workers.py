"""Workers end with whoever started them, however that ends."""

from __future__ import annotations

import os
import signal
import subprocess
import sys
import time
from dataclasses import dataclass
from pathlib import Path

import pytest

from tests.support.dot_task import DotTask
from tests.support.waiting import wait_until

WITHIN_S = 120.0

PROGRAM = """
import sys
sys.path[:0] = {paths!r}
from pathlib import Path
from tests.factories.bundles import make_nano_bundle
from genie_core.cloning.experiment import run_experiment
from genie_core.cloning.plan import CloningConfig, Extent
from genie_core.models.bundle import load_bundle
from tests.cloning.test_workers import Sleeper

if __name__ == "__main__":
    folder = Path({folder!r})
    bundle = load_bundle(make_nano_bundle(folder / "nano"))
    extent = Extent(methods=("random",), labelled=(1,), seeds=2, episodes=1)
    config = CloningConfig(demonstrations=2)
    run_experiment(Sleeper(folder=folder), bundle, config, extent, folder / "bc", 2, lambda *_: None)
"""


@dataclass(frozen=True)
class Sleeper(DotTask):
    """Says that it is there, and sleeps."""

    folder: Path = Path()

    def environment(self):
        (self.folder / f"worker-{os.getpid()}").touch()
        time.sleep(2 * WITHIN_S)  # longer than anybody waits for its end
        raise AssertionError("it should have been ended")


def runs(pid):
    try:
        return Path(f"/proc/{pid}/stat").read_text().rsplit(")")[-1].split()[0] != "Z"
    except FileNotFoundError:
        return False


@pytest.mark.skipif(not Path("/proc/self/stat").exists(), reason="looks processes up in /proc")
@pytest.mark.parametrize("how", [signal.SIGKILL, signal.SIGINT])
def test_workers_end_with_their_parent(how, tmp_path):
    script = tmp_path / "program.py"
    script.write_text(PROGRAM.format(paths=[p for p in sys.path if p], folder=str(tmp_path)))
    parent = subprocess.Popen([sys.executable, script], stderr=subprocess.DEVNULL)
    try:
        wait_until(lambda: len(list(tmp_path.glob("worker-*"))) == 2, within_s=WITHIN_S)
        workers = [int(path.name.removeprefix("worker-")) for path in tmp_path.glob("worker-*")]
        parent.send_signal(how)
        assert parent.wait(WITHIN_S) != 0
        wait_until(lambda: not any(map(runs, workers)), within_s=WITHIN_S)
    finally:
        parent.kill()
        parent.wait()
