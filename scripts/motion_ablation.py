"""What each choice of the motion encoder's training is worth: runs of equal cost that differ in one, several seeds.

    python scripts/motion_ablation.py SOURCES.json FOLDER OUT [--suite zoo] [--episodes 10] [--steps 300] [--seeds 3]
        [--rows WORDS ...] [--by-set]

SOURCES.json is what `genie train --sources` takes, FOLDER where the suite's sets are. Every row and seed is trained on
as many pairs for as many steps; its 64 numbers, before they are condensed, are probed as `genie evaluate --suite` does.
Writes OUT/ablation.json after every run, and goes on from there; prints a table as Markdown.
"""

from __future__ import annotations

import argparse
import json
import sys
import zlib
from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass, replace
from pathlib import Path

import numpy as np
import torch
import torch.nn.functional as F
from torch import Tensor

from genie_cli.sources import listed_sources, split_episodes
from genie_core.data import Frames, ReadOptions, source_path
from genie_core.errors import GenieError
from genie_core.evaluation.metrics import Metric
from genie_core.evaluation.suite.config import Suite, read_suite
from genie_core.evaluation.suite.means import mean_over
from genie_core.evaluation.suite.rows import (
    EpisodeTransitions,
    Reading,
    choose_episodes,
    model_frames,
    read_rows,
    step_of,
)
from genie_core.evaluation.suite.scoring import Way, score
from genie_core.inference import Labeller
from genie_core.models.bundle import Bundle, load_bundle, save_bundle
from genie_core.models.config import WHOLE, ModelConfig, MotionActionConfig
from genie_core.models.genie import Genie
from genie_core.models.motion import Pairs
from genie_core.models.motion_lam import MotionActionModel
from genie_core.models.patches import to_pixels
from genie_core.models.presets import preset
from genie_core.models.warp import warp
from genie_core.statistics.metrics import Array
from genie_core.training.clips import ClipStore, build_store
from genie_core.training.config import MotionTraining, training_preset
from genie_core.training.loop import learning_rate
from genie_core.training.motion import disturbed, motion_loss, turned

BATCH, CODES = 16, 8
LATENT, FLOWS = Way("latent", "linear"), (Way("flow_8x8", "linear"), Way("flow_4x4", "linear"))
WAYS = (LATENT, *FLOWS)
SIMULATED, ONE_ROBOT = ("/sim/", "/train_"), ("/sim/panda_",)
"""What paths of simulated sources, and of those of one robot, have in them."""

Loss = Callable[[MotionActionModel, Pairs, MotionTraining], Tensor]


def as_shipped(lam: MotionActionModel, pairs: Pairs, training: MotionTraining) -> Tensor:
    """Return the loss of `genie train --preset motion`."""
    return motion_loss(lam, pairs, training)[0]


def next_picture(lam: MotionActionModel, pairs: Pairs, training: MotionTraining) -> Tensor:
    """Return the loss of the frame that the decoded flow moves against the next one, relative as the other losses."""
    flow = _decoded(lam, pairs, training)
    moved = warp(pairs.before_NCHW, -flow)
    change_N = (pairs.after_NCHW - pairs.before_NCHW).square().flatten(1).mean(1)
    return ((moved - pairs.after_NCHW).square().flatten(1).mean(1) / (change_N + 1e-3)).mean()


def not_relative(lam: MotionActionModel, pairs: Pairs, training: MotionTraining) -> Tensor:
    """Return the squared error of flow over the mean of the batch: large motions count for more."""
    flow = _decoded(lam, pairs, training)
    target = F.adaptive_avg_pool2d(pairs.there_NCHW, flow.shape[-1])
    return (flow - target).square().mean() / (target.square().mean() + training.still)


