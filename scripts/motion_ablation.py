"""What each choice of the motion encoder's training is worth: runs of equal cost that differ in one, several seeds.

    python scripts/motion_ablation.py SOURCES.json FOLDER OUT [--suite zoo ...] [--episodes 10] [--steps 300]
        [--seeds 3] [--rows WORDS ...] [--sets NAMES ...] [--codes] [--by-set]

SOURCES.json is what `genie train --sources` takes, FOLDER where the suite's sets are. Every row and seed is trained on
as many pairs for as many steps; its 64 numbers, before they are condensed, are probed as `genie evaluate --suite` does,
and with `--codes` 8 codes fitted to them. Writes OUT/ablation.json after every run, and goes on from there; prints a
table as Markdown.
"""

from __future__ import annotations

import argparse
import json
import math
import sys
import zlib
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass, replace
from itertools import groupby
from pathlib import Path

import h5py
import numpy as np
import torch
import torch.nn.functional as F
from torch import Tensor

from genie_cli.sources import listed_sources, split_episodes
from genie_core.data import Episode, ReadOptions
from genie_core.errors import GenieError
from genie_core.evaluation.suite.config import read_suite
from genie_core.models.bundle import Bundle, load_bundle, save_bundle
from genie_core.models.config import WHOLE, ModelConfig, MotionActionConfig
from genie_core.models.genie import Genie
from genie_core.models.motion import Pairs
from genie_core.models.motion_lam import MotionActionModel
from genie_core.models.patches import to_pixels
from genie_core.models.presets import preset
from genie_core.models.quantizer import VectorQuantizer
from genie_core.models.warp import warp
from genie_core.sim.robots import ABOVE_TABLE_M
from genie_core.training.clips import ClipStore, build_store
from genie_core.training.config import MotionTraining, training_preset
from genie_core.training.loop import learning_rate
from genie_core.training.motion import disturbed, motion_loss, turned
from scripts.learnt_correlation import CorrelatingModel, taught_loss
from scripts.motion_probes import CODE, LATENT, ProbedSet, by_set, errors_of, probed_sets, table

BATCH = 16
CODEBOOKS, CODED_BATCHES = 4, 60
"""Codebooks that `--codes` fits, from other first centres, whose errors are added up; and batches that each sees."""
OTHER_BODIES = ("train_gr1", "train_baxter", "train_hand")
"""Parts of the names of simulated sources of two arms and of hands, which one row alone trains on."""
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


def taught(lam: MotionActionModel, pairs: Pairs, training: MotionTraining) -> Tensor:
    """Return the loss as shipped and that of the learnt flow beside the classical one."""
    loss = motion_loss(lam, pairs, training)[0]
    assert isinstance(lam, CorrelatingModel)
    assert lam.learnt is not None
    return loss + taught_loss(lam.learnt, pairs, training.still)


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

    `without`: parts of the names of sources that are left out of these, by default those of two arms and of hands;
    `farthest_m`: episodes whose file says that their camera was farther from the table are left out too.
    """

    title: str
    loss: Loss = as_shipped
    sources: tuple[str, ...] = ()
    model: type[MotionActionModel] = MotionActionModel
    learns: bool = True
    without: tuple[str, ...] = OTHER_BODIES
    farthest_m: float = math.inf


ROWS = (
    Row("as shipped"),
    Row("no flow in: frames and their change alone", model=Blind),
    Row("target: the next picture, not flow", next_picture),
    Row("loss not relative to a pair's own motion", not_relative),
    Row("no real video", sources=SIMULATED),
    Row("one simulated robot", sources=ONE_ROBOT),
    Row("no Sawyer, no IIWA", without=(*OTHER_BODIES, "train_sawyer", "train_iiwa")),
    Row("no camera beyond 1.5 m", farthest_m=1.5),
    Row("no camera beyond 1.1 m", farthest_m=1.1),
    Row(
        "two arms and hands in place of as many single arms", without=("train_sawyer_2", "train_iiwa_2", "train_jaco_2")
    ),
    Row("learnt correlation in place of flow", model=CorrelatingModel),
    Row("learnt correlation, taught flow", taught, model=CorrelatingModel),
    Row("not trained", learns=False),
)


@dataclass(frozen=True)
class Training:
    """Frames to train on, and how far each episode's camera was from the table, metres; nan: its file does not say."""

    store: ClipStore
    distances_m: tuple[float, ...]

    def of(self, row: Row) -> ClipStore:
        """Return what a row trains on."""
        kept = [
            span
            for span, distance_m in zip(self.store.spans, self.distances_m, strict=True)
            if not any(part in span.source for part in row.without) and not distance_m > row.farthest_m
        ]
        return ClipStore(self.store.frames, tuple(kept))


