"""The rules of a check: from which value a measured number calls for care, from which labels should not be used.

Pure: no files, no networks. The limits were set on sets of real robots, see docs/check.md.
"""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Final, Literal

from pydantic import BaseModel, ConfigDict

from genie_core.evaluation.metrics import Measured, Metric

Verdict = Literal["fit", "fit with care", "do not use"]
Level = Literal["good", "care", "stop"]

DECISIVE = 2
"""Numbers that a verdict is explained by."""

_VERDICTS: Final[Mapping[Level, Verdict]] = {"good": "fit", "care": "fit with care", "stop": "do not use"}
_ORDER: Final[Mapping[Level, int]] = {"good": 0, "care": 1, "stop": 2}


@dataclass(frozen=True)
class Rule:
    """What one number should be.

    Attributes:
        about: what the number is, in words.
        care: value from which it calls for care.
        worst: value, on the other side of `care` from what is good, from which labels should not be used.
        next: what to do where it calls for care.
        stops: whether `worst` rules labels out; otherwise it only says how bad the number is beside others.
        best: a value as good as one could wish; it only says how good the number is beside others.

    """

    about: str
    care: float
    worst: float
    next: str
    stops: bool = True
    best: float = 0.0

    @property
    def from_care_on(self) -> str:
        """On which side of `care` values call for care, in words."""
        return "and above" if self.worst > self.care else "and below"

    def badness(self, value: float) -> float:
        """-1 at `best`, 0 at `care`, 1 at `worst`, and in proportion between and beyond."""
        beyond = (value - self.care) / (self.worst - self.care)
        return beyond if beyond >= 0 else (value - self.care) / (self.care - self.best)

    def level(self, value: float) -> Level:
        """Judge a value."""
        bad = self.badness(value)
        if bad >= 1 and self.stops:
            return "stop"
        return "care" if bad >= 0 else "good"


class Judged(BaseModel):
    """One number that was measured and judged.

    Attributes:
        name: name of the rule.
        about: what the number is, in words.
        value: the number.
        ci95: its 95% interval over episodes; None if there is none.
        level: how good it is.
        care: value from which it calls for care.
        stop: value from which labels should not be used; None: it rules nothing out by itself.
        badness: -1 for as good as one could wish, 0 at `care`, 1 for as bad as `stop` of other rules.
        next: what to do; empty where it is good.

    """

    model_config = ConfigDict(frozen=True)

    name: str
    about: str
    value: float
    ci95: tuple[float, float] | None
    level: Level
    care: float
    stop: float | None
    badness: float
    next: str


_RELABEL = "label again with the bundle that the file names, and see `genie verify`"
_ADAPT = "try `genie adapt` on this video, another --step, or another camera"

