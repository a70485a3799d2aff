"""Labelling with a pool of workers, as `--engine ray` does it, without Ray: two that share the tests' server."""

from __future__ import annotations

import dataclasses
import platform
from collections.abc import Iterator
from concurrent.futures import Future, ThreadPoolExecutor
from pathlib import Path
from typing import Any

import pytest

from genie_client.bulk import LabelPlan, LabelReport, label_dataset
from genie_client.bulk_pool import label_in_pool
from genie_client.client import Client
from genie_client.episode_worker import DatasetSource, EpisodeWorker, relayed
from genie_client.pool import Pool
from genie_core.data import open_dataset, open_labelled
from genie_core.data.labelled.journal import journal_folder
from genie_core.data.labelled.machines import machines_file, read_machines
from genie_core.errors import DatasetError, GenieError
from tests.e2e.test_label_shards import structure
from tests.factories.data import make_robomimic
from tests.support.processes import Genie


class DeadError(Exception):
    pass


class Threaded:
    """A worker whose methods run in threads of this process; it dies with an answer, after `dies_after` others."""

    def __init__(self, client: Client, dies_after: int | None) -> None:
        self._worker = EpisodeWorker(_client=client)
        self._threads = ThreadPoolExecutor(2)
        self._left = dies_after

    def submit(self, method: str, *arguments: Any) -> Future[Any]:
        def work() -> Any:
            answer = getattr(self._worker, method)(*arguments)
            if method == "label" and self._left is not None:
                self._left -= 1
                if self._left < 0:
                    raise DeadError("killed")  # after its episode was written: it is labelled again
            return answer

        return relayed(self._threads.submit(work), (DeadError,))

    def stop(self) -> None:
        self._threads.shutdown(wait=False)


@pytest.fixture
def client(server: str) -> Iterator[Client]:
    with Client(server) as client:
        yield client


@pytest.fixture
def data(tmp_path: Path) -> Path:
    return make_robomimic(tmp_path / "lift.hdf5", episodes=7, frames=24, size=32)


def label(client: Client, data: Path, output: Path, deaths: list[int | None], **plan: Any) -> tuple[LabelReport, Pool]:
    source = DatasetSource(str(data))
    pool = Pool(lambda: Threaded(client, deaths.pop(0) if deaths else None), 2, 2)
    try:
        return label_in_pool(pool, source, source.open(), LabelPlan(output=output, **plan)), pool
    finally:
        pool.close()


def test_the_file_is_that_of_one_process_though_workers_die(client: Client, data: Path, tmp_path: Path) -> None:
    one, many = tmp_path / "one.hdf5", tmp_path / "many.hdf5"
    label_dataset(client, open_dataset(data), LabelPlan(output=one))
    report, pool = label(client, data, many, [1, 2])
    assert (pool.lost, report.labelled, report.frames) == (2, 7, 7 * 24)
    assert structure(many) == structure(one)
    machines = read_machines(machines_file(many))
    assert {episode.host for episode in machines.episodes} == {platform.node()}
    labelled = open_labelled(many)
    assert [episode.name for episode in machines.episodes] == list(labelled.episodes)
    with pytest.raises(DatasetError, match="does not say which machines"):
        read_machines(data)


def test_each_engine_goes_on_where_the_other_was_stopped(client: Client, data: Path, tmp_path: Path) -> None:
    output = tmp_path / "out.hdf5"

    def stop(*_: object) -> None:
        raise KeyboardInterrupt

    with pytest.raises(KeyboardInterrupt):
        label(client, data, output, [], finished=stop)
    kept = len(list(journal_folder(output).glob("*.hdf5")))
    assert kept >= 1
    with pytest.raises(KeyboardInterrupt):
        label_dataset(client, open_dataset(data), LabelPlan(output=output, jobs=1, finished=stop))
    report, _ = label(client, data, output, [])
    assert report.found > kept - 1
    assert (report.found + report.labelled, report.found > 0) == (7, True)
    machines = read_machines(machines_file(output))
    assert {episode.host for episode in machines.episodes} == {platform.node()}
    assert label(client, data, output, [])[0].was_complete


def test_a_damaged_record_of_machines_is_kept_and_told(client: Client, data: Path, tmp_path: Path) -> None:
    output = tmp_path / "out.hdf5"
    record, aside = machines_file(output), tmp_path / "out.hdf5.machines.json.damaged"
    for broken in (b"{half", b""):
        record.write_bytes(broken)
        report, _ = label(client, data, output, [], existing="replace")
        (warning,) = [warning for warning in report.warnings if "machine" in warning]
        assert f"{record}: does not say which machines labelled" in warning
        assert f"kept as {aside.name}" in warning
        assert aside.read_bytes() == broken
        assert len(read_machines(record).episodes) == 7
        aside = aside.with_name(f"{aside.name}-2")
    assert not [
        warning for warning in label(client, data, output, [], existing="replace")[0].warnings if "kept" in warning
    ]
    record.unlink()
    record.mkdir()
    with pytest.raises(DatasetError, match=r"machines\.json: cannot be read: Is a directory"):
        label(client, data, output, [], existing="replace")


def test_a_worker_that_sees_other_data_or_no_journal_says_so(client: Client, data: Path, tmp_path: Path) -> None:
    other = make_robomimic(tmp_path / "other.hdf5", episodes=3, frames=24, size=32)
    pool = Pool(lambda: Threaded(client, None), 1, 1)
    plan = LabelPlan(output=tmp_path / "out.hdf5")
    with pytest.raises(GenieError, match=r"other\.hdf5: got other episodes on .*, expected the same data"):
        label_in_pool(pool, DatasetSource(str(other)), open_dataset(data), plan)
    pool.close()
    worker = EpisodeWorker(_client=client)
    worker_job = job_of(client, data, tmp_path)
    failure = worker.label(worker_job, 0)
    assert "held by nobody" in failure.message


def job_of(client: Client, data: Path, tmp_path: Path) -> Any:
    """A job whose journal is not there, as on a machine that does not share the folder."""
    seen: list[Any] = []

    class Looks(Threaded):
        def submit(self, method: str, *arguments: Any) -> Future[Any]:
            seen.extend(arguments[:1] if method == "label" else ())
            return super().submit(method, *arguments)

    source = DatasetSource(str(data))
    pool = Pool(lambda: Looks(client, None), 1, 1)
    label_in_pool(pool, source, source.open(), LabelPlan(output=tmp_path / "seen.hdf5"))
    pool.close()
    return dataclasses.replace(seen[0], key="other")


def test_what_does_not_go_with_ray_is_refused(genie: Genie, data: Path) -> None:
    assert "--shard: leave that out" in genie.fail("label", data, "--engine", "ray", "--shard", "1/2")
    assert "--workers: got it without --engine ray" in genie.fail("label", data, "--workers", "2")
    assert "--merge: got it with --engine" in genie.fail("label", data, "--engine", "ray", "--merge")
