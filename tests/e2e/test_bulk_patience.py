"""Labelling a dataset goes on when the server has no room, is restarted or upgraded, and says what it waits for."""

from __future__ import annotations

import os
import shutil
import threading
import time
from collections.abc import Callable
from pathlib import Path

import numpy as np
import pytest

from genie_client import Client, ModelError, ServerBusyError, ServerUnavailableError
from genie_client.bulk import LabelPlan, LabelReport, label_dataset
from genie_client.patience import Waiting
from genie_core.data import open_dataset, open_labelled
from genie_core.errors import DatasetError
from tests.factories.bundles import make_nano_bundle
from tests.factories.data import make_robomimic
from tests.support.processes import free_port
from tests.support.service_server import serving
from tests.support.tcp_proxy import TcpProxy

CUT_S = float(os.environ.get("GENIE_CUT_SECONDS", "0.5"))
"""How long the network is cut."""

SLOW = 1200
"""Frames a second that a server takes of a client, so that it is stopped half way however late this process looks."""


class Run:
    """A labelling of the dataset `source` in a thread of its own."""

    def __init__(self, address: str, source: Path, output: Path, **plan: float) -> None:
        self.waited: list[Waiting | None] = []
        self.done = 0.0
        self.report: LabelReport | None = None
        self.error: Exception | None = None
        self._thread = threading.Thread(target=self._label, args=(address, source, LabelPlan(output, **plan)))  # type: ignore[arg-type]
        self._thread.start()

    def _label(self, address: str, source: Path, plan: LabelPlan) -> None:
        with Client(address) as client:
            try:
                self.report = label_dataset(client, open_dataset(source), plan, self._advance, self.waited.append)
            except Exception as error:
                self.error = error

    def _advance(self, episodes: float) -> None:
        self.done += episodes

    def wait_until(self, condition: Callable[[], bool], within_s: float = 60) -> bool:
        deadline = time.monotonic() + within_s
        while not condition() and self._thread.is_alive() and time.monotonic() < deadline:
            time.sleep(0.01)
        return condition()

    def end(self) -> LabelReport:
        self._thread.join(60 + CUT_S)
        if self.error is not None:
            raise self.error
        assert self.report is not None
        return self.report

    def reasons(self) -> set[type[Exception]]:
        return {type(waiting.error) for waiting in self.waited if waiting is not None}


@pytest.fixture
def models(models_folder: Path) -> Path:
    return models_folder


def assert_same_labels(path: Path, other: Path) -> None:
    one, two = open_labelled(path), open_labelled(other)
    assert one.episodes == two.episodes
    for name in one.episodes:
        np.testing.assert_array_equal(one.labels(name)[0].latent, two.labels(name)[0].latent)


def test_a_server_without_room_is_waited_for_and_the_run_goes_on(models: Path, server: str, tmp_path: Path) -> None:
    """16 episodes of 60 frames/s in flight are 96 pieces of work, more than the 64 that may wait by default."""
    source = make_robomimic(tmp_path / "a.hdf5", episodes=20, frames=40, size=32, fps=60)
    with serving(models) as running:
        with running.busy_device():
            run = Run(running.server.address, source, tmp_path / "out.hdf5")
            run.wait_until(lambda: ServerBusyError in run.reasons(), within_s=4)
            assert run.error is None
        report = run.end()
    assert (report.labelled, round(run.done, 6)) == (20, 20)
    Run(server, source, tmp_path / "alone.hdf5", jobs=1).end()
    assert_same_labels(tmp_path / "out.hdf5", tmp_path / "alone.hdf5")


def start_and_stop(models: Path, source: Path, output: Path, port: int, **plan: float) -> Run:
    """A run whose server is drained as soon as one episode is done, with no time for those under way."""
    with serving(models, port=port, drain_seconds=0, max_frames_per_second=SLOW) as running:
        run = Run(running.server.address, source, output, jobs=2, **plan)
        assert run.wait_until(lambda: run.done > 1.01)
        running.run(running.server.drain(0))
    return run


@pytest.fixture
def source(tmp_path: Path) -> Path:
    return make_robomimic(tmp_path / "a.hdf5", episodes=12, frames=400, size=32)