def _decoded(lam: MotionActionModel, pairs: Pairs, training: MotionTraining) -> Tensor:
    latent_ND = lam.latents_of(lam.features_of(disturbed(pairs, training)))[:, :-WHOLE]
    size_N1 = latent_ND.detach().square().mean(1, keepdim=True).sqrt()
    noise_ND = (training.noise * size_N1 + training.floor) * torch.randn_like(latent_ND)
    return lam.motion_decoder(pairs.before_NCHW, latent_ND + noise_ND)[0].float()


class Blind(MotionActionModel):
    """Sees frames and their change, and no flow."""

    def features_of(self, pairs: Pairs) -> Tensor:
        """As of the parent, of pairs without flow."""
        nothing = torch.zeros_like(pairs.there_NCHW)
        no_whole = torch.zeros(len(nothing), WHOLE)
        return super().features_of(replace(pairs, there_NCHW=nothing, back_NCHW=nothing, whole_N2=no_whole))


@dataclass(frozen=True)
class Row:
    """One choice undone: the loss, the sources (parts of their paths; none: all), the model, and whether it learns.

    `without`: parts of the names of sources that are left out of these.
    """

    title: str
    loss: Loss = as_shipped
    sources: tuple[str, ...] = ()
    model: type[MotionActionModel] = MotionActionModel
    learns: bool = True
    without: tuple[str, ...] = ()


ROWS = (
    Row("as shipped"),
    Row("no flow in: frames and their change alone", model=Blind),
    Row("target: the next picture, not flow", next_picture),
    Row("loss not relative to a pair's own motion", not_relative),
    Row("no real video", sources=SIMULATED),
    Row("one simulated robot", sources=ONE_ROBOT),
    Row("no Sawyer, no IIWA", without=("train_sawyer", "train_iiwa")),
    Row("not trained", learns=False),
)


@dataclass(frozen=True)
class ProbedSet:
    """A set of the suite: its name, transitions with their truth, and each episode's pairs of frames."""

    name: str
    rows: list[EpisodeTransitions]
    pairs: list[Pairs]


def probed_sets(suite: Suite, root: str, episodes: int, bundle: Bundle) -> Iterator[ProbedSet]:
    """Read every set that has a truth, as `genie evaluate --suite` does."""
    labeller, lam = Labeller(bundle), bundle.genie.lam
    assert isinstance(lam, MotionActionModel)
    reading = Reading(labeller, None, 0)
    for entry in suite.sets:
        if entry.target is None:
            continue
        chosen = choose_episodes(entry, source_path(root) / entry.path, 0, episodes)
        if len(chosen) < 4:
            continue
        pairs = []
        for episode in chosen:
            step = step_of(entry, episode)
            apart = step if entry.density == "dense" else 1
            frames = model_frames(labeller, entry, episode, 1 if entry.density == "dense" else step)
            pairs.append(lam.see(_pixels(frames[:-apart]), _pixels(frames[apart:])))
        print(f"{entry.name}: read", file=sys.stderr)
        yield ProbedSet(entry.name, read_rows(reading, entry, chosen, lambda *_: None), pairs)


def trained(row: Row, store: ClipStore, steps: int, seed: int) -> MotionActionModel:
    """Train an encoder as the row says."""
    model, training = preset("motion"), training_preset("motion")
    torch.manual_seed(seed)
    lam = row.model(_motion_config(model), model.height, model.width)
    kept = tuple(span for span in store.spans if not any(part in span.source for part in row.without))
    store = ClipStore(store.frames, kept)
    stage = training.lam.model_copy(update={"steps": max(1, steps), "warmup": min(50, steps)})
    optimizer = torch.optim.AdamW(lam.parameters(), lr=stage.lr, betas=stage.betas, weight_decay=stage.weight_decay)
    for step in range(steps if row.learns else 0):
        rng = np.random.default_rng([seed, step])
        torch.manual_seed(zlib.crc32(f"{seed} {step}".encode()))
        drawn = store.sample_apart(rng, BATCH, 2, training.motion_training.gap_s)
        pairs = lam.see(*turned(to_pixels(torch.from_numpy(drawn))).unbind(1))
        for group in optimizer.param_groups:
            group["lr"] = learning_rate(stage, step)
        with torch.autocast("cpu", torch.bfloat16):
            loss = row.loss(lam, pairs, training.motion_training)
        optimizer.zero_grad()
        loss.backward()  # type: ignore[no-untyped-call]
        torch.nn.utils.clip_grad_norm_(lam.parameters(), stage.clip_norm)
        optimizer.step()
    return lam.eval()


