"""Tables of a suite's results, independent of output format (Markdown, HTML, terminal)."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass

from genie_core.evaluation.disturbances import DISTURBANCES
from genie_core.evaluation.metrics import Measured, Metric
from genie_core.evaluation.suite.bound import READERS
from genie_core.evaluation.suite.run import ONE, RIVALS, SetResult, SuiteResult
from genie_core.evaluation.suite.scoring import MANY_EPISODES, SUPERVISED

WAYS = {
    "code_linear": "code",
    "fine_code_linear": "fine code",
    "latent_linear": "latent",
    "latent_mlp": "latent, MLP",
    "feature_linear": "feature",
    "feature_mlp": "feature, MLP",
    "flow_8x8_summed_linear": "flow 8x8, summed",
    "flow_8x8_linear": "flow 8x8",
    "flow_8x8_mlp": "flow 8x8, MLP",
    "flow_4x4_linear": "flow 4x4",
    "flow_global_linear": "global flow",
    "frame_difference_linear": "frame difference",
    "frame_linear": "frame alone",
    "random_encoder_linear": "random encoder",
    "latent_shuffled": "shuffled",
    "supervised": "supervised",
}
"""Column headings of the methods, in display order."""

NONE = "–"


@dataclass(frozen=True)
class TableCell:
    """Text and, if it has one, its interval."""

    text: str
    interval: str = ""


@dataclass(frozen=True)
class Table:
    """A table with a sentence or two about it; the first column names the rows."""

    title: str
    note: str
    headings: Sequence[str]
    rows: Sequence[tuple[str, Sequence[TableCell]]]


def suite_tables(result: SuiteResult) -> list[Table]:
    """Return all tables that are not empty."""
    tables = [_errors(result), _means(result), _bounds(result), _lary(result), *_parts(result), _labels(result)]
    return [table for table in tables if table.rows]


def verdict(metric: Measured | None) -> TableCell:
    """Return whether the latents err less than a rival; ticked only if the whole interval is below zero."""
    if not isinstance(metric, Metric) or metric.ci95 is None:
        return TableCell(NONE)
    low, high = metric.ci95
    words = "✓ better" if high < 0 else "✗ worse" if low > 0 else "no difference shown"
    return TableCell(words, f"{metric.value:+.3f} ({low:+.3f} to {high:+.3f})")


def number(metric: Measured | None, digits: int = 2) -> TableCell:
    """Return a metric and its interval."""
    if not isinstance(metric, Metric):
        return TableCell(NONE)
    interval = "" if metric.ci95 is None else f"{metric.ci95[0]:.{digits}f} to {metric.ci95[1]:.{digits}f}"
    return TableCell(f"{metric.value:.{digits}f}", interval)


def _share(metric: Measured | None) -> TableCell:
    if not isinstance(metric, Metric):
        return TableCell(NONE)
    interval = "" if metric.ci95 is None else f"{metric.ci95[0]:.0%} to {metric.ci95[1]:.0%}"
    return TableCell(f"{metric.value:.0%}", interval)


def _errors(result: SuiteResult) -> Table:
    ways = _ways(result)
    rows = [
        (
            f"{s.entry.name} ({s.entry.role})",
            [
                *_of_ways(s.metrics, ways),
                *_verdicts(s.metrics),
                TableCell(f"{s.episodes}"),
                TableCell(f"{s.transitions}"),
            ],
        )
        for s in result.sets
        if s.errors
    ]
    return Table(
        "Error over variance, by set",
        "Squared error over variance of what the robot did, averaged over its numbers, on episodes that the probe has "
        "not seen: 0 is perfect, 1 is as good as always saying the mean. Linear probes unless said. The last columns "
        "compare the latents' linear probe with optical flow's, episode by episode.",
        (
            "set",
            *(WAYS[way] for way in ways),
            *(f"latent against {WAYS[rival]}" for rival in RIVALS),
            "episodes",
            "transitions",
        ),
        rows,
    )


def _means(result: SuiteResult) -> Table:
    ways = _ways(result)
    rows = [(name, [*_of_ways(of, ways), *_verdicts(of)]) for name, of in result.means.items()]
    return Table(
        "Means over sets",
        "The same, averaged over sets, each counting alike. The suite's one number is the mean over all sets of the "
        "latents' linear probe.",
        ("mean over", *(WAYS[way] for way in ways), *(f"latent against {WAYS[rival]}" for rival in RIVALS)),
        rows,
    )


def _bounds(result: SuiteResult) -> Table:
    return Table(
        "Beside supervised inverse dynamics",
        "Of a network trained on the truth, and of labels, on the episodes that the network was scored on: one fold of "
        f"sets of {MANY_EPISODES} episodes or more, else all. What it cannot read, labels are not to be blamed for.",
        (
            "set, mean",
            *(WAYS[way] for way in (SUPERVISED, *READERS)),
            f"{WAYS[ONE]} against {WAYS[SUPERVISED]}",
            "episodes",
        ),
        [
            (
                name,
                [
                    *_of_ways(of, (SUPERVISED, *READERS)),
                    verdict(of.get(f"{ONE}_minus_{SUPERVISED}")),
                    TableCell(str(bound.episodes) if isinstance(bound := of[SUPERVISED], Metric) else NONE),
                ],
            )
            for name, of in result.bounds.items()
        ],
    )


def _ways(result: SuiteResult) -> list[str]:
    """The methods that any set was scored by, in display order."""
    return [way for way in WAYS if any(way in s.metrics for s in result.sets)]


def _of_ways(metrics: Mapping[str, Measured], ways: Sequence[str]) -> list[TableCell]:
    return [number(metrics.get(way)) for way in ways]


def _verdicts(metrics: Mapping[str, Measured]) -> list[TableCell]:
    return [verdict(metrics.get(f"{ONE}_minus_{rival}")) for rival in RIVALS]


def _parts(result: SuiteResult) -> list[Table]:
    ways = _ways(result)
    kinds = dict.fromkeys(kind for s in result.sets for kind in s.parts)
    words = {"columns": "by part of the robot", "speed": "by speed", "motion": "by motion"}
    return [
        Table(
            f"Error over variance {words.get(kind, f'by {kind}')}",
            "The same probes, scored on some of the numbers or of the transitions alone; the variance is theirs too, "
            "so that slow transitions, which vary little, have larger errors.",
            ("set, part", *(WAYS[way] for way in ways)),
            [
                (f"{s.entry.name}, {name}", _of_ways(metrics, ways))
                for s in result.sets
                for name, metrics in s.parts.get(kind, {}).items()
            ],
        )
        for kind in kinds
    ]


def _lary(result: SuiteResult) -> Table:
    keys = list(dict.fromkeys(key for s in result.sets for key in s.metrics if key.startswith("lary_")))
    return Table(
        "LARY's probe",
        "Normalised mean squared error of LARY's network (arXiv 2604.11689), which reads all poses of the chunk that a "
        "transition spans (absolute), or how the last differs from the first (relative), each number of variance 1.",
        ("set", *(key.removeprefix("lary_").replace("_", " ") for key in keys)),
        [
            (s.entry.name, [number(s.metrics.get(key)) for key in keys])
            for s in result.sets
            if any(k in s.metrics for k in keys)
        ],
    )


def _labels(result: SuiteResult) -> Table:
    rows = []
    for s in result.sets:
        frozen = result.frozen[s.entry.name]
        cells = [
            _share(s.metrics["moving_share"]),
            _share(s.metrics["top_code_share_moving"]),
            number(s.metrics["code_perplexity_moving"], 1),
            *(_share(s.metrics.get(f"unchanged_{name}")) for name in DISTURBANCES),
            _share(s.metrics["code_chance_agreement"]),
            TableCell(f"{frozen['frozen_still_share']:.0%}"),
            TableCell(f"{frozen['frozen_norm']:.2f}"),
        ]
        rows.append((f"{s.entry.name} ({_length(s)})", cells))
    return Table(
        "Labels by themselves",
        "Transitions in which something moves (half a pixel of 64 in the fastest of 8 x 8 parts of the picture); of "
        "these, the share of the most frequent code and how many codes are effectively in use. Then labels that stay "
        "the same under what training never saw, beside what two labels drawn at random have in common; frames beside "
        f"themselves: the share with the code {result.still_code}, which such frames get most, and the length of their "
        "latents over the usual length.",
        ("set", "moving", "top code", "codes in use", *DISTURBANCES, "chance", "frozen: still", "frozen: length"),
        rows,
    )


def _length(s: SetResult) -> str:
    steps, rates = "/".join(map(str, s.steps)), "/".join(f"{rate:g}" for rate in s.fps)
    return f"step {steps}" + (f" at {rates} frames/s" if rates else "")


__all__ = ["NONE", "WAYS", "Table", "TableCell", "number", "suite_tables", "verdict"]
