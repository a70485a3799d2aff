"""Writes the report of an alignment: error by number of labels, as JSON and Markdown."""

from __future__ import annotations

import json
import math
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import numpy as np

from genie_core.alignment.alignment import HeldOut
from genie_core.alignment.study import Score, Scores, nmse_interval
from genie_core.data.storage.atomic import write_text
from genie_core.statistics.metrics import error_over_variance, r2

WAYS = {
    "draw": "dictionary, drawn (the paper's)",
    "dictionary": "dictionary, mean",
    "linear": "linear on the latent",
    "observation_alone": "observation alone",
    "mlp": "network on latent and observation",
    "regressor": "regressor (saved)",
}
BACK = {"linear": "way back, linear in the action", "regressor": "way back (saved)"}
SUPERVISED = "supervised inverse dynamics, all labels"

TableRow = tuple[str, str, str, str]
"""Budget, way, error and its interval."""


@dataclass(frozen=True)
class AlignmentReport:
    """Results of an alignment study.

    Attributes:
        facts: what was fitted, and on which data; JSON's types.
        actions: names of the A components of an action.
        scores: by budget and by method.
        supervised: supervised inverse dynamics; None if it was left out.
        supervised_settled: whether its error had stopped falling, so that it is a bound.
        held_out: names of the episodes scored on.
        seed: seed of the bootstrap.
        way_back: of latents from actions, by budget and by method.

    """

    facts: Mapping[str, Any]
    actions: Sequence[str]
    scores: Scores
    supervised: Score | None
    held_out: Sequence[str]
    seed: int
    way_back: Scores = field(default_factory=dict)
    supervised_settled: bool = False

    def rows(self) -> list[TableRow]:
        """Return the rows of the main table: the error by budget and by method, then that of supervised training."""
        rows = [
            (f"{budget:,}", WAYS[way], *self._words(score))
            for budget, ways in self.scores.items()
            for way, score in ways.items()
        ]
        if self.supervised is None:
            return rows
        settled = SUPERVISED if self.supervised_settled else f"{SUPERVISED}; still falling, so no bound"
        return [*rows, ("all", settled, *self._words(self.supervised))]

    def rows_back(self) -> list[TableRow]:
        """Return the rows of the table of the way back: the error of latents by budget and by method."""
        return [
            (f"{budget:,}", BACK[way], *self._words(score))
            for budget, ways in self.way_back.items()
            for way, score in ways.items()
        ]

    def content(self) -> dict[str, Any]:
        """Return the contents of report.json. Undefined numbers are null."""
        budgets = [
            {"budget": budget, "ways": {way: self._details(score) for way, score in ways.items()}}
            for budget, ways in self.scores.items()
        ]
        bound = None if self.supervised is None else self._details(self.supervised)
        back = [
            {"budget": budget, "ways": {way: self._told(score) for way, score in ways.items()}}
            for budget, ways in self.way_back.items()
        ]
        return {
            **self.facts,
            "held_out": list(self.held_out),
            "budgets": budgets,
            "supervised": bound,
            "supervised_settled": None if bound is None else self.supervised_settled,
            "way_back": back,
        }

    def markdown(self) -> str:
        """Return the Markdown page: the main table, then each component of the action at the largest budget."""
        lines = [f"# Alignment of {self.facts['bundle']} to the actions of {self.facts['dataset']}", ""]
        lines += [f"- {key}: `{value}`" for key, value in self.facts.items()]
        lines += ["", *_table(("labels", "way", "error", "95% interval"), self.rows(), "rlrr")]
        lines += [
            "",
            "Error: squared error over variance, averaged over the components of the action that vary, on held-out "
            "episodes. 0 is perfect, 1 is no better than the mean. Intervals: bootstrap over episodes and draws.",
        ]
        if self.scores:
            lines += ["", *_table(*self._by_number())]
        if self.way_back:
            lines += ["", "The way back, from the robot's action to the latent; the error is that of the latent.", ""]
            lines += _table(("labels", "way", "error", "95% interval"), self.rows_back(), "rlrr")
        return "\n".join(lines) + "\n"

    def write(self, folder: Path) -> None:
        """Write report.json and report.md into `folder`, each whole or not at all."""
        folder.mkdir(parents=True, exist_ok=True)
        for name, text in (
            ("report.json", json.dumps(self.content(), indent=2, allow_nan=False) + "\n"),
            ("report.md", self.markdown()),
        ):
            write_text(folder / name, text)

    def _by_number(self) -> tuple[tuple[str, ...], list[tuple[str, ...]], str]:
        """R2 and error of each component of the action at the largest budget: headings, rows and column alignment."""
        ways = list(self.scores.values())[-1]
        shown = [("dictionary", ways["dictionary"]), ("regressor", ways["regressor"])]
        shown += [] if self.supervised is None else [("supervised", self.supervised)]
        spread = np.sqrt(_variance(ways["regressor"].pooled_4A))
        found = [held_out(score) for _, score in shown]
        rows = []
        for a, name in enumerate(self.actions):
            shares = ["-" if (share := of.r2[a]) is None else f"{share:.2f}" for of in found]
            rows.append((name, f"{spread[a]:.3g}", *shares, *(f"{of.rmse[a]:.3g}" for of in found)))
        names = [name for name, _ in shown]
        heads = ("action", "deviation", *(f"R2, {n}" for n in names), *(f"RMSE, {n}" for n in names))
        return heads, rows, "l" + "r" * (1 + 2 * len(names))

    def _words(self, score: Score) -> tuple[str, str]:
        found, interval = held_out(score).nmse, nmse_interval(score, np.random.default_rng(self.seed))
        if found is None:
            return "-", ""
        return f"{found:.3f}", "" if interval is None else f"{interval[0]:.3f} to {interval[1]:.3f}"

    def _details(self, score: Score) -> dict[str, Any]:
        found = held_out(score)
        numbers = [{"name": name, "r2": found.r2[a], "rmse": found.rmse[a]} for a, name in enumerate(self.actions)]
        return {**self._told(score), "actions": numbers}

    def _told(self, score: Score) -> dict[str, Any]:
        interval = nmse_interval(score, np.random.default_rng(self.seed))
        by_seed = [_number(float(n)) for n in error_over_variance(score.sums_SE4A.sum(axis=1))]
        finite = interval is not None and all(map(math.isfinite, interval))
        return {"nmse": held_out(score).nmse, "ci95": interval if finite else None, "by_draw": by_seed}


