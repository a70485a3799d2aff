"""Trains a bundle in one call: frames to disk, tokenizer, latent action model, dynamics, bundle.

The paper's order: tokenizer first, then latent action model and dynamics together. With `lam_training.lead` the latent
action model is trained before the dynamics model and then frozen, which costs less and keeps its codes fixed.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Literal

import numpy as np
import torch
from pydantic import BaseModel

from genie_core.data import Episode
from genie_core.errors import ModelError
from genie_core.models.bundle import (
    Bundle,
    BundleInfo,
    load_bundle,
    read_bundle_info,
    save_bundle,
    torch_device,
)
from genie_core.models.config import Component, ModelConfig, MoverConfig
from genie_core.models.genie import Genie
from genie_core.models.motion_lam import MotionActionModel
from genie_core.models.quantizer import VectorQuantizer
from genie_core.models.transformer import compile_blocks, recompute_activations
from genie_core.training.card import card_metrics, write_card
from genie_core.training.clips import ClipStore, build_store, stream_store
from genie_core.training.codebook import number_as
from genie_core.training.config import TrainingConfig
from genie_core.training.loop import Reporter, TrainingRun
from genie_core.training.parallel import Group, process_group
from genie_core.training.stages import (
    train_dynamics,
    train_jointly,
    train_lam,
    train_mending,
    train_mover,
    train_refiner,
    train_tokenizer,
)

Alone = Literal["tokenizer", "lam"]
"""Stages that need no other."""

_MOST_DATA_LINES = 20
_MOST_SOURCES = 4


@dataclass(frozen=True)
class TrainingSplit:
    """Episodes to train on, and episodes held out for the card's metrics."""

    train: Sequence[Episode] = ()
    held_out: Sequence[Episode] = ()


_LIKE_BATCHES, _LIKE_BATCH, _LIKE_FRAMES = 40, 16, 4
"""Clips on which codes are matched with another bundle's."""


@dataclass(frozen=True)
class TrainingJob:
    """A training job.

    Attributes:
        model: configuration of the networks.
        training: the recipe.
        data: data for all networks.
        lam_data: more data for the latent action model alone: labels should hold for many looks, while rollouts of a
            small model are better with few.
        out: the bundle's folder.
        device: torch device.
        half: whether to store weights as float16.
        init: bundle whose weights to start from; None: random ones. Where tokens mend moved frames, its labels and its
            mover stay as they are, and only the tokens are trained.
        like: bundle as whose codes the new ones are numbered where they mean the same; None: as they come.
        rollouts: number of start frames of the rollouts behind the card's metrics.
        command: the command that started the job, for the card.
        recompute: whether the backward pass computes activations again instead of keeping them.
        compiled: whether the transformers' blocks are compiled: other bits, and faster on GPUs, after a minute.
        stream: whether frames are decoded whenever they are drawn, instead of once to disk; the result is the same.
        shard: whether the dynamics model is divided among the processes while it is trained, see `sharding`.

    """

    model: ModelConfig
    training: TrainingConfig
    data: TrainingSplit
    out: Path
    lam_data: TrainingSplit = TrainingSplit()
    device: str = "cpu"
    half: bool = False
    init: Path | None = None
    like: Path | None = None
    rollouts: int = 8
    command: str = ""
    recompute: bool = False
    compiled: bool = False
    stream: bool = False
    shard: bool = False


@dataclass(frozen=True)
class _Stores:
    """The frames of a job: all its data, and views of parts of it."""

    everything: ClipStore
    data: ClipStore
    held_out: dict[str, ClipStore]


def train(
    job: TrainingJob, reporter: Reporter, *, checkpoint_seconds: float = 120.0, report_every: int = 10
) -> BundleInfo:
    """Train a model and write its bundle, continuing an interrupted run from its last checkpoint.

    The run's folder `<out>.run` holds frames, checkpoints and logs; it may be deleted once the bundle is written.

    Args:
        job: the job.
        reporter: receives progress.
        checkpoint_seconds: time between checkpoints.
        report_every: steps between reports.

    Raises:
        DatasetError: the episodes cannot be trained on.
        ModelError: the device is missing, the loss diverges, or the run's folder belongs to another job.

    Processes that torchrun has started train together, in one folder that all of them see; see `parallel`.
    """
    other = None if job.like is None else load_bundle(job.like, job.device)  # named before hours of training
    with process_group(job.device) as group:
        run, genie, stores = _begin(job, reporter, checkpoint_seconds, report_every, group)
        _train_all(run, genie, stores, job)
        genie.eval()
        info = _finish(job, run, genie, stores, reporter, other) if group.is_first else None
        group.wait()
        return read_bundle_info(job.out) if info is None else info