RULES: Final[Mapping[str, Rule]] = {
    "moving_transitions": Rule(
        "transitions with a label in which something moves",
        200,
        20,
        "label more video, or episodes that move",
        best=2000,
    ),
    "top_code_share_moving": Rule("share of the most frequent code among those", 0.6, 0.8, _ADAPT, best=0.2),
    "code_perplexity_moving": Rule("codes in effective use among those", 2.5, 1.3, _ADAPT, best=6),
    "code_agreement": Rule(
        "agreement of code and latent by the file's codebook: 0 chance, 1 always", 0.7, 0.3, _RELABEL, best=1
    ),
    "confidence_median": Rule(
        "median confidence of the codes",
        0.03,
        0,
        "use latents rather than codes: most lie between two",
        stops=False,
        best=0.3,
    ),
    "continuity": Rule(
        "correlation of a moving latent with the next",
        0.1,
        -0.1,
        "look at labels beside the video (`genie view`): motion that turns round at every frame is noise or jitter",
        stops=False,
        best=0.6,
    ),
    "static_share": Rule(
        "share of labelled transitions in which nothing moves",
        0.8,
        1,
        "use a longer --step, or leave static stretches out of training",
        stops=False,
        best=0,
    ),
    "excluded_share": Rule(
        "share of transitions without a label: blank, frozen or after a gap",
        0.3,
        1,
        "see `genie inspect`: which pictures are blank or frozen",
        stops=False,
        best=0,
    ),
    "cut_share": Rule(
        "share of transitions that lead across a cut of the video",
        0.01,
        0.2,
        "split the video at its cuts, or train on `latent_actions_keep` (--mask) alone",
        stops=False,
        best=0,
    ),
    "scene_told_by_latent": Rule(
        "how well the episode is told from the latent, trained on its first half and asked of its second: "
        "0 chance, 1 always",
        0.3,
        0.8,
        "latents know the scene: split training and test by scene, and see whether cameras differ between episodes",
        best=0,
    ),
    "relabelled_same": Rule(
        "share of codes that the bundle gives again from the pictures", 0.95, 0.7, _RELABEL, best=1
    ),
    "psnr_over_shuffled_db": Rule(
        "next frame drawn from its code rather than from another transition's, dB",
        0.02,
        0,
        "use latents rather than codes, or " + _ADAPT,
        stops=False,
        best=0.5,
    ),
    "psnr_over_copy_db": Rule(
        "next frame drawn from its code rather than copied from the last, dB", 0, -1, _ADAPT, stops=False, best=0.5
    ),
    "still_norm": Rule(
        "length of the latent of a frame beside itself, as a share of the usual", 0.1, 0.5, _ADAPT, best=0
    ),
    "still_same": Rule(
        "share of frames beside themselves that get one and the same code", 0.7, 0.3, _ADAPT, stops=False, best=1
    ),
    "unchanged_shift": Rule("share of codes that a shift of the picture leaves as they are", 0.6, 0.2, _ADAPT, best=1),
    "unchanged_brightness": Rule("share of codes that a change of light leaves as they are", 0.6, 0.2, _ADAPT, best=1),
    "reversal": Rule(
        "cosine of the latent with the negative of the one played backwards", 0.5, 0, _ADAPT, stops=False, best=1
    ),
    "additivity": Rule(
        "cosine of the latent over two steps with the sum of both",
        0.5,
        0,
        "motion within two steps is more than the model adds up: use a shorter --step",
        stops=False,
        best=1,
    ),
    "unusual_motion": Rule(
        "how far the median length of moving latents is from the model's training, doublings or halvings",
        2,
        4,
        "use --step auto, or `genie adapt` on this video",
        best=0,
    ),
    "flow_left": Rule(
        "share of the optical flow that latents leave untold: 0.45 in the model's training and in video like it",
        0.6,
        0.9,
        "motion is of another kind than the model's training: hold the labels against the video (`genie view`), and "
        + _ADAPT,
        stops=False,
        best=0.3,
    ),
    "probe_latent_minus_flow": Rule(
        "error of the latent's linear probe of the robot's actions, less that of optical flow of equal size",
        0.05,
        0.3,
        "optical flow tells these actions better: " + _ADAPT,
        best=-0.05,
    ),
}
"""The rules by name, in the order in which they are told."""


def judge(measured: Mapping[str, Measured]) -> list[Judged]:
    """Judge the numbers that could be measured and for which there is a rule, in the order of `RULES`."""
    judged = []
    for name, rule in RULES.items():
        metric = measured.get(name)
        if not isinstance(metric, Metric) or not math.isfinite(metric.value):
            continue
        level = rule.level(metric.value)
        judged.append(
            Judged(
                name=name,
                about=rule.about,
                value=metric.value,
                ci95=metric.ci95,
                level=level,
                care=rule.care,
                stop=rule.worst if rule.stops else None,
                badness=rule.badness(metric.value),
                next="" if level == "good" else rule.next,
            )
        )
    return judged


def verdict_of(judged: Sequence[Judged]) -> tuple[Verdict, list[Judged]]:
    """Return the verdict, that of the worst number, and the numbers that decided it: the `DECISIVE` worst, worst first.

    Where nothing is bad they are those that came nearest to it.
    """
    worst_first = sorted(judged, key=lambda j: (_ORDER[j.level], j.badness), reverse=True)
    return _VERDICTS[worst_first[0].level], worst_first[:DECISIVE]


__all__ = ["RULES", "Judged", "Level", "Rule", "Verdict", "judge", "verdict_of"]
