"""Labels a dataset with a pool of workers, an episode a row: each worker commits its episodes to one journal itself.

The journal is that of a single process, so that a run may be continued by either.
"""

from __future__ import annotations

import secrets
from collections.abc import Callable
from typing import Any

from genie_client.bulk import LabelPlan, LabelReport, count, counted, finish, open_writer, wanted_alignment
from genie_client.bulk_run import Done
from genie_client.episode_worker import DatasetSource, Finished, Job
from genie_client.pool import Pool
from genie_client.records import ModelInfo
from genie_client.steps import ChosenSteps
from genie_core.data import AutoSteps, Dataset, LabelWriter
from genie_core.data.labelled.machines import record_machines
from genie_core.data.labelled.shards import names_sha256
from genie_core.errors import GenieError

_SLOW_START_S, _SLOW_S = 10.0, 60.0
"""Seconds without a first answer, and later without a finished episode, after which that is told."""


def label_in_pool(
    pool: Pool,
    source: DatasetSource,
    dataset: Dataset,
    plan: LabelPlan,
    advance: Callable[[float], None] = lambda episodes: None,
    wait: Callable[[str | None], None] = lambda why: None,
    found: Callable[[AutoSteps], None] = lambda steps: None,
) -> LabelReport:
    """Label every episode of `dataset` that the output does not hold yet, as `label_dataset` does.

    The workers open `source`, which is the same dataset, and write into the output's folder; so both must be at the
    same path on all machines. Beside the output is written which machine labelled which episode.

    `wait` is called about once a second with what nothing goes on for, and with None when it does.

    Raises:
        GenieError: what `label_dataset` raises; no worker has answered within the plan's patience; or one episode's
            workers died again and again.

    """

    def ask(method: str, *arguments: Any) -> Any:
        def still(seconds: float) -> None:
            if seconds >= _SLOW_START_S:
                wait(f"waiting for a worker to start ({seconds:.0f} of {patience_s:g} s)")

        patience_s = max(plan.patience_s, _SLOW_START_S)
        try:
            answer = pool.ask(method, *arguments, within_s=patience_s, still=still)
        except TimeoutError as error:
            raise GenieError(
                f"workers: got no answer from one within {patience_s:g} s: is there room for it? "
                "--worker-cpus says how many CPUs each is given"
            ) from error
        wait(None)
        return answer

    def still(seconds: float) -> None:
        if seconds >= _SLOW_S:
            wait(f"no worker has finished an episode for {seconds:.0f} s")

    info: ModelInfo = ask("describe")
    alignment = wanted_alignment(info, dataset, plan)
    chosen: ChosenSteps = ask("steps", source, plan.step, alignment, plan.output, plan.existing, plan.patience_s)
    if chosen.auto is not None:
        found(chosen.auto)
    with open_writer(dataset, plan, info, alignment, chosen) as writer:
        report = LabelReport(info, plan.place, len(dataset.episodes), 0, alignment=alignment, auto_steps=chosen.auto)
        job = Job(
            key=secrets.token_hex(8),
            source=source,
            names_sha256=names_sha256(dataset.episodes),
            info=info,
            alignment=alignment,
            settings=writer.part_settings,
            feature=plan.feature,
            transport=plan.transport,
            keep_frozen=plan.keep_frozen,
            patience_s=plan.patience_s,
            folder=writer.journal.folder.resolve(),
            owner=writer.journal.owner,
        )
        with counted(writer, plan, report, advance) as pending:
            places = {episode.name: place for place, episode in enumerate(dataset.episodes)}
            rows = [places[episode.name] for episode in pending]
            for place, answer in pool.run(
                "label", rows, job, name=lambda place: dataset.episodes[place].name, still=still
            ):
                wait(None)
                _count(writer, plan, report, dataset, place, answer, advance)
            if writer.stored and not writer.is_complete:
                told = record_machines(plan.place, writer.stored, writer.settings, info.name, report.skipped)
                report.also += [] if told is None else [told]
            finish(writer, plan, report)
        return report


def _count(
    writer: LabelWriter,
    plan: LabelPlan,
    report: LabelReport,
    dataset: Dataset,
    place: int,
    answer: Finished | Exception,
    advance: Callable[[float], None],
) -> None:
    """Take the episode that a worker has written, and count it."""
    episode = dataset.episodes[place]
    if isinstance(answer, Exception):
        count(writer, plan, report, episode, answer, advance)
        return
    done = Done(writer.adopt(episode), answer.timing, answer.findings)
    count(writer, plan, report, episode, done, advance)
    advance(1.0)


__all__ = ["label_in_pool"]