def _finish(
    job: TrainingJob, run: TrainingRun, genie: Genie, stores: _Stores, reporter: Reporter, other: Bundle | None
) -> BundleInfo:
    """Number the codes as another bundle's, if one was named; evaluate what was trained, and write it with its card."""
    training = job.training
    if other is not None:
        rng = np.random.default_rng([training.seed, 3])
        sampled = (stores.everything.sample(rng, _LIKE_BATCH, _LIKE_FRAMES) for _ in range(_LIKE_BATCHES))
        number_as(genie, other, sampled)
    folder = run.folder
    # Evaluate the weights as stored: they may be rounded.
    save_bundle(folder / "bundle", genie, "", half=job.half)
    bundle = load_bundle(folder / "bundle", str(run.device))
    _use_threads(bundle.genie)
    reporter.start("figures", 0, len(stores.held_out))
    metrics = {title: card_metrics(bundle, store, job.rollouts) for title, store in stores.held_out.items()}
    card = write_card(job.command, job.model, training, _data_lines(stores), metrics, run.device)
    return save_bundle(job.out, genie, card, half=job.half)


def _train_all(run: TrainingRun, genie: Genie, stores: _Stores, job: TrainingJob) -> None:
    training = job.training
    if not genie.config.simulates:
        if not (genie.config.mends and job.init is not None):
            train_lam(run, genie, stores.everything, training)
            train_mover(run, genie, stores.everything, training)
            train_refiner(run, genie, stores.everything, training)
        if genie.config.mends:
            train_tokenizer(run, genie, stores.data, training)
            train_mending(run, genie, stores.data, training)
        return
    train_tokenizer(run, genie, stores.data, training)
    if training.lam_training.lead:
        train_lam(run, genie, stores.everything, training)
        train_dynamics(run, genie, stores.data, training)
    else:
        train_jointly(run, genie, stores.data, training)


def train_alone(
    job: TrainingJob,
    stage: Alone,
    reporter: Reporter,
    *,
    checkpoint_seconds: float = 120.0,
    report_every: int = 10,
) -> None:
    """Train one independent stage and leave its checkpoint where `train` looks for it.

    Two processes can thus train tokenizer and latent action model at the same time.

    Raises:
        DatasetError: as `train`.
        ModelError: as `train`; or this job does not train the stage alone.

    """
    from_pixels = job.model.lam.source == "pixels"
    if stage == "lam" and not (job.training.lam_training.lead and from_pixels):
        raise ModelError(
            "the latent action model is trained alone only where it reads pixels, by a recipe with lam_training.lead"
        )
    with process_group(job.device) as group:
        run, genie, stores = _begin(job, reporter, checkpoint_seconds, report_every, group)
        if stage == "tokenizer":
            train_tokenizer(run, genie, stores.data, job.training)
        else:
            train_lam(run, genie, stores.everything, job.training)


def _begin(
    job: TrainingJob, reporter: Reporter, checkpoint_seconds: float, report_every: int, group: Group
) -> tuple[TrainingRun, Genie, _Stores]:
    """Prepare the frames and initialise the networks, the same in every run of the job."""
    device = torch_device(group.device(job.device))
    reporter = reporter if group.is_first else _Silent()
    training = job.training
    if job.lam_data.train and not training.lam_training.lead:
        raise ModelError(
            "data for the latent action model alone needs a recipe that trains it alone (lam_training.lead)"
        )
    if job.shard and group.size == 1:
        raise ModelError("shard: got one process, expected several, as torchrun starts them")
    if job.shard and not job.model.simulates:
        raise ModelError(
            f"shard: got {job.model.name}, expected a model with a dynamics model, which is what is divided"
        )
    folder = job.out.with_name(job.out.name + ".run")
    stores = _stores(job, folder, reporter)
    run = TrainingRun(
        folder=folder,
        seed=training.seed,
        device=device,
        bf16=training.precision == "bf16",
        init="" if job.init is None else read_bundle_info(job.init).bundle_id,
        reporter=reporter,
        checkpoint_seconds=checkpoint_seconds,
        report_every=report_every,
        group=group,
        shard=job.shard,
    )
    torch.manual_seed(training.seed)
    genie = Genie(job.model)
    _use_threads(genie)
    recompute_activations(genie, job.recompute)
    if job.compiled:
        compile_blocks(genie)
    if job.init is not None:
        _take_weights(genie, load_bundle(job.init))
    return run, genie.to(device), stores