@torch.inference_mode()
def errors_of(lam: MotionActionModel, probed: Sequence[ProbedSet]) -> dict[str, dict[str, list[list[float]]]]:
    """Return the error over variance of linear probes, summed over each episode and counted, by set and way."""
    found = {}
    for of in probed:
        latents = [lam.latents_of(lam.features_of(pairs)).double().numpy() for pairs in of.pairs]
        rows = [replace(r, features={**r.features, "latent": z}) for r, z in zip(of.rows, latents, strict=True)]
        scores = score(rows, CODES, 0, lambda *_: None, WAYS)
        found[of.name] = {way.name: scores.errors_E2(way.name).tolist() for way in WAYS}
    return found


def table(runs: Mapping[str, Mapping[str, dict[str, dict[str, list[list[float]]]]]]) -> str:
    """Tabulate each row's mean over sets and seeds, its range over seeds, and its difference to the first row."""
    lines = ["| trained | error over variance | seeds | against as shipped |", "| -- | -: | -: | -: |"]
    first = _over_seeds(runs[ROWS[0].title])
    for title, seeds in runs.items():
        errors = _over_seeds(seeds)
        alone = [_mean(_over_seeds({seed: of})) for seed, of in seeds.items()]
        beside = [
            {"this": errors[name][LATENT.name], "shipped": first[name][LATENT.name]} for name in errors if name in first
        ]
        apart = mean_over(beside, "this", ["shipped"], 0)["this_minus_shipped"]
        assert isinstance(apart, Metric)
        assert apart.ci95 is not None
        against = "" if title == ROWS[0].title else f"{apart.value:+.3f} ({apart.ci95[0]:+.3f} to {apart.ci95[1]:+.3f})"
        lines.append(f"| {title} | {_mean(errors):.3f} | {min(alone):.3f} to {max(alone):.3f} | {against} |")
    for way in FLOWS:
        lines.append(f"| {way.features.replace('_', ' ')}, no encoder | {_mean(first, way.name):.3f} | | |")
    return "\n".join(lines)


def by_set(runs: Mapping[str, Mapping[str, dict[str, dict[str, list[list[float]]]]]]) -> str:
    """The errors of each row on each set, over all seeds, and what they are more than the first row's, as Markdown."""
    first, *others = runs
    errors = {title: _over_seeds(seeds) for title, seeds in runs.items()}
    head = [f"{title}, against as shipped" for title in others]
    lines = [f"| set | flow 8x8 | {first} | {' | '.join(head)} |", "| -- | -: | -: " + "| -: " * len(others) + "|"]
    for name, shipped in errors[first].items():
        words = [f"{_mean({name: shipped}, FLOWS[0].name):.3f}", f"{_mean({name: shipped}):.3f}"]
        for title in others:
            beside = {"this": errors[title][name][LATENT.name], "shipped": shipped[LATENT.name]}
            apart = mean_over([beside], "this", ["shipped"], 0)["this_minus_shipped"]
            assert isinstance(apart, Metric)
            assert apart.ci95 is not None
            error = _mean({name: errors[title][name]})
            words.append(f"{error:.3f}, {apart.value:+.3f} ({apart.ci95[0]:+.3f} to {apart.ci95[1]:+.3f})")
        lines.append(f"| {name} | {' | '.join(words)} |")
    return "\n".join(lines)


