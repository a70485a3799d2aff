"""Labels a whole dataset into a file, several episodes at a time; a stopped run keeps its episodes and can resume."""

from __future__ import annotations

import threading
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from queue import SimpleQueue

from genie_client.bulk_report import LabelReport
from genie_client.bulk_run import BulkRun, Done, EpisodeWriter, Outcome
from genie_client.client import Client
from genie_client.episode_reading import BadEpisodeError
from genie_client.meeting import meet
from genie_client.patience import BULK_PATIENCE_S, Waiting
from genie_client.records import HostedAlignment, ModelInfo
from genie_client.steps import ChosenSteps, StepChoice, choose_steps
from genie_core.data import (
    AutoSteps,
    Dataset,
    Density,
    Episode,
    Existing,
    FramesMode,
    LabelAlignment,
    Labels,
    LabelWriter,
    Transport,
)
from genie_core.data.labelled.shards import OtherStepsError, Shard, begin_shards, join, record
from genie_core.errors import DatasetError, GenieError, ModelError


@dataclass(frozen=True)
class LabelPlan:
    """How to label a dataset.

    Attributes:
        output: file to write; the dataset's own path with ``frames="in_place"``.
        shard: label only this part, for `output` to be merged of it and others; None: all.
        model: name of a model on the server; None: its default model.
        step: transition length in frames; ``rates``: from each episode's frame rate and the model's; ``auto``: the
            shortest at which motion is as large as in the model's training; None: the alignment's, else ``auto`` with a
            model whose latents tell how large motion is, ``rates`` with others.
        density: which frames are labelled.
        frames: where the output keeps frames, see `FramesMode`; None: the format's default.
        existing: what to do if the output exists.
        transport: how frames are sent; see `Client.label`.
        alignment: name of the model's alignment whose actions to write beside the labels; None: none.
        feature: whether to write the wide vector that each latent is made of, too.
        jobs: episodes labelled at the same time, at least 1.
        keep_frozen: whether to label transitions of frozen pictures too; otherwise they are not valid.
        skip_bad: whether to skip episodes that cannot be labelled, and report them, instead of stopping.
        patience_s: seconds to wait for a server that is busy, gone or restarting while no episode advances; 0: do not
            wait.
        meeting_patience_s: the same for a server that has not answered yet; 0: it must be there, since a wrong address
            would be waited for too.
        finished: called with each episode once it is labelled, and its labels; None: nobody.

    """

    output: Path
    shard: Shard | None = None
    model: str | None = None
    step: StepChoice = None
    density: Density = "dense"
    frames: FramesMode | None = None
    existing: Existing = "refuse"
    transport: Transport = "raw"
    alignment: str | None = None
    feature: bool = False
    jobs: int = 16
    keep_frozen: bool = False
    skip_bad: bool = False
    patience_s: float = BULK_PATIENCE_S
    meeting_patience_s: float = 0.0
    finished: Callable[[Episode, Labels], None] | None = None

    @property
    def place(self) -> Path:
        """The file that the run writes itself."""
        return self.output if self.shard is None else self.shard.file(self.output)

    @property
    def found_there(self) -> Existing:
        """What to do if `place` exists: a shard's file that is there is its own, and gone on from."""
        return "resume" if self.shard is not None and self.existing == "refuse" else self.existing