def _use_threads(genie: Genie) -> None:
    if isinstance(genie.lam, MotionActionModel):
        genie.lam.flow_threads = torch.get_num_threads()


class _Silent:
    """A reporter that reports nothing: only one of several processes reports."""

    def start(self, stage: str, step: int, steps: int) -> None:
        """Ignore it."""

    def step(self, stage: str, step: int, metrics: dict[str, float]) -> None:
        """Ignore it."""


def _take_weights(genie: Genie, bundle: Bundle) -> None:
    """Load the weights of a bundle's networks. Raises ModelError if one is configured differently."""
    for component in bundle.config.components:
        ours, theirs = (_network_config(c, component) for c in (genie.config, bundle.config))
        if ours != theirs:
            raise ModelError(f"--init {bundle.info.path}: {component}: got {theirs}, expected {ours}")
        getattr(genie, component).load_state_dict(getattr(bundle.genie, component).state_dict())
    for module in genie.modules():
        if isinstance(module, VectorQuantizer):
            module.settle()


def _network_config(config: ModelConfig, component: Component) -> BaseModel:
    """Return what a network is built from: a mover is the same one whether or not tokens mend its frames."""
    built: BaseModel = getattr(config, component)
    return built.model_copy(update={"mending": None}) if isinstance(built, MoverConfig) else built


def _stores(job: TrainingJob, folder: Path, reporter: Reporter) -> _Stores:
    size = job.model

    def build(episodes: Sequence[Episode], name: str) -> ClipStore:
        if job.stream:
            return stream_store(episodes, height=size.height, width=size.width, fps=size.fps)
        reporter.start(name, 0, sum(e.num_frames for e in episodes))
        return build_store(
            episodes,
            folder / name,
            height=size.height,
            width=size.width,
            fps=size.fps,
            progress=lambda frames: reporter.step(name, frames, {}),
        )

    everything = build([*job.lam_data.train, *job.data.train], "frames")
    data = ClipStore(everything.frames, everything.spans[len(job.lam_data.train) :])
    held_out = {}
    if not job.data.held_out:
        held_out["TRAINING episodes (none was held out)"] = data
    held_out |= _by_source(build(job.data.held_out, "held_out")) if job.data.held_out else {}
    if job.lam_data.held_out:
        held_out["held-out episodes of the latent action model's own data"] = build(
            job.lam_data.held_out, "lam_held_out"
        )
    return _Stores(everything, data, held_out)


def _by_source(store: ClipStore) -> dict[str, ClipStore]:
    """Return held-out episodes, grouped by file for the first few files."""
    sources = list(dict.fromkeys(span.source for span in store.spans))
    if not 1 < len(sources) <= _MOST_SOURCES:
        return {"held-out episodes": store}
    return {
        f"held-out episodes of `{source}`": ClipStore(
            store.frames, tuple(span for span in store.spans if span.source == source)
        )
        for source in sources
    }


def _data_lines(stores: _Stores) -> list[str]:
    """Return the lines of the card about the data, one per file and use."""
    own = ClipStore(stores.everything.frames, stores.everything.spans[: -len(stores.data.spans)])
    uses = {"all networks trained on": stores.data, "latent action model trained on besides": own, **stores.held_out}
    lines = []
    for use, store in uses.items():
        for source in dict.fromkeys(span.source for span in store.spans):
            spans = [span for span in store.spans if span.source == source]
            lines.append(f"- {use}: `{source}`, {len(spans)} episodes, {sum(s.count for s in spans):,} frames")
    return (
        lines
        if len(lines) <= _MOST_DATA_LINES
        else [*lines[:_MOST_DATA_LINES], f"- and {len(lines) - _MOST_DATA_LINES} files more"]
    )


__all__ = ["Alone", "TrainingJob", "TrainingSplit", "train", "train_alone"]
