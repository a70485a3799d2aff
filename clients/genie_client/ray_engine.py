"""A pool of workers on a Ray cluster: one actor a worker, each with the model and with as many CPUs as it is given."""

from __future__ import annotations

import os
import socket
from collections.abc import Iterator, Sequence
from concurrent.futures import Future
from contextlib import contextmanager, suppress
from dataclasses import dataclass
from importlib import import_module
from typing import Any

from genie_client.episode_worker import EpisodeWorker, relayed
from genie_client.pool import Pool
from genie_core.errors import GenieError

_OBJECTS_BYTES = 100 * 2**20
"""Memory of Ray's object store where we start Ray: answers are small, as labels go through the file system."""


_ANSWERS_WITHIN_S = 20.0


@dataclass(frozen=True)
class Node:
    """What Ray says that one machine has."""

    cpus: float
    gpus: float


@dataclass(frozen=True)
class Share:
    """Workers, and what each is given.

    Attributes:
        workers: how many.
        cpus: of each, at least 1; as many threads compute.
        gpus: of each, 0 or 1.

    """

    workers: int
    cpus: int
    gpus: int


def share(nodes: Sequence[Node], workers: int | None, cpus: int | None) -> Share:
    """Divide a cluster between workers.

    Args:
        nodes: machines of the cluster, at least one.
        workers: how many the user wants; None: one a GPU, or of a cluster without any one a machine.
        cpus: how many CPUs the user wants each to have; None: what the poorest machine has.

    Raises:
        GenieError: no machine has so many CPUs.

    """
    gpu = any(node.gpus >= 1 for node in nodes)
    useful = [node for node in nodes if node.gpus >= 1] if gpu else [node for node in nodes if node.cpus >= 1]
    if not useful:
        raise GenieError("ray: got a cluster without CPUs, expected a machine with one")
    places = [int(node.gpus) if gpu else 1 for node in useful]
    wanted = sum(places) if workers is None else workers
    each = max(1, -(-wanted // sum(places)))  # workers a place, where there are more of them
    most = int(max(node.cpus for node in useful))
    if cpus is not None and cpus > most:
        raise GenieError(f"--worker-cpus: got {cpus}, expected at most {most}, which the largest machine has")
    fewest = min(int(node.cpus) // (place * each) for node, place in zip(useful, places, strict=True))
    return Share(wanted, cpus or max(1, fewest), int(gpu and each == 1))


@contextmanager
def ray_pool(
    address: str | None,
    models: str | None,
    model: str | None,
    *,
    workers: int | None = None,
    cpus: int | None = None,
    depth: int = 16,
) -> Iterator[Pool]:
    """Yield a pool of `EpisodeWorker`s on a Ray cluster; they end with the block.

    Args:
        address: of the cluster, as Ray writes it; None: environment variable RAY_ADDRESS, or else a Ray that is started
            on this machine and ends with the block.
        models: folder of bundles, at the same path on all machines, or a URL; None: those that ship with Genie.
        model: the model; None: the default one.
        workers: see `share`.
        cpus: see `share`.
        depth: episodes that each worker labels at the same time.

    Raises:
        GenieError: Ray is not installed, cannot be reached, or has no room.

    """
    ray = _ray()
    where = address or os.environ.get("RAY_ADDRESS")
    _connect(ray, where, workers, cpus)
    try:
        given = share(_nodes(ray), workers, cpus)
        device = "cuda" if given.gpus else "cpu"
        lost = (ray.exceptions.RayActorError, ray.exceptions.WorkerCrashedError, ray.exceptions.OutOfMemoryError)
        actor = ray.remote(EpisodeWorker).options(
            num_cpus=given.cpus, num_gpus=given.gpus, max_concurrency=depth + 1, max_restarts=0, max_task_retries=0
        )

        def start() -> _Actor:
            return _Actor(ray, actor.remote(models, model, device, given.cpus), lost)

        pool = Pool(start, given.workers, depth)
        try:
            yield pool
        finally:
            pool.close()
    finally:
        ray.shutdown()


class _Actor:
    """A worker of the pool."""

    def __init__(self, ray: Any, handle: Any, lost: tuple[type[BaseException], ...]) -> None:
        self._ray, self._handle, self._lost = ray, handle, lost

    def submit(self, method: str, *arguments: Any) -> Future[Any]:
        return relayed(getattr(self._handle, method).remote(*arguments).future(), self._lost)

    def stop(self) -> None:
        with suppress(Exception):  # it may be dead, and Ray gone
            self._ray.kill(self._handle)


def _ray() -> Any:
    os.environ.setdefault("RAY_USAGE_STATS_ENABLED", "0")  # nothing is reported to anybody
    try:
        return import_module("ray")
    except ModuleNotFoundError as error:
        raise GenieError(
            f"--engine ray: needs `pip install 'genie-latent[ray]'` (there is no {error.name} here)"
        ) from error


def _connect(ray: Any, address: str | None, workers: int | None, cpus: int | None) -> None:
    """Connect to the cluster, or start one here that has room for the workers. Raises GenieError."""
    quiet: dict[str, Any] = {"log_to_driver": False, "logging_level": "warning"}
    if address is None or address == "local":
        here = max(os.cpu_count() or 1, (workers or 1) * (cpus or 1))
        ray.init(address="local", num_cpus=here, include_dashboard=False, object_store_memory=_OBJECTS_BYTES, **quiet)
        return
    _check_answers(address)
    try:
        ray.init(address=address, **quiet)
    except (ConnectionError, RuntimeError, ValueError, OSError) as error:
        raise GenieError(f"--address: got {address}: there is no Ray cluster that answers: {error}") from error


def _check_answers(address: str) -> None:
    """Raise GenieError if nobody listens at ``HOST:PORT``: Ray itself would try for minutes."""
    host, _, port = address.removeprefix("ray://").rpartition(":")
    if not port.isdecimal():
        return  # `auto`, or a name that Ray knows
    try:
        socket.create_connection((host.strip("[]"), int(port)), _ANSWERS_WITHIN_S).close()
    except (OSError, OverflowError) as error:
        raise GenieError(f"--address: got {address}: nobody answers there: {error}") from error


def _nodes(ray: Any) -> list[Node]:
    alive = [node["Resources"] for node in ray.nodes() if node["Alive"]]
    return [Node(float(has.get("CPU", 0)), float(has.get("GPU", 0))) for has in alive]


__all__ = ["Node", "Share", "ray_pool", "share"]