def label_dataset(
    client: Client,
    dataset: Dataset,
    plan: LabelPlan,
    advance: Callable[[float], None] = lambda episodes: None,
    wait: Callable[[Waiting | None], None] = lambda waiting: None,
    found: Callable[[AutoSteps], None] = lambda steps: None,
) -> LabelReport:
    """Label every episode of `dataset` that the output does not hold yet, and write the output when all are done.

    `advance` is called, from any thread, with the episodes done since the last call, a fraction, negative when one is
    restarted. `wait` is called about once a second with what the run waits for, and with None when it continues.
    `found` is called with the transition lengths that were found on the data.

    Finished episodes survive whatever stops a run, and the same call continues from there. Raises a `GenieError` (or
    KeyboardInterrupt) with a note on how far the run came: BadEpisodeError for an episode with fewer than two frames or
    a damaged file, unless ``skip_bad``; otherwise what `Client.label_stream` and `LabelWriter` raise.

    A shard labels its part into a file of its own, and writes its entry when all is done; `genie_core.data.labelled`'s
    `merge` makes one file of all.
    """
    info = meet(client, plan.model, plan.meeting_patience_s, wait)
    alignment = wanted_alignment(info, dataset, plan)
    if plan.shard is None:
        return _label(client, dataset, plan, info, alignment, advance, wait, found)
    begin_shards(plan.output)
    try:
        return _label(client, dataset, plan, info, alignment, advance, wait, found)
    except OtherStepsError:  # shards began together; one machine's last bits may differ from another's
        return _label(client, dataset, plan, info, alignment, advance, wait, found)


def _label(
    client: Client,
    dataset: Dataset,
    plan: LabelPlan,
    info: ModelInfo,
    alignment: HostedAlignment | None,
    advance: Callable[[float], None],
    wait: Callable[[Waiting | None], None],
    found: Callable[[AutoSteps], None],
) -> LabelReport:
    chosen = choose_steps(
        client,
        info,
        dataset,
        plan.step,
        alignment,
        output=plan.output,
        existing=plan.existing,
        shard=plan.shard,
        patience_s=plan.patience_s,
    )
    if chosen.auto is not None:
        found(chosen.auto)
    part = dataset if plan.shard is None else plan.shard.part(dataset)
    with open_writer(part, plan, info, alignment, chosen) as writer:
        agreed = None if plan.shard is None else join(plan.output, plan.shard, dataset.episodes, writer.settings)
        run = BulkRun(
            client,
            writer,
            info,
            alignment,
            density=plan.density,
            feature=plan.feature,
            transport=plan.transport,
            keep_frozen=plan.keep_frozen,
            patience_s=plan.patience_s,
            advance=advance,
            wait=wait,
        )
        report = LabelReport(info, plan.place, len(part.episodes), 0, alignment=alignment, auto_steps=chosen.auto)
        with counted(writer, plan, report, advance) as pending:
            _label_all(run, plan, pending, report)
            if plan.shard is None or report.found or report.labelled:
                finish(writer, plan, report)
            else:
                plan.place.unlink(missing_ok=True)  # of an earlier run, and none of it is to be kept
        if plan.shard is not None and agreed is not None:
            record(plan.output, plan.shard, agreed, info.name, report.skipped)
        return report


def wanted_alignment(info: ModelInfo, dataset: Dataset, plan: LabelPlan) -> HostedAlignment | None:
    """Return the alignment whose actions `plan` wants. Raises ModelError if the model cannot give what it wants."""
    alignment = None if plan.alignment is None else find_alignment(info, plan.alignment)
    if alignment is not None and dataset.fused:
        raise ModelError(f"alignment: got {alignment.name} with fused cameras: it decodes labels of one camera")
    if plan.feature and info.feature_dim is None:
        raise ModelError(f"feature: {info.name} gives none, expected a model that reads motion")
    return alignment


def open_writer(
    part: Dataset, plan: LabelPlan, info: ModelInfo, alignment: HostedAlignment | None, chosen: ChosenSteps
) -> LabelWriter:
    """Open the writer of the file that a run writes, for the episodes in `part`."""
    return LabelWriter(
        plan.place,
        part,
        info.label_model,
        step=chosen.step,
        auto_steps=chosen.auto,
        density=plan.density,
        frames=plan.frames,
        transport=plan.transport,
        alignment=_label_alignment(alignment),
        keep_frozen=plan.keep_frozen,
        feature_dim=info.feature_dim if plan.feature else None,
        existing=plan.found_there,
        may_miss=plan.skip_bad,
    )


