"""The server's metrics for Prometheus. What changes by itself is read when somebody asks; calls and labels are counted.

Clients appear as one of `CLIENT_CLASSES` classes that their name or connection is hashed into: no label grows with use.
"""

from __future__ import annotations

import hashlib
import time
from collections import Counter
from collections.abc import Iterable, Iterator, Mapping
from functools import lru_cache
from typing import Any

from prometheus_client import CollectorRegistry, ProcessCollector
from prometheus_client.core import CounterMetricFamily, GaugeMetricFamily, HistogramMetricFamily
from prometheus_client.metrics_core import Metric
from prometheus_client.registry import Collector

from genie_core import __version__
from genie_service.budget import Budget
from genie_service.counting import CallCounts, Counts, LabelCounts
from genie_service.engine import Engine, EngineStatistics
from genie_service.interceptors.admission import Admission
from genie_service.registry import ModelRegistry, State
from genie_service.shares import Shares

_Values = Mapping[Any, float]
"""Value by tuple of the labels' values."""

CLIENT_CLASSES = 8
"""Number of classes that clients are hashed into."""


class Metrics:
    """Everything that is counted, in one `CollectorRegistry`.

    Attributes:
        registry: what `exposition` serves.
        counts: counts of calls and labels.
        began: time at which the server began, seconds since the epoch.

    """

    def __init__(self) -> None:
        self.registry = CollectorRegistry()
        self.counts = Counts(CallCounts(self.registry), LabelCounts())
        self.began = time.time()
        ProcessCollector(registry=self.registry)

    def watch(self, engine: Engine, models: ModelRegistry, budget: Budget, admission: Admission, plays: Shares) -> None:
        """Also show the state of the server's parts, read whenever somebody asks."""
        self.registry.register(_State(self, engine, models, budget, admission, plays))


class _State(Collector):
    """Reads the server's parts, in the thread of whoever asks."""

    def __init__(
        self,
        metrics: Metrics,
        engine: Engine,
        models: ModelRegistry,
        budget: Budget,
        admission: Admission,
        plays: Shares,
    ) -> None:
        self._metrics, self._engine, self._models = metrics, engine, models
        self._budget, self._admission, self._plays = budget, admission, plays

    def describe(self) -> Iterable[Metric]:
        """Describe nothing: values are read on the first collection, when the server is complete."""
        return []

    def collect(self) -> Iterator[Metric]:
        """Yield every metric."""
        yield from self._server()
        yield from _engine(self._engine.statistics(), self._engine.waiting_by_client())
        yield from self._memory()
        yield from self._hosted()
        yield from self._labels()

    def _server(self) -> Iterator[Metric]:
        yield _gauge("genie_info", "Version of the server.", ["version"], {(__version__,): 1})
        yield _gauge("genie_start_time_seconds", "When the server began.", [], {(): self._metrics.began})
        ready = self._models.is_default_ready and not self._engine.broken and not self._admission.closed
        yield _gauge("genie_ready", "1 while the default model can be used.", [], {(): int(ready)})
        yield _gauge("genie_draining", "1 once the server takes no more calls.", [], {(): int(self._admission.closed)})
        places = self._admission.places
        yield _gauge("genie_calls_admitted", "Calls that hold a place.", [], {(): places.used})
        yield _gauge("genie_calls_waiting", "Calls that wait for a place.", [], {(): places.waiting})
        yield _gauge("genie_calls_limit", "Places for calls (max_calls).", [], {(): places.total})
        yield _gauge("genie_play_sessions", "Interactive simulations in progress.", [], {(): self._plays.used})
        yield _gauge("genie_play_sessions_limit", "Most of these (max_play_streams).", [], {(): self._plays.total})
        refused = {(cause,): number for cause, number in dict(self._metrics.counts.calls.refused).items()}
        yield _counter(
            "genie_refusals", "Calls refused, by the setting that limits, or by why they cannot be served.", ["cause"],
            refused,
        )  # fmt: skip

    def _memory(self) -> Iterator[Metric]:
        pools = {"messages": self._budget.messages, "work": self._budget.work}
        for name, text, values in (
            ("genie_memory_bytes", "Bytes that requests take.", {(p,): s.used for p, s in pools.items()}),
            ("genie_memory_budget_bytes", "Bytes that requests may take.", {(p,): s.total for p, s in pools.items()}),
            ("genie_memory_waiting", "Calls that wait for bytes.", {(p,): s.waiting for p, s in pools.items()}),
        ):
            yield _gauge(name, text, ["pool"], values)
        yield _gauge("genie_memory_limit_bytes", "Memory limit of the server.", [], {(): self._budget.limit})

    def _hosted(self) -> Iterator[Metric]:
        statuses = self._models.known()
        info = {
            (s.name, s.info.bundle_id, s.computation.precision, str(s.is_default).lower()): 1
            for s in statuses
            if s.info is not None
        }
        yield _gauge("genie_model_info", "Hosted models.", ["model", "bundle_id", "precision", "is_default"], info)
        states = {(s.name, state.value): int(s.state is state) for s in statuses for state in State}
        yield _gauge("genie_model_state", "1 for the state of each model.", ["model", "state"], states)

    def _labels(self) -> Iterator[Metric]:
        codes = CounterMetricFamily("genie_labels", "Valid labels, by model and code.", labels=["model", "code"])
        sure = HistogramMetricFamily("genie_label_confidence", "Confidence of valid labels.", labels=["model"])
        for model, totals in list(self._metrics.counts.labels.models.items()):
            for code, number in enumerate(totals.codes.tolist()):
                codes.add_metric([model, str(code)], number)
            sure.add_metric([model], totals.confidence_buckets(), totals.confidence_sum)
        yield codes
        yield sure


