"""Report of a run of `bulk`: counts, times, and oddities of the data and the labels."""

from __future__ import annotations

from collections import Counter
from dataclasses import dataclass, field
from pathlib import Path

import numpy as np
from numpy.typing import NDArray

from genie_client.records import HostedAlignment, ModelInfo, Timing
from genie_core.data import AutoSteps, Labels, Step
from genie_core.data.findings import Finding, told
from genie_core.data.labelled.exclusion import REASONS

_NEARLY_ALL = 0.9
"""Share of one code from which on labels say little."""

_ENOUGH = 20
"""Fewest transitions of which that is said."""


@dataclass
class LabelReport:
    """Report of a run, filled in as it progresses.

    Attributes:
        model: the model.
        output: the file.
        episodes: number of episodes in the dataset.
        found: how many of them an earlier run finished.
        labelled: how many of them this run finished.
        frames: frames labelled by this run.
        transitions: valid labels of this run.
        histogram: (codes,) int64, count of each code in this run.
        fine_histogram: (fine codes,) int64, count of each fine code in this run; None of a model without any.
        confidence_sum: (codes,) float64, sum of the confidences of each code.
        steps: transition lengths used by this run, with the effective frame rate of each.
        skipped: name and reason of each skipped episode.
        findings: name of an episode, and what is odd about its pictures or times.
        excluded: transitions without a label for what their pictures or times show, by reason.
        timing: the server's times, summed over the episodes of this run.
        seconds: wall time of this run.
        alignment: the alignment that decoded the robot's actions; None: none.
        auto_steps: transition lengths that were found on the data; None: none were looked for.
        also: warnings that are not of the data, a sentence each.
        was_complete: whether the output was there, and just what this run would have made; `skipped` are not in it.

    """

    model: ModelInfo
    output: Path
    episodes: int
    found: int
    labelled: int = 0
    frames: int = 0
    transitions: int = 0
    histogram: NDArray[np.int64] = field(init=False)
    fine_histogram: NDArray[np.int64] | None = field(init=False, default=None)
    confidence_sum: NDArray[np.float64] = field(init=False)
    steps: set[Step] = field(default_factory=set)
    skipped: list[tuple[str, str]] = field(default_factory=list)
    findings: list[tuple[str, Finding]] = field(default_factory=list)
    excluded: Counter[str] = field(default_factory=Counter)
    timing: Timing = field(default_factory=Timing)
    seconds: float = 0.0
    alignment: HostedAlignment | None = None
    auto_steps: AutoSteps | None = None
    also: list[str] = field(default_factory=list)
    was_complete: bool = False

    @property
    def confidence(self) -> NDArray[np.float64]:
        """Mean confidence of each code, (codes,); 0 for unused ones."""
        return self.confidence_sum / np.maximum(self.histogram, 1)

    def __post_init__(self) -> None:
        self.histogram = np.zeros(self.model.num_codes, np.int64)
        self.confidence_sum = np.zeros(self.model.num_codes)
        if self.model.num_fine_codes:
            self.fine_histogram = np.zeros(self.model.num_fine_codes, np.int64)

    def add(self, labels: Labels, step: Step, timing: Timing) -> None:
        """Count one more episode."""
        self.timing += timing
        codes, confidence = labels.code[labels.valid], labels.confidence[labels.valid]
        self.labelled += 1
        self.frames += len(labels)
        self.transitions += int(labels.valid.sum())
        self.histogram += np.bincount(codes, minlength=self.model.num_codes)
        self.confidence_sum += np.bincount(codes, confidence, minlength=self.model.num_codes)
        if self.fine_histogram is not None and labels.fine_code is not None:
            self.fine_histogram += np.bincount(labels.fine_code[labels.valid], minlength=len(self.fine_histogram))
        self.steps.add(step)
        if labels.reason is not None:
            self.excluded.update({REASONS[code]: int((labels.reason == code).sum()) for code in REASONS})

    @property
    def notes(self) -> tuple[str, ...]:
        """Facts in the files that reading acted on, a sentence each."""
        return tuple(told((found for found in self.findings if found[1].is_note), self.episodes))

    @property
    def warnings(self) -> tuple[str, ...]:
        """Oddities of the data and these labels, a sentence each."""
        said = list(told((found for found in self.findings if not found[1].is_note), self.episodes))
        counts = {reason: count for reason, count in self.excluded.items() if count}
        if counts:
            words = ", ".join(f"{count:,} {reason}" for reason, count in counts.items())
            said.append(f"transitions that got no label (valid is false, reason says why): {words}")
        most = int(self.histogram.argmax())
        if self.transitions >= _ENOUGH and self.histogram[most] > _NEARLY_ALL * self.transitions:
            share = self.histogram[most] / self.transitions
            said.append(
                f"nearly all is one code: {share:.0%} of the transitions have code {most}: motions are smaller than, "
                "or unlike, those of the training: try --step N, or adapt the model"
            )
        return (*said, *self.also)


__all__ = ["LabelReport"]