@contextmanager
def counted(
    writer: LabelWriter, plan: LabelPlan, report: LabelReport, advance: Callable[[float], None]
) -> Iterator[list[Episode]]:
    """Yield the episodes that are still to be labelled; counts those found and the time, and says how far errors let it
    come.
    """
    pending = writer.pending()
    report.found = report.episodes - len(pending)
    report.was_complete = writer.is_complete
    advance(report.found)
    began = time.monotonic()
    try:
        yield pending
    except (GenieError, KeyboardInterrupt) as error:
        done = report.episodes - len(writer.pending())
        error.add_note(f"{done} of {report.episodes} episodes are finished; the same command goes on from there")
        raise
    finally:
        report.seconds = time.monotonic() - began


def finish(writer: LabelWriter, plan: LabelPlan, report: LabelReport) -> None:
    """Write the output. Raises DatasetError if every episode was skipped: nobody asked for an empty file."""
    if plan.shard is None and report.skipped and not report.found and not report.labelled:
        name, reason = report.skipped[0]
        raise DatasetError(f"none of {report.episodes} episodes can be labelled; {name}: {reason}")
    writer.finish(allow_missing=plan.skip_bad)


def _label_all(run: BulkRun, plan: LabelPlan, pending: list[Episode], report: LabelReport) -> None:
    """Label the episodes, `jobs` at a time, started in the dataset's order."""
    todo: SimpleQueue[Episode] = SimpleQueue()
    done: SimpleQueue[Outcome] = SimpleQueue()
    for episode in pending:
        todo.put(episode)
    workers = [threading.Thread(target=run.work, args=(todo, done), name="genie-label") for _ in range(plan.jobs)]
    try:
        for worker in workers:
            worker.start()
        for _ in pending:  # Ctrl-C arrives in this thread, which holds no lock while waiting
            episode, outcome = done.get()
            count(run.writer, plan, report, episode, outcome, run.advance)
    finally:
        run.stop()
        for worker in filter(threading.Thread.is_alive, workers):
            worker.join()


def count(
    writer: EpisodeWriter,
    plan: LabelPlan,
    report: LabelReport,
    episode: Episode,
    outcome: Done | Exception,
    advance: Callable[[float], None],
) -> None:
    """Count an episode in `report`. Raises what stopped it, unless it is a bad one that `plan` skips."""
    if isinstance(outcome, Done) and report.was_complete:
        raise DatasetError(
            f"{report.output}: exists already, without {episode.name}, which can be labelled; "
            "resume it, or overwrite it"
        )
    if isinstance(outcome, Done):
        report.add(outcome.labels, writer.step(episode), outcome.timing)
        report.findings += [(episode.name, finding) for finding in outcome.findings]
        if plan.finished is not None:
            plan.finished(episode, outcome.labels)
    elif isinstance(outcome, BadEpisodeError) and plan.skip_bad:
        report.skipped.append((episode.name, str(outcome)))
        advance(1.0)
    else:
        raise outcome


def find_alignment(info: ModelInfo, name: str) -> HostedAlignment:
    """Find the model's alignment `name`. Raises ModelError if it does not exist or cannot be used."""
    for alignment in info.alignments:
        if alignment.name == name and alignment.problem:
            raise ModelError(f"alignment {name} cannot be used: {alignment.problem}")
        if alignment.name == name:
            return alignment
    there = ", ".join(alignment.name for alignment in info.alignments) or "none; `genie align` makes them"
    raise ModelError(f"{info.name} has no alignment {name}; there are: {there}")


def _label_alignment(alignment: HostedAlignment | None) -> LabelAlignment | None:
    if alignment is None:
        return None
    return LabelAlignment(alignment.name, alignment.alignment_id, alignment.action_names)


__all__ = [
    "BadEpisodeError",
    "LabelPlan",
    "LabelReport",
    "count",
    "counted",
    "find_alignment",
    "finish",
    "label_dataset",
    "open_writer",
    "wanted_alignment",
]
