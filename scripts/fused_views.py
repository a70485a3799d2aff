"""How well labels of several views predict the robot's motion: each view's, the fused ones', and both.

    python scripts/fused_views.py DATA_ROOT [--bundle BUNDLE] [--sets NAME ...]

DATA_ROOT is that of the suite `zoo`. For each of its sets with several cameras: error over variance of linear probes on
episodes that they have not seen, with 95% intervals over episodes, and what each way gains on the best single view,
paired by episode.
"""

from __future__ import annotations

import argparse
from collections.abc import Mapping, Sequence
from dataclasses import replace
from pathlib import Path

import numpy as np
from numpy.typing import NDArray

from genie_core.data.labelled.fusing import nearest
from genie_core.data.storage.location import source_path
from genie_core.evaluation.metrics import Metric, estimate, ratio
from genie_core.evaluation.suite.config import SuiteSet, read_suite
from genie_core.evaluation.suite.rows import EpisodeTransitions, Reading, choose_episodes, read_rows
from genie_core.evaluation.suite.scoring import Way, score
from genie_core.models.bundle import BundleInfo, load_bundle
from genie_core.statistics.metrics import Array

VIEWS: Mapping[str, tuple[str, ...]] = {
    "franka_lab": ("exterior_1", "exterior_2", "wrist"),
    "franka_droid": ("exterior_1", "exterior_2", "wrist"),
    "bridge_0": ("image_0", "image_1"),
    "xhand": ("front", "wrist"),
}
"""Sets of the suite, and the cameras that are fused."""

SEED = 0
FUSED = "mean of latents (fused)"


def main() -> None:
    """Print a table for each set."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("data_root")
    parser.add_argument("--bundle", type=Path, default=Path("genie_core/bundles/motion"))
    parser.add_argument("--sets", nargs="+", default=list(VIEWS), choices=list(VIEWS))
    arguments = parser.parse_args()
    bundle = load_bundle(arguments.bundle)
    reading = Reading.of(bundle, SEED, labels_alone=True)
    entries = {entry.name: entry for entry in read_suite("zoo").sets}
    for name in arguments.sets:
        views = {view: _rows(reading, entries[name], view, arguments.data_root) for view in VIEWS[name]}
        together = fused_rows(bundle.info, views)
        print(f"\n{name}: {len(together)} episodes, {sum(map(len, together))} transitions, {', '.join(views)}")
        for row in table(together, bundle.config.lam.quantizer.codes, tuple(views)):
            print(row, flush=True)


def _rows(reading: Reading, entry: SuiteSet, view: str, root: str) -> dict[str, EpisodeTransitions]:
    one = entry.model_copy(update={"camera": view})
    episodes = choose_episodes(one, source_path(root) / one.path, SEED, None)
    return {row.name: row for row in read_rows(reading, one, episodes, lambda done, total: None)}


def fused_rows(info: BundleInfo, views: Mapping[str, Mapping[str, EpisodeTransitions]]) -> list[EpisodeTransitions]:
    """Episodes that all views have, with features of each view, of their average, and of all side by side."""
    first = next(iter(views.values()))
    names = [name for name in first if all(name in rows for rows in views.values())]
    joined = []
    for name in names:
        each = {view: rows[name] for view, rows in views.items()}
        latents = [row.features["latent"] for row in each.values()]
        mean_SD = np.mean(latents, axis=0)
        code_S, _ = nearest(mean_SD.astype(np.float32), info.codebook, info.latent_radius)
        features: dict[str, Array] = {
            **{f"latent {view}": row.features["latent"] for view, row in each.items()},
            FUSED: mean_SD,
            "latents, side by side": np.concatenate(latents, axis=1),
            "mean of latents at unit length": np.mean([_at_unit_length(latent) for latent in latents], axis=0),
            "mean of latents, each turned its own way": np.mean(
                [latent @ turn for latent, turn in zip(latents, _turns(len(latents), mean_SD.shape[1]), strict=True)],
                axis=0,
            ),
            **{f"code {view}": _one_hot(row.code_S, info) for view, row in each.items()},
            "codes, side by side": np.concatenate([_one_hot(row.code_S, info) for row in each.values()], axis=1),
            "features, side by side": np.concatenate([row.features["feature"] for row in each.values()], axis=1),
            "flow 8x8, side by side": np.concatenate([row.features["flow_8x8"] for row in each.values()], axis=1),
        }
        joined.append(replace(first[name], code_S=code_S.astype(np.int64), features=features))
    return joined


def _at_unit_length(latent_SD: Array) -> Array:
    unit_SD: Array = latent_SD / np.maximum(np.linalg.norm(latent_SD, axis=1, keepdims=True), 1e-6)
    return unit_SD


def _turns(count: int, dim: int) -> list[Array]:
    """Random rotations: in a mean of turned latents, motions that look opposite in two views do not cancel."""
    rng = np.random.default_rng(SEED)
    return [np.linalg.qr(rng.normal(size=(dim, dim)))[0] for _ in range(count)]


def _one_hot(code_S: NDArray[np.int64], info: BundleInfo) -> Array:
    hot_SK: Array = np.eye(len(info.codebook))[code_S]
    return hot_SK


def table(rows: Sequence[EpisodeTransitions], codes: int, views: tuple[str, ...]) -> list[str]:
    """Return the lines of Markdown: each way's error over variance, and the difference to the best single view."""
    ways = [Way(name, "linear") for name in (*rows[0].features, "code")]
    scores = score(rows, codes, SEED, lambda done, total: None, ways)
    errors = {way.features: scores.errors_E2(way.name) for way in ways}
    errors["code of the mean (fused)"] = errors.pop("code")
    rng = np.random.default_rng(SEED)
    single = {view: errors[f"latent {view}"] for view in views}
    best = min(single, key=lambda view: float(ratio(single[view].sum(0, keepdims=True))[0]))
    lines = [f"| labels | error over variance | against {best}'s latent |", "| -- | -- | -- |"]
    for name, errors_E2 in errors.items():
        difference = "" if name == f"latent {best}" else _words(errors_E2 - single[best] * [1, 0], rng, "+")
        lines.append(f"| {name} | {_words(errors_E2, rng)} | {difference} |")
    return lines


def _words(errors_E2: Array, rng: np.random.Generator, sign: str = "") -> str:
    got = estimate(errors_E2, ratio, int(errors_E2[:, 1].sum()), rng)
    assert isinstance(got, Metric)
    low, high = got.ci95 or (got.value, got.value)
    return f"{got.value:{sign}.2f} ({low:{sign}.2f} to {high:{sign}.2f})"


if __name__ == "__main__":
    main()