def _engine(found: EngineStatistics, waiting: dict[str, int]) -> Iterator[Metric]:
    yield _gauge("genie_lanes", "Batches that can run at once.", [], {(): found.lanes})
    yield _gauge("genie_lanes_busy", "Batches that run now.", [], {(): found.busy_lanes})
    queued = Counter({(str(number),): 0 for number in range(CLIENT_CLASSES)})
    for client, pieces in waiting.items():
        queued[(client_class(client),)] += pieces
    yield _gauge("genie_queue_pieces", "Pieces of work that wait, by class of client.", ["client_class"], queued)
    yield _counter("genie_pieces_dropped", "Pieces dropped because their caller had gone.", [], {(): found.dropped})
    for name, text, field in (
        ("genie_pieces", "Pieces of work done.", "pieces"),
        ("genie_batches", "Batches that they were done in.", "batches"),
        ("genie_batch_slots", "Pieces that these batches had room for.", "slots"),
        ("genie_device_seconds", "Time that lanes spent on them.", "device_s"),
    ):
        values: Counter[tuple[str, ...]] = Counter()
        for operation, done in found.operations.items():
            values[_model_and_work(operation)] += getattr(done, field)
        yield _counter(name, text, ["model", "work"], values)


def _model_and_work(operation: str) -> tuple[str, str]:
    """Split an operation's name; how many steps a frame is drawn in is the client's choice, and left out."""
    model, _, work = operation.rpartition("/")
    return model, work.partition("-")[0]


@lru_cache(maxsize=4096)
def client_class(client: str) -> str:
    """Return the class of a client, a number below `CLIENT_CLASSES`: the same one for the same name."""
    return str(hashlib.sha256(client.encode(errors="replace")).digest()[0] % CLIENT_CLASSES)


def _gauge(name: str, text: str, labels: list[str], values: _Values) -> GaugeMetricFamily:
    family = GaugeMetricFamily(name, text, labels=labels)
    for key, value in values.items():
        family.add_metric(list(key), value)
    return family


def _counter(name: str, text: str, labels: list[str], values: _Values) -> CounterMetricFamily:
    family = CounterMetricFamily(name, text, labels=labels)
    for key, value in values.items():
        family.add_metric(list(key), value)
    return family


__all__ = ["CLIENT_CLASSES", "Metrics", "client_class"]