def held_out(score: Score) -> HeldOut:
    """Return errors as numbers, over all episodes, averaged over the draws."""
    sums_4A = score.pooled_4A
    by_seed_S = error_over_variance(score.sums_SE4A.sum(axis=1))
    share_A = r2(score.sums_SE4A.sum(axis=1)).mean(axis=0)
    return HeldOut(
        episodes=score.sums_SE4A.shape[1],
        transitions=int(sums_4A[0, 0]),
        nmse=_number(float(by_seed_S.mean())),
        r2=tuple(_number(float(share)) for share in share_A),
        rmse=tuple(np.sqrt(sums_4A[3] / sums_4A[0]).tolist()),
    )


def _number(value: float) -> float | None:
    return value if math.isfinite(value) else None


def _variance(sums_4A: np.ndarray[Any, np.dtype[np.float64]]) -> np.ndarray[Any, np.dtype[np.float64]]:
    count, total, squares = sums_4A[0], sums_4A[1], sums_4A[2]
    variance: np.ndarray[Any, np.dtype[np.float64]] = np.maximum(squares / count - np.square(total / count), 0)
    return variance


def _table(heads: Sequence[str], rows: Sequence[Sequence[str]], alignment: str) -> list[str]:
    """Return a Markdown table; `alignment` has an l or r per column."""
    rules = ["---" if side == "l" else "---:" for side in alignment]
    return ["| " + " | ".join(cells) + " |" for cells in (heads, rules, *rows)]


__all__ = ["AlignmentReport", "held_out"]
