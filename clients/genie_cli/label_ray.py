"""``genie label --engine ray``: what it may not be combined with, and a pool of workers in place of one server."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import replace
from pathlib import Path
from typing import TYPE_CHECKING, Protocol

from genie_core.data.storage.location import absolute
from genie_core.errors import GenieError

if TYPE_CHECKING:
    from genie_cli.progress import Bar
    from genie_client.bulk import LabelPlan, LabelReport
    from genie_client.episode_worker import DatasetSource
    from genie_client.pool import Pool
    from genie_core.data import Dataset


class LabelAll(Protocol):
    """Labels a dataset, with one server or a pool of workers."""

    def __call__(self, dataset: Dataset, plan: LabelPlan, bar: Bar) -> LabelReport:
        """Label the dataset, showing progress."""


def check_engine(engine: str, **given: object) -> None:
    """Raise GenieError for options of one engine that are given with the other.

    `given`: by their names, ``address``, ``workers`` and ``worker_cpus`` of Ray, all others of a single server.
    """
    of_ray = {"address", "workers", "worker_cpus"}
    wrong = [
        f"--{name.replace('_', '-')}"
        for name, value in given.items()
        if value and (name in of_ray) != (engine == "ray")
    ]
    if wrong and engine == "ray":
        raise GenieError(f"--engine ray: got it with {', '.join(wrong)}: leave that out, each worker has its own model")
    if wrong:
        raise GenieError(f"{', '.join(wrong)}: got it without --engine ray, expected it with that alone")


@contextmanager
def ray_workers(
    address: str | None, models: str | None, model: str | None, workers: int | None, cpus: int | None, jobs: int
) -> Iterator[Pool]:
    """Yield a pool on a Ray cluster, with the models at an absolute path. Raises GenieError."""
    from genie_client.ray_engine import ray_pool
    from genie_core.data import source_path

    place = None if models is None else str(absolute(source_path(models)))
    with ray_pool(address, place, model, workers=workers, cpus=cpus, depth=jobs) as pool:
        yield pool


def in_ray(pool: Pool, source: DatasetSource) -> LabelAll:
    """Label with the workers of `pool`, which open `source` by its absolute path."""
    from genie_cli.label_report import print_steps
    from genie_client.bulk_pool import label_in_pool
    from genie_core.data import source_path

    path = source_path(source.path) if isinstance(source.path, str) else source.path
    there = replace(source, path=str(absolute(path)))

    def label_all(dataset: Dataset, plan: LabelPlan, bar: Bar) -> LabelReport:
        def wait(why: str | None) -> None:
            bar.notice("labelling", why, "see `ray status`")

        report = label_in_pool(pool, there, dataset, plan, bar.advance, wait, print_steps)
        _say_where(report.output, pool)
        return report

    return label_all


def _say_where(output: Path, pool: Pool) -> None:
    """Print which file records which machine labelled what, and whether workers were lost."""
    from genie_core.data.labelled.machines import machines_file

    if pool.lost:
        print(f"{pool.lost} workers were lost and replaced; others labelled their episodes")
    if machines_file(output).exists():
        print(f"which machine labelled what: {machines_file(output)}")


__all__ = ["LabelAll", "check_engine", "in_ray", "ray_workers"]
