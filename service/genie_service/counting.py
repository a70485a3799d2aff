"""Counts of what the server has done, kept at the cost of a few additions a call; `metrics` shows them.

Every label has few values: methods and status codes of the contract, causes by the name of a setting, models by folder.
"""

from __future__ import annotations

from collections import Counter
from dataclasses import dataclass, field
from functools import cache

import numpy as np
import prometheus_client as prometheus
from numpy.typing import NDArray

from genie_core.data.labelled.labels import Labels

_CALL_S = (0.005, 0.01, 0.025, 0.05, 0.1, 0.25, 0.5, 1.0, 2.5, 5.0, 10.0, 30.0, 60.0, 300.0)
"""Upper bounds of the histograms of time, seconds."""

_CONFIDENCE = (np.arange(1, 11) / 10).astype(np.float32)
"""Upper bounds of the histogram of confidences."""

PHASES = ("queue", "batch", "device", "transport")
"""Parts of an answer's time, as in `Timing`."""


class CallCounts:
    """Counts of calls: how many, how they ended, how long they and their phases took, and why some were refused.

    Attributes:
        refused: number of refused calls, by cause: the setting that limits, or why the server could not serve.

    """

    def __init__(self, registry: prometheus.CollectorRegistry) -> None:
        """Register what is counted with `registry`."""
        self.refused: Counter[str] = Counter()
        self._calls = prometheus.Counter(
            "genie_calls", "Calls that have ended, by method and status code.", ["method", "code"], registry=registry
        )
        self._open = prometheus.Gauge("genie_calls_open", "Calls in progress.", ["method"], registry=registry)
        self._seconds = prometheus.Histogram(
            "genie_call_seconds", "Duration of calls, from headers to status.", ["method"], registry=registry,
            buckets=_CALL_S,
        )  # fmt: skip
        self._frames = prometheus.Counter(
            "genie_frames", "Video frames received or made by calls that have ended.", ["method"], registry=registry
        )
        self._phases = prometheus.Histogram(
            "genie_phase_seconds",
            "Time of each answer by phase: waiting for a lane, for a batch to fill up, computing, and all else.",
            ["method", "phase"],
            registry=registry,
            buckets=_CALL_S,
        )
        # Looking a child up by its labels takes a lock and builds strings; methods are few.
        self._open_of = cache(self._open.labels)
        self._seconds_of = cache(self._seconds.labels)
        self._frames_of = cache(self._frames.labels)
        self._calls_of = cache(self._calls.labels)
        self._phases_of = cache(lambda method: [self._phases.labels(method, phase) for phase in PHASES])

    def began(self, method: str) -> None:
        """Count a call that begins; `method` is its full name."""
        self._open_of(_short(method)).inc()

    def ended(self, method: str, code: str, seconds: float, frames: int, refusal: str) -> None:
        """Count a call that has ended; `refusal` is the cause if it was refused, else empty."""
        name = _short(method)
        self._open_of(name).dec()
        self._calls_of(name, code).inc()
        self._seconds_of(name).observe(seconds)
        if frames:
            self._frames_of(name).inc(frames)
        if refusal:
            self.refused[refusal] += 1

    def answered(self, method: str, *phases_ms: float) -> None:
        """Count an answer by the milliseconds of its `PHASES`."""
        for child, milliseconds in zip(self._phases_of(_short(method)), phases_ms, strict=True):
            child.observe(milliseconds / 1000)


@dataclass
class LabelTotals:
    """Labels that one model has given, as signals of drift.

    Attributes:
        codes: (num_codes,) number of valid labels by code.
        confidence: (10,) number of valid labels by confidence, in tenths.
        confidence_sum: sum of their confidences.

    """

    codes: NDArray[np.int64]
    confidence: NDArray[np.int64] = field(default_factory=lambda: np.zeros(len(_CONFIDENCE), np.int64))
    confidence_sum: float = 0.0

    def confidence_buckets(self) -> list[tuple[str, float]]:
        """Return the cumulative histogram of confidences as Prometheus has it: upper bound, number."""
        cumulative = np.cumsum(self.confidence).tolist()
        bounds = [f"{bound:g}" for bound in _CONFIDENCE]
        return [*zip(bounds, cumulative, strict=True), ("+Inf", cumulative[-1])]


class LabelCounts:
    """Totals of labels by model. Used from one event loop; read from any thread."""

    def __init__(self) -> None:
        self.models: dict[str, LabelTotals] = {}

    def add(self, model: str, num_codes: int, labels: Labels) -> None:
        """Count the valid ones among `labels` that `model` has given."""
        totals = self.models.get(model)
        if totals is None or len(totals.codes) != num_codes:  # another bundle may have another number
            totals = self.models[model] = LabelTotals(np.zeros(num_codes, np.int64))
        confidence = labels.confidence[labels.valid]
        totals.codes += np.bincount(labels.code[labels.valid], minlength=num_codes)
        places = np.searchsorted(_CONFIDENCE, np.minimum(confidence, 1.0))
        totals.confidence += np.bincount(places, minlength=len(_CONFIDENCE))
        totals.confidence_sum += float(confidence.sum())


@dataclass(frozen=True)
class Counts:
    """What servicers count: their answers, and the labels in them."""

    calls: CallCounts
    labels: LabelCounts


@cache
def _short(method: str) -> str:
    """Return the last part of a method's full name; only methods that exist come here, so the cache is bounded."""
    return method.rpartition("/")[2]


__all__ = ["PHASES", "CallCounts", "Counts", "LabelCounts", "LabelTotals"]
