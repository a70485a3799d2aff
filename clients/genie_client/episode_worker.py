"""One of many processes that label episodes of one output: it holds the model, and answers what a pool asks.

What it is asked and what it answers can be pickled, errors included; who carries them is another module's matter.
"""

from __future__ import annotations

import functools
import platform
import threading
from collections.abc import Callable
from concurrent.futures import Future
from contextlib import ExitStack
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any, Concatenate, Literal, ParamSpec

from genie_client.bulk_run import BulkRun
from genie_client.client import Client
from genie_client.embedded import embedded_client
from genie_client.episode_reading import BadEpisodeError
from genie_client.errors import ServerEndedError, ServerUnavailableError
from genie_client.pool import WorkerLostError
from genie_client.records import HostedAlignment, ModelInfo, Timing
from genie_client.steps import ChosenSteps, StepChoice, choose_steps
from genie_core.data import Dataset, Existing, ReadOptions, SourcePath, Transport, open_dataset
from genie_core.data.dataset import fused_views
from genie_core.data.findings import Finding
from genie_core.data.labelled.part_writer import PartSettings, PartWriter
from genie_core.data.labelled.shards import names_sha256
from genie_core.data.storage.lock import Owner, check_owner
from genie_core.errors import DatasetError, GenieError, ModelError

_P = ParamSpec("_P")


@dataclass(frozen=True)
class DatasetSource:
    """How to open a dataset, so that other processes open the same.

    Attributes:
        path: file, folder or URL.
        options: how to read it: one camera's, or of several whose labels are to be fused one each.
        check: whether to look into every file when it is opened.

    """

    path: SourcePath | str
    options: tuple[ReadOptions, ...] = (ReadOptions(),)
    check: bool = True

    def open(self) -> Dataset:
        """Open it. Raises DatasetError."""
        views = [open_dataset(self.path, options=options, check=self.check) for options in self.options]
        return views[0] if len(views) == 1 else fused_views(views)


@dataclass(frozen=True)
class Job:
    """Everything a worker needs to label episodes of one output.

    Attributes:
        key: names the job among others.
        source: the dataset.
        names_sha256: of its episodes, see `names_sha256`.
        info: the model, as whoever runs the job has found it.
        alignment: what decodes the robot's actions; None: nothing.
        settings: with what all episodes are labelled.
        feature: see `LabelPlan`, as the following.
        transport: how frames are sent to the worker's own server.
        keep_frozen: whether to label frozen pictures.
        patience_s: how long to wait for a busy server.
        folder: where finished episodes are written.
        owner: who holds that folder for the job.

    """

    key: str
    source: DatasetSource
    names_sha256: str
    info: ModelInfo
    alignment: HostedAlignment | None
    settings: PartSettings
    feature: bool
    transport: Transport
    keep_frozen: bool
    patience_s: float
    folder: Path
    owner: Owner


@dataclass(frozen=True)
class Finished:
    """An episode is written. Its labels are in the file."""

    timing: Timing
    findings: tuple[Finding, ...]


@dataclass(frozen=True)
class Failure:
    """A `GenieError` on its way to another process."""

    kind: Literal["bad episode", "lost", "other"]
    message: str
    notes: tuple[str, ...] = ()

    @classmethod
    def of(cls, error: GenieError) -> Failure:
        """Return what is sent of an error."""
        bad, lost = isinstance(error, BadEpisodeError), isinstance(error, ServerEndedError | ServerUnavailableError)
        kind: Literal["bad episode", "lost", "other"] = "bad episode" if bad else "lost" if lost else "other"
        return cls(kind, str(error), tuple(getattr(error, "__notes__", ())))

    def raised(self) -> Exception:
        """Return the error to raise there. A worker that has lost its server is lost."""
        kinds: dict[str, type[Exception]] = {"bad episode": BadEpisodeError, "lost": WorkerLostError}
        error = kinds.get(self.kind, GenieError)(self.message)
        for note in self.notes:
            error.add_note(note)
        return error


def _told(
    method: Callable[Concatenate[EpisodeWorker, _P], Any],
) -> Callable[Concatenate[EpisodeWorker, _P], Any]:
    """Return errors meant for the user instead of raising them."""

    @functools.wraps(method)
    def tell(self: EpisodeWorker, /, *arguments: _P.args, **keywords: _P.kwargs) -> Any:
        try:
            return method(self, *arguments, **keywords)
        except GenieError as error:
            return Failure.of(error)

    return tell