def _over_seeds(seeds: Mapping[str, dict[str, dict[str, list[list[float]]]]]) -> dict[str, dict[str, Array]]:
    """Return errors and counts of all seeds together, by set and way, (E, 2)."""
    runs = list(seeds.values())
    return {name: {way: np.sum([run[name][way] for run in runs], axis=0) for way in runs[0][name]} for name in runs[0]}


def _mean(errors: Mapping[str, Mapping[str, Array]], way: str = LATENT.name) -> float:
    sums = [of_set[way].sum(axis=0) for of_set in errors.values()]
    return float(np.mean([error / count for error, count in sums]))


def _motion_config(model: ModelConfig) -> MotionActionConfig:
    assert isinstance(model.lam, MotionActionConfig)
    return model.lam


def _pixels(frames_NHWC: Frames) -> Tensor:
    return to_pixels(torch.from_numpy(np.ascontiguousarray(frames_NHWC))[None])[0]


def _within(source: str, parts: Sequence[str]) -> bool:
    return not parts or any(part in source for part in parts)


def main() -> None:
    """Train and probe what is not there yet, and print the table."""
    parser = argparse.ArgumentParser(description=(__doc__ or "").splitlines()[0])
    parser.add_argument("sources", type=Path)
    parser.add_argument("folder")
    parser.add_argument("out", type=Path)
    parser.add_argument("--suite", default="zoo")
    parser.add_argument("--episodes", type=int, default=10, help="most episodes of a set")
    parser.add_argument("--steps", type=int, default=300)
    parser.add_argument("--seeds", type=int, default=3)
    parser.add_argument("--rows", nargs="+", help="words of the rows' titles to train beside the first; all without it")
    parser.add_argument("--by-set", action="store_true", help="print the rows' errors on every set too")
    arguments = parser.parse_args()
    torch.set_num_threads(1)
    try:
        _run(arguments)
    except GenieError as error:
        sys.exit(str(error))


def _run(arguments: argparse.Namespace) -> None:
    out: Path = arguments.out
    out.mkdir(parents=True, exist_ok=True)
    rows = [r for r in ROWS if arguments.rows is None or r is ROWS[0] or any(w in r.title for w in arguments.rows)]
    bundle = motion_bundle(out / "untrained")
    stores = stores_of(rows, listed_sources(arguments.sources, ReadOptions()), out, bundle)
    probed = list(probed_sets(read_suite(arguments.suite), arguments.folder, arguments.episodes, bundle))
    kept = out / "ablation.json"
    runs = json.loads(kept.read_text()) if kept.exists() else {}
    for seed in map(str, range(arguments.seeds)):
        for row in rows:
            if seed not in runs.setdefault(row.title, {}):
                lam = trained(row, stores[row.sources], arguments.steps, int(seed))
                runs[row.title][seed] = errors_of(lam, probed)
                kept.write_text(json.dumps(runs))
                print(f"{row.title}, seed {seed}: done", file=sys.stderr, flush=True)
        print(table(runs), flush=True)
        if arguments.by_set:
            print("\n" + by_set(runs), flush=True)


def motion_bundle(folder: Path) -> Bundle:
    """Return an untrained bundle of the preset, by which the suite reads frames."""
    torch.manual_seed(0)
    save_bundle(folder, Genie(preset("motion")), "")
    return load_bundle(folder)


def stores_of(
    rows: Sequence[Row], sources: Sequence[tuple[str, ReadOptions]], out: Path, bundle: Bundle
) -> dict[tuple[str, ...], ClipStore]:
    """Decode 95% of the episodes of each row's sources, those that `genie train --hold-out 0.05 --seed 0` takes."""
    found = {}
    for parts in {row.sources for row in rows}:
        episodes, _ = split_episodes([s for s in sources if _within(s[0], parts)], 0.05, 0)
        folder = out / ("frames_" + "_".join(parts or ("all",)).replace("/", ""))
        size = bundle.config
        found[parts] = build_store(episodes, folder, height=size.height, width=size.width, fps=size.fps)
    return found


if __name__ == "__main__":
    main()
