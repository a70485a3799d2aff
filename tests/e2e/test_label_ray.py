"""`genie label --engine ray` on a real Ray of this machine; `make ray` installs it and runs these."""

from __future__ import annotations

import os
import signal
import subprocess
import time
from collections.abc import Callable, Iterator
from contextlib import suppress
from pathlib import Path

import pytest

from genie_core.data.labelled.journal import journal_folder
from genie_core.data.labelled.machines import machines_file, read_machines
from tests.e2e.test_label_shards import structure
from tests.factories.data import make_robomimic
from tests.support.processes import Genie

pytest.importorskip("ray")
pytestmark = pytest.mark.timeout(600)

WITHIN_S = 240.0


def wait_for(happened: Callable[[], object], process: subprocess.Popen[str]) -> None:
    deadline = time.monotonic() + WITHIN_S
    while not happened():
        assert time.monotonic() < deadline
        if process.poll() is not None:
            pytest.fail(f"ended with {process.returncode} before that: {process.communicate()}")
        time.sleep(0.01)


def children_of(pid: int) -> Iterator[tuple[int, str]]:
    """Number and command line of all processes below `pid`, as far as they can be read."""
    parents: dict[int, int] = {}
    for folder in Path("/proc").iterdir():
        if folder.name.isdecimal():
            with suppress(OSError):
                parents[int(folder.name)] = int((folder / "stat").read_text().rpartition(")")[2].split()[1])
    for child in parents:
        above = child
        while above in parents and above != pid:
            above = parents[above]
        if above == pid and child != pid:
            with suppress(OSError):
                yield child, Path(f"/proc/{child}/cmdline").read_text().replace("\0", " ")


def workers_of(pid: int) -> list[int]:
    return [child for child, command in children_of(pid) if command.startswith("ray::EpisodeWorker")]


@pytest.fixture
def data(tmp_path: Path) -> Path:
    return make_robomimic(tmp_path / "lift.hdf5", episodes=24, frames=120, size=32)


def test_killed_workers_and_a_killed_driver_cost_no_episode_and_no_bit(
    genie_process: Genie, genie: Genie, server: str, models_folder: Path, data: Path, tmp_path: Path
) -> None:
    output, one = tmp_path / "many.hdf5", tmp_path / "one.hdf5"
    ray = (
        "label",
        data,
        "--models",
        models_folder,
        "--out",
        output,
        "--engine",
        "ray",
        "--workers",
        "2",
        "--jobs",
        "1",
    )
    parts = journal_folder(output)

    def finished() -> int:
        return len(list(parts.glob("*.hdf5")))

    driver = genie_process.start(*ray)
    wait_for(lambda: finished() >= 3, driver)
    victims = workers_of(driver.pid)
    assert victims
    os.kill(victims[0], signal.SIGKILL)
    before = finished()
    wait_for(lambda: finished() > before, driver)
    driver.send_signal(signal.SIGKILL)
    driver.communicate()
    assert not output.exists()
    assert finished() < 24
    again = genie_process.start(*ray)
    try:
        wait_for(lambda: workers_of(again.pid), again)
        out, err = again.communicate(timeout=WITHIN_S)
    finally:
        again.kill()
    assert again.returncode == 0, err
    assert "by an earlier run" in out
    assert f"which machine labelled what: {machines_file(output)}" in out
    genie.run("label", data, "--server", server, "--out", one)
    assert structure(output) == structure(one)
    assert len(read_machines(machines_file(output)).episodes) == 24
    assert not parts.exists()


def test_a_cluster_that_is_not_there_is_said(genie_process: Genie, models_folder: Path, data: Path) -> None:
    words = ("label", data, "--models", models_folder, "--engine", "ray", "--out", "x.hdf5")
    assert "--address: got 127.0.0.1:1: nobody answers" in genie_process.fail(*words, "--address", "127.0.0.1:1")
