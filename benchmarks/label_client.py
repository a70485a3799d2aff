"""Clients of a labelling benchmark, each in a process of its own: label their files on request. Imports no torch."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager
from multiprocessing import get_context
from multiprocessing.connection import Connection
from pathlib import Path

from genie_client import Client
from genie_client.bulk import LabelPlan, label_dataset
from genie_core.data import open_dataset


class LabelClients:
    """Clients that wait; `label` lets all of them label their files at once and returns when the last is done."""

    def __init__(self, pipes: list[Connection], pids: list[int]) -> None:
        self._pipes = pipes
        self.pids = pids

    def label(self) -> int:
        """Label every file, HDF5 to HDF5; the number of frames labelled. Raises RuntimeError where a client fails."""
        for pipe in self._pipes:
            pipe.send("label")
        answers = [pipe.recv() for pipe in self._pipes]
        for answer in answers:
            if isinstance(answer, str):
                raise RuntimeError(f"a client failed: {answer}")
        return sum(answers)


@contextmanager
def waiting_clients(address: str, files: list[Path], jobs: int, step: int | None = None) -> Iterator[LabelClients]:
    """A connected client for each file, with `jobs` episodes in flight each; `step`: of `LabelPlan`."""
    context = get_context("spawn")
    pairs = [context.Pipe() for _ in files]
    workers = [
        context.Process(target=_serve_pipe, args=(theirs, address, path, jobs, step), daemon=True)
        for path, (_, theirs) in zip(files, pairs, strict=True)
    ]
    try:
        for worker in workers:
            worker.start()
        for ours, _ in pairs:
            ours.recv()  # connected
        yield LabelClients([ours for ours, _ in pairs], [worker.pid for worker in workers if worker.pid])
    finally:
        for ours, _ in pairs:
            ours.close()
        for _, theirs in pairs:
            theirs.close()
        for worker in workers:
            worker.join(10)
            if worker.is_alive():
                worker.terminate()


def labelled_path(path: Path) -> Path:
    """Return where the labels of a file go."""
    return path.with_suffix(".labelled.hdf5")


def _serve_pipe(pipe: Connection, address: str, path: Path, jobs: int, step: int | None) -> None:
    """Label `path` each time something comes through the pipe, until it is closed."""
    with Client(address, wait_for_ready=True) as client:
        client.model()
        pipe.send("connected")
        while True:
            try:
                pipe.recv()
            except EOFError:
                return
            try:
                plan = LabelPlan(labelled_path(path), existing="overwrite", jobs=jobs, step=step)
                pipe.send(label_dataset(client, open_dataset(path), plan).frames)
            except Exception as error:
                pipe.send(f"{type(error).__name__}: {error}")


__all__ = ["LabelClients", "labelled_path", "waiting_clients"]