def test_a_restarted_server_is_waited_for_and_gives_the_same_labels(
    models: Path, server: str, source: Path, tmp_path: Path
) -> None:
    port = free_port()
    run = start_and_stop(models, source, tmp_path / "out.hdf5", port)
    assert run.wait_until(lambda: len(run.waited) > 1), run.error
    with serving(models, port=port):
        report = run.end()
    assert (report.labelled, round(run.done, 6)) == (12, 12)
    assert run.waited[-1] is None
    Run(server, source, tmp_path / "at-once.hdf5").end()
    assert_same_labels(tmp_path / "out.hdf5", tmp_path / "at-once.hdf5")
    assert sorted(path.name for path in tmp_path.iterdir()) == ["a.hdf5", "at-once.hdf5", "out.hdf5"]


def test_a_server_that_is_not_there_yet_is_waited_for_if_so_asked(models: Path, source: Path, tmp_path: Path) -> None:
    port = free_port()
    run = Run(f"127.0.0.1:{port}", source, tmp_path / "out.hdf5", meeting_patience_s=60)
    assert run.wait_until(lambda: bool(run.waited)), run.error
    with serving(models, port=port):
        assert run.end().labelled == 12
    assert run.waited[-1] is None


def test_a_server_that_is_not_there_is_not_waited_for_unasked(source: Path, tmp_path: Path) -> None:
    run = Run(f"127.0.0.1:{free_port()}", source, tmp_path / "out.hdf5")
    with pytest.raises(ServerUnavailableError, match="no server at"):
        run.end()
    assert not run.waited


def test_a_server_that_comes_back_with_another_bundle_is_refused(models: Path, source: Path, tmp_path: Path) -> None:
    port = free_port()
    other = tmp_path / "models"
    other.mkdir()
    make_nano_bundle(other / "nano", seed=9)
    run = start_and_stop(models, source, tmp_path / "out.hdf5", port)
    with (
        serving(other, port=port),
        pytest.raises(ModelError, match=r"replaced the model .* bundle: got"),
    ):
        run.end()


@pytest.mark.parametrize("what", ["vanishes", "is truncated", "is replaced"])
def test_a_source_that_changes_under_the_run_is_told_and_costs_nothing_once_it_is_back(
    models: Path, server: str, source: Path, tmp_path: Path, what: str
) -> None:
    kept = shutil.copy2(source, tmp_path / "kept")
    another = make_robomimic(tmp_path / "b.hdf5", episodes=12, frames=400, size=32)
    with serving(models, max_frames_per_second=SLOW) as slow:
        run = Run(slow.server.address, source, tmp_path / "out.hdf5", jobs=1)
        assert run.wait_until(lambda: run.done > 1.01)
        if what == "vanishes":
            source.unlink()
        elif what == "is truncated":
            os.truncate(source, source.stat().st_size // 2)
        else:
            os.replace(another, source)
        with pytest.raises(DatasetError, match=rf"{source.name}: "):
            run.end()
    assert not (tmp_path / "out.hdf5").exists()
    os.replace(kept, source)
    assert Run(server, source, tmp_path / "out.hdf5").end().found >= 1
    Run(server, source, tmp_path / "at-once.hdf5").end()
    assert_same_labels(tmp_path / "out.hdf5", tmp_path / "at-once.hdf5")


@pytest.mark.timeout(300 + 2 * CUT_S)
@pytest.mark.parametrize("silent", [False, True])
def test_a_network_that_is_cut_for_a_while_is_waited_for(
    server: str, source: Path, tmp_path: Path, silent: bool
) -> None:
    """`silent`: nobody is told of the cut, nothing comes through; otherwise connections break and none can be made."""
    with TcpProxy(server) as proxy:
        run = Run(proxy.address, source, tmp_path / "out.hdf5")
        assert run.wait_until(lambda: run.done > 1.01)
        proxy.cut(silent=silent)
        if not silent:
            assert run.wait_until(lambda: ServerUnavailableError in run.reasons())
        time.sleep(CUT_S)
        proxy.mend()
        assert run.end().labelled == 12
    Run(server, source, tmp_path / "at-once.hdf5").end()
    assert_same_labels(tmp_path / "out.hdf5", tmp_path / "at-once.hdf5")


def test_patience_ends_and_what_is_finished_stands(models: Path, source: Path, tmp_path: Path) -> None:
    run = start_and_stop(models, source, tmp_path / "out.hdf5", free_port(), patience_s=1.5)
    with pytest.raises(ServerUnavailableError) as error:
        run.end()
    notes = " ".join(error.value.__notes__)
    assert "s for it (--patience 1.5)" in notes
    assert "of 12 episodes are finished; the same command goes on from there" in notes