def camera_distances(episodes: Sequence[Episode]) -> Iterator[float]:
    """Return how far the camera of each simulated episode was from above the table's middle, metres; of others nan."""
    for source, of_file in groupby(episodes, lambda e: str(e.source)):
        if not h5py.is_hdf5(source):
            yield from (math.nan for _ in of_file)
            continue
        with h5py.File(source) as file:
            for episode in of_file:
                camera = file[f"data/{episode.name}"].attrs.get("camera")
                yield math.nan if camera is None else math.dist(json.loads(camera)["pos"], ABOVE_TABLE_M)


def trained(row: Row, store: ClipStore, steps: int, seed: int) -> MotionActionModel:
    """Train an encoder as the row says."""
    model, training = preset("motion"), training_preset("motion")
    torch.manual_seed(seed)
    lam = row.model(_motion_config(model), model.height, model.width)
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
def codebooks(lam: MotionActionModel, store: ClipStore, seed: int) -> list[VectorQuantizer]:
    """Fit codes to latents of fresh pairs by k-means, several times from other first centres."""
    gap_s, found = training_preset("motion").motion_training.gap_s, []
    for batch in range(CODED_BATCHES):
        drawn = store.sample_apart(np.random.default_rng([seed, 1, batch]), BATCH, 2, gap_s)
        torch.manual_seed(zlib.crc32(f"{seed} codes {batch}".encode()))
        found.append(lam.latents(turned(to_pixels(torch.from_numpy(drawn))))[:, 0])
    books = []
    for book in range(CODEBOOKS):
        torch.manual_seed(book)
        books.append(VectorQuantizer(lam.config.quantizer))
        books[-1].fit(torch.cat(found), restarts=8)
    return books


def _motion_config(model: ModelConfig) -> MotionActionConfig:
    assert isinstance(model.lam, MotionActionConfig)
    return model.lam


def _within(source: str, parts: Sequence[str]) -> bool:
    return not parts or any(part in source for part in parts)


def main() -> None:
    """Train and probe what is not there yet, and print the table."""
    parser = argparse.ArgumentParser(description=(__doc__ or "").splitlines()[0])
    parser.add_argument("sources", type=Path)
    parser.add_argument("folder")
    parser.add_argument("out", type=Path)
    parser.add_argument("--suite", nargs="+", default=["zoo"], help="suites, each of which has a mean of its own")
    parser.add_argument("--episodes", type=int, default=10, help="most episodes of a set")
    parser.add_argument("--steps", type=int, default=300)
    parser.add_argument("--seeds", type=int, default=3)
    parser.add_argument("--rows", nargs="+", help="words of the rows' titles to train beside the first; all without it")
    parser.add_argument("--sets", nargs="+", default=[], help="the suite's sets to probe; all without it")
    parser.add_argument(
        "--codes", action="store_true", help="probe 8 codes too, of codebooks from several first centres"
    )
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
    trainings = trainings_of(rows, listed_sources(arguments.sources, ReadOptions()), out, bundle)
    suites: dict[str, list[ProbedSet]] = {}
    for name in arguments.suite:
        suite = read_suite(name)
        suites[suite.name] = list(probed_sets(suite, arguments.folder, arguments.episodes, bundle, arguments.sets))
    probed = [of for sets in suites.values() for of in sets]
    kept = out / "ablation.json"
    runs = json.loads(kept.read_text()) if kept.exists() else {}
    for seed in map(str, range(arguments.seeds)):
        for row in rows:
            if seed not in runs.setdefault(row.title, {}):
                store = trainings[row.sources].of(row)
                lam = trained(row, store, arguments.steps, int(seed))
                books = codebooks(lam, store, int(seed)) if arguments.codes else ()
                runs[row.title][seed] = errors_of(lam, probed, books)
                kept.write_text(json.dumps(runs))
                print(f"{row.title}, seed {seed}: done", file=sys.stderr, flush=True)
        for way in (LATENT, CODE) if arguments.codes else (LATENT,):
            for name, sets in suites.items():
                print(f"\n{name}, {way.features}\n\n{table(runs, {of.name for of in sets}, way.name)}", flush=True)
            if arguments.by_set:
                print("\n" + by_set(runs, way.name), flush=True)


def motion_bundle(folder: Path) -> Bundle:
    """Return an untrained bundle of the preset, by which the suite reads frames."""
    torch.manual_seed(0)
    save_bundle(folder, Genie(preset("motion")), "")
    return load_bundle(folder)


def trainings_of(
    rows: Sequence[Row], sources: Sequence[tuple[str, ReadOptions]], out: Path, bundle: Bundle
) -> dict[tuple[str, ...], Training]:
    """Decode 95% of the episodes of each row's sources, those that `genie train --hold-out 0.05 --seed 0` takes."""
    found = {}
    for parts in {row.sources for row in rows}:
        episodes, _ = split_episodes([s for s in sources if _within(s[0], parts)], 0.05, 0)
        folder = out / ("frames_" + "_".join(parts or ("all",)).replace("/", ""))
        size = bundle.config
        store = build_store(episodes, folder, height=size.height, width=size.width, fps=size.fps)
        found[parts] = Training(store, tuple(camera_distances(episodes)))
    return found


if __name__ == "__main__":
    main()
