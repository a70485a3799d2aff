"""Feature statistics as LeRobot v3.0 keeps them: one set per episode, merged into one of the whole dataset.

Same definitions as ``lerobot.datasets.compute_stats`` 0.4: quantiles are computed per episode and merged as a weighted
mean; pictures are judged by a sample of frames, per channel, in [0, 1].
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any

import numpy as np
from numpy.typing import NDArray

from genie_core.data.frames.resize import Frames

Stats = dict[str, NDArray[Any]]
"""``min``, ``max``, ``mean``, ``std`` and the quantiles ``q01`` ... ``q99`` of a feature, and ``count``, (1,)."""

QUANTILES = {"q01": 0.01, "q10": 0.10, "q50": 0.50, "q90": 0.90, "q99": 0.99}

_FEWEST, _MOST = 100, 10_000
_WIDE, _TARGET = 300, 150
"""Frames wider or higher than the first are subsampled to about the second, in pixels."""


def number_stats(values: NDArray[Any]) -> Stats:
    """Compute statistics of (T,) or (T, D) numbers, T >= 1, over time: each (1,) or (D,), extremes in their dtype."""
    columns = values.reshape(len(values), -1).astype(np.float64)
    quantiles = np.quantile(columns, list(QUANTILES.values()), axis=0, method="inverted_cdf")
    return {
        "min": columns.min(0).astype(values.dtype),
        "max": columns.max(0).astype(values.dtype),
        "mean": columns.mean(0),
        "std": columns.std(0),
        "count": np.array([len(values)]),
        **dict(zip(QUANTILES, quantiles, strict=True)),
    }


@dataclass
class PictureStats:
    """Accumulates the statistics of an episode's frames in one pass, at constant memory.

    Attributes:
        num_frames: of the whole episode, >= 1.

    """

    num_frames: int
    _counts: NDArray[np.int64] = field(default_factory=lambda: np.zeros((3, 256), np.int64))
    _seen: int = 0

    def add(self, frames_THWC: Frames) -> None:
        """Add the next frames, (n, H, W, 3) uint8."""
        wanted = self._sampled - self._seen
        for index in wanted[(wanted >= 0) & (wanted < len(frames_THWC))].tolist():
            thin_HWC = _thin(frames_THWC[index])
            for channel in range(3):
                self._counts[channel] += np.bincount(thin_HWC[..., channel].ravel(), minlength=256)
        self._seen += len(frames_THWC)

    def stats(self) -> Stats:
        """Return the statistics of all sampled frames, each (3, 1, 1); ``count`` is the number of frames sampled."""
        levels = np.arange(256) / 255
        total = self._counts.sum(1, keepdims=True)
        mean = (self._counts * levels).sum(1, keepdims=True) / total
        variance = (self._counts * (levels - mean) ** 2).sum(1, keepdims=True) / total
        there, cumulated = self._counts > 0, np.cumsum(self._counts, axis=1)
        found = {
            "min": levels[there.argmax(1)],
            "max": levels[255 - there[:, ::-1].argmax(1)],
            "mean": mean,
            "std": np.sqrt(variance),
            **{key: levels[(cumulated >= share * total).argmax(1)] for key, share in QUANTILES.items()},
        }
        return {
            **{key: np.asarray(value, np.float64).reshape(3, 1, 1) for key, value in found.items()},
            "count": np.array([len(self._sampled)]),
        }

    @property
    def _sampled(self) -> NDArray[np.int64]:
        """Return which frames are sampled: evenly spread, and all of a short episode."""
        number = max(min(self.num_frames, _FEWEST), min(int(self.num_frames**0.75), _MOST))
        return np.round(np.linspace(0, self.num_frames - 1, number)).astype(np.int64)


def merge_stats(parts: Sequence[Mapping[str, Stats]]) -> dict[str, Stats]:
    """Merge the statistics of several episodes, at least one, all with the same features."""
    return {key: _merge([part[key] for part in parts]) for key in parts[0]}


def _merge(parts: list[Stats]) -> Stats:
    counts = np.concatenate([part["count"] for part in parts])
    weights = counts / counts.sum()

    def weighted(key: str) -> NDArray[Any]:
        mean: NDArray[Any] = np.tensordot(weights, np.stack([part[key] for part in parts]), axes=1)
        return mean

    mean = weighted("mean")
    variances = np.stack([part["std"] ** 2 + (part["mean"] - mean) ** 2 for part in parts])
    return {
        "min": np.min([part["min"] for part in parts], axis=0),
        "max": np.max([part["max"] for part in parts], axis=0),
        "mean": mean,
        "std": np.sqrt(np.tensordot(weights, variances, axes=1)),
        "count": np.array([counts.sum()]),
        **{key: weighted(key) for key in QUANTILES},
    }


def _thin(frame_HWC: NDArray[np.uint8]) -> NDArray[np.uint8]:
    height, width, _ = frame_HWC.shape
    if max(width, height) < _WIDE:
        return frame_HWC
    stride = max(1, max(width, height) // _TARGET)
    return frame_HWC[::stride, ::stride]


__all__ = ["QUANTILES", "PictureStats", "Stats", "merge_stats", "number_stats"]