def relayed(answer: Future[Any], lost: tuple[type[BaseException], ...]) -> Future[Any]:
    """Return the future of what `answer` brings, with a `Failure` as the error that it stands for.

    `lost`: errors that mean that the worker is gone.
    """
    outcome: Future[Any] = Future()

    def arrive(there: Future[Any]) -> None:
        try:
            value = there.result()
        except lost as error:
            outcome.set_exception(WorkerLostError(str(error).partition("\n")[0]))
        except BaseException as error:
            outcome.set_exception(error)
        else:
            if isinstance(value, Failure):
                outcome.set_exception(value.raised())
            else:
                outcome.set_result(value)

    answer.add_done_callback(arrive)
    return outcome


@dataclass
class EpisodeWorker:
    """Labels single episodes; thread-safe. Its server starts with the first thing it is asked.

    Attributes:
        models: folder of bundles, as on every machine, or a URL; None: those that ship with Genie.
        model: name of the model; None: the default one.
        device: torch device.
        threads: of the CPU; 0: torch's choice.

    """

    models: str | None = None
    model: str | None = None
    device: str = "cpu"
    threads: int = 0
    _held: ExitStack = field(default_factory=ExitStack)
    _client: Client | None = None
    _starting: threading.Lock = field(default_factory=threading.Lock)
    _runs: dict[str, tuple[Dataset, BulkRun]] = field(default_factory=dict)

    @_told
    def describe(self) -> ModelInfo:
        """Return the model that it holds."""
        return self._connected().model(self.model)

    @_told
    def steps(
        self,
        source: DatasetSource,
        wanted: StepChoice,
        alignment: HostedAlignment | None,
        output: Path,
        existing: Existing,
        patience_s: float,
    ) -> ChosenSteps:
        """Choose the transition lengths of a whole dataset, see `choose_steps`."""
        client = self._connected()
        info = client.model(self.model)
        return choose_steps(
            client, info, source.open(), wanted, alignment, output=output, existing=existing, patience_s=patience_s
        )

    @_told
    def label(self, job: Job, place: int) -> Finished:
        """Label episode number `place` of the job's dataset into the job's folder."""
        dataset, run = self._run(job)
        done = run.label(dataset.episodes[place])
        return Finished(done.timing, done.findings)

    def close(self) -> None:
        """End the server."""
        self._held.close()

    def _connected(self) -> Client:
        with self._starting:
            if self._client is None:
                self._client = self._held.enter_context(
                    embedded_client(self.models, self.model, device=self.device, threads=self.threads)
                )
            return self._client

    def _run(self, job: Job) -> tuple[Dataset, BulkRun]:
        client = self._connected()
        with self._starting:
            if job.key not in self._runs:
                self._runs = {job.key: self._begin(client, job)}  # one job at a time
            return self._runs[job.key]

    def _begin(self, client: Client, job: Job) -> tuple[Dataset, BulkRun]:
        """Open the job's dataset, and check that it and the model are those of the job."""
        here = platform.node()
        check_owner(job.folder, job.owner)
        info = client.model(self.model)
        if info.bundle_id != job.info.bundle_id:
            raise ModelError(
                f"{info.name}: got bundle {info.bundle_id[:12]} on {here}, expected {job.info.bundle_id[:12]}, "
                "as the other workers hold"
            )
        dataset = job.source.open()
        if names_sha256(dataset.episodes) != job.names_sha256:
            raise DatasetError(
                f"{job.source.path}: got other episodes on {here}, expected the same data at this path on all machines"
            )
        writer = PartWriter(job.folder, dataset, job.settings, lambda: check_owner(job.folder, job.owner))
        run = BulkRun(
            client,
            writer,
            job.info,
            job.alignment,
            density=job.settings.density,
            feature=job.feature,
            transport=job.transport,
            keep_frozen=job.keep_frozen,
            patience_s=job.patience_s,
            advance=lambda episodes: None,
            wait=lambda waiting: None,
        )
        return dataset, run


__all__ = ["DatasetSource", "EpisodeWorker", "Failure", "Finished", "Job", "relayed"]
