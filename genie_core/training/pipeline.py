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
from numpy.typing import NDArray
from pydantic import BaseModel
from torch import Tensor, nn

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
from genie_core.models.config import ModelConfig
from genie_core.models.genie import Genie
from genie_core.models.motion_lam import MotionActionModel
from genie_core.models.patches import to_pixels
from genie_core.models.quantizer import VectorQuantizer
from genie_core.training.card import card_metrics, write_card
from genie_core.training.clips import ClipStore, build_store
from genie_core.training.codebook import number_as
from genie_core.training.config import TrainingConfig
from genie_core.training.loop import Reporter, Run, train_stage
from genie_core.training.losses import Metrics, augment, dynamics_loss, lam_loss, tokenizer_loss
from genie_core.training.motion import motion_loss, mover_loss, turned

Alone = Literal["tokenizer", "lam"]
"""Stages that need no other."""

_CODEBOOK_BATCHES, _MOTION_BATCHES = 40, 120
_RESTARTS = 64
"""Of k-means, which ends in other codes from other first centres."""
_TOKEN_CLIPS, _MOST_TOKENS = 128, 40_000
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
        init: bundle whose weights to start from; None: random ones.
        like: bundle as whose codes the new ones are numbered where they mean the same; None: as they come.
        rollouts: number of start frames of the rollouts behind the card's metrics.
        command: the command that started the job, for the card.

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

    """
    other = None if job.like is None else load_bundle(job.like, job.device)  # named before hours of training
    run, genie, stores = _begin(job, reporter, checkpoint_seconds, report_every)
    training = job.training
    _train_all(run, genie, stores, training)
    genie.eval()
    if other is not None:
        rng = np.random.default_rng([training.seed, 3])
        sampled = (stores.everything.sample(rng, _LIKE_BATCH, _LIKE_FRAMES) for _ in range(_LIKE_BATCHES))
        number_as(genie, other, sampled)
    folder = run.folder
    # Evaluate the weights as stored: they may be rounded.
    save_bundle(folder / "bundle", genie, "", half=job.half)
    bundle = load_bundle(folder / "bundle", job.device)
    reporter.start("figures", 0, len(stores.held_out))
    metrics = {title: card_metrics(bundle, store, job.rollouts) for title, store in stores.held_out.items()}
    card = write_card(job.command, job.model, training, _data_lines(stores), metrics, run.device)
    return save_bundle(job.out, genie, card, half=job.half)


def _train_all(run: Run, genie: Genie, stores: _Stores, training: TrainingConfig) -> None:
    if not genie.config.simulates:
        _train_lam(run, genie, stores.everything, training)
        _train_mover(run, genie, stores.everything, training)
        return
    _train_tokenizer(run, genie, stores.data, training)
    if training.lam_training.lead:
        _train_lam(run, genie, stores.everything, training)
        _train_dynamics(run, genie, stores.data, training)
    else:
        _train_jointly(run, genie, stores.data, training)


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
    run, genie, stores = _begin(job, reporter, checkpoint_seconds, report_every)
    if stage == "tokenizer":
        _train_tokenizer(run, genie, stores.data, job.training)
    else:
        _train_lam(run, genie, stores.everything, job.training)


def _begin(
    job: TrainingJob, reporter: Reporter, checkpoint_seconds: float, report_every: int
) -> tuple[Run, Genie, _Stores]:
    """Write the frames to disk and initialise the networks, the same in every run of the job."""
    device = torch_device(job.device)
    training = job.training
    if job.lam_data.train and not training.lam_training.lead:
        raise ModelError(
            "data for the latent action model alone needs a recipe that trains it alone (lam_training.lead)"
        )
    folder = job.out.with_name(job.out.name + ".run")
    stores = _stores(job, folder, reporter)
    run = Run(
        folder=folder,
        seed=training.seed,
        device=device,
        bf16=training.precision == "bf16",
        init="" if job.init is None else read_bundle_info(job.init).bundle_id,
        reporter=reporter,
        checkpoint_seconds=checkpoint_seconds,
        report_every=report_every,
    )
    torch.manual_seed(training.seed)
    genie = Genie(job.model)
    if job.init is not None:
        _take_weights(genie, load_bundle(job.init))
    return run, genie.to(device), stores


def _take_weights(genie: Genie, bundle: Bundle) -> None:
    """Load the weights of a bundle's networks. Raises ModelError if one is configured differently."""
    for component in bundle.config.components:
        ours, theirs = (getattr(c, component) for c in (genie.config, bundle.config))
        if ours != theirs:
            raise ModelError(f"--init {bundle.info.path}: {component}: got {theirs}, expected {ours}")
        getattr(genie, component).load_state_dict(getattr(bundle.genie, component).state_dict())
    for module in genie.modules():
        if isinstance(module, VectorQuantizer):
            module.settle()


def _stores(job: TrainingJob, folder: Path, reporter: Reporter) -> _Stores:
    size = job.model

    def build(episodes: Sequence[Episode], name: str) -> ClipStore:
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
    """Held-out episodes, grouped by file for the first few files."""
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
    """Lines of the card about the data, one per file and use."""
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


def _train_tokenizer(run: Run, genie: Genie, store: ClipStore, training: TrainingConfig) -> None:
    special = training.tokenizer_training

    def loss(pixels_BTCHW: Tensor, step: int) -> tuple[Tensor, Metrics]:
        if step and step == special.continuous_steps:
            _fit_tokens(run, genie, store, training)
        return tokenizer_loss(genie.tokenizer, pixels_BTCHW, special, step=step)

    depends_on = [genie.config.tokenizer, special]
    train_stage(run, "tokenizer", genie.tokenizer, loss, store, training.tokenizer, depends_on=depends_on)
    genie.tokenizer.eval()


@torch.no_grad()
def _fit_tokens(run: Run, genie: Genie, store: ClipStore, training: TrainingConfig) -> None:
    """Initialise the tokenizer's codes by k-means on latents of freshly drawn clips."""
    rng = np.random.default_rng([training.seed, 2])
    clips = torch.from_numpy(store.sample(rng, _TOKEN_CLIPS, training.tokenizer.clip_frames))
    latent_MD = genie.tokenizer.latents(to_pixels(clips.to(run.device))).flatten(0, 2).float()
    genie.tokenizer.quantizer.fit(latent_MD[torch.randperm(len(latent_MD))[:_MOST_TOKENS]])


def _train_lam(run: Run, genie: Genie, store: ClipStore, training: TrainingConfig) -> None:
    if isinstance(genie.lam, MotionActionModel):
        _train_motion(run, genie.lam, store, training)
        return
    lam = genie.lam

    def loss(pixels_BTCHW: Tensor, step: int) -> tuple[Tensor, Metrics]:
        if step and step == training.lam_training.continuous_steps:
            _fit_codebook(run, genie, store, training)
        return lam_loss(lam, genie.lam_view(pixels_BTCHW), training.lam_training, step=step)

    depends_on: list[BaseModel] = [genie.config.lam, training.lam_training]
    if not lam.from_pixels:
        depends_on += [genie.config.tokenizer, training.tokenizer, training.tokenizer_training]
    train_stage(run, "lam", lam, loss, store, training.lam, depends_on=depends_on)
    lam.eval()


@torch.no_grad()
def _fit_codebook(run: Run, genie: Genie, store: ClipStore, training: TrainingConfig) -> None:
    """Initialise the action codes by k-means on latents of freshly drawn clips."""
    found = []
    for i in range(_CODEBOOK_BATCHES):
        rng = np.random.default_rng([training.seed, 1, i])
        clips = torch.from_numpy(store.sample(rng, training.lam.batch, training.lam.clip_frames))
        view = genie.lam_view(to_pixels(clips.to(run.device)))
        seen = augment(view, training.lam_training.augment) if genie.lam.from_pixels else view
        found.append(genie.lam.latents(seen).flatten(0, 1).float())
    genie.lam.quantizer.fit(torch.cat(found))


def train_motion(run: Run, lam: MotionActionModel, store: ClipStore, training: TrainingConfig) -> None:
    """Train the latent action model that reads motion on pairs of frames; codes are left as they are."""
    special, batch = training.motion_training, training.lam.batch

    def loss(pixels_B2CHW: Tensor, _step: int) -> tuple[Tensor, Metrics]:
        pair_B2CHW = turned(pixels_B2CHW)
        return motion_loss(lam, lam.see(pair_B2CHW[:, 0], pair_B2CHW[:, 1]), special)

    def draw(rng: np.random.Generator) -> NDArray[np.uint8]:
        return store.sample_pairs(rng, batch, special.gap_s)

    train_stage(run, "lam", lam, loss, store, training.lam, depends_on=[lam.config, special], draw=draw)
    lam.eval()


def condense(lam: MotionActionModel, store: ClipStore, training: TrainingConfig) -> Tensor:
    """Make latents of the features of freshly drawn pairs, see `MotionActionModel.condense`; returns theirs, (N, D)."""
    torch.manual_seed(training.seed)
    device = next(lam.parameters()).device
    found = []
    with torch.no_grad():
        for i in range(_MOTION_BATCHES):
            rng = np.random.default_rng([training.seed, 1, i])
            pairs = torch.from_numpy(store.sample_pairs(rng, training.lam.batch, training.motion_training.gap_s))
            found.append(lam.features(turned(to_pixels(pairs.to(device)))).flatten(0, 2))
        feature_NF = torch.cat(found)
        lam.condense(feature_NF)
        return lam.latents_of(feature_NF)


def _train_motion(run: Run, lam: MotionActionModel, store: ClipStore, training: TrainingConfig) -> None:
    """Train on pairs of frames without codes; then make latents of features, and find codes by k-means."""
    train_motion(run, lam, store, training)
    latent_ND = condense(lam, store, training)
    for level in (lam.quantizer, lam.fine_quantizer):
        if level is not None:
            level.fit(latent_ND, restarts=_RESTARTS)


def _train_mover(run: Run, genie: Genie, store: ClipStore, training: TrainingConfig) -> None:
    mover, lam = genie.mover, genie.lam
    if mover is None or not isinstance(lam, MotionActionModel):
        return
    special, stage, gap_s = training.mover_training, training.mover, training.motion_training.gap_s
    train_stage(
        run,
        "mover",
        mover,
        lambda pixels_B2CHW, _step: mover_loss(mover, lam, turned(pixels_B2CHW), special),
        store,
        stage,
        depends_on=[genie.config, training.lam, training.motion_training, special],
        draw=lambda rng: store.sample_pairs(rng, stage.batch, gap_s),
    )
    mover.eval()


def _train_dynamics(run: Run, genie: Genie, store: ClipStore, training: TrainingConfig) -> None:
    def loss(pixels_BTCHW: Tensor, step: int) -> tuple[Tensor, Metrics]:
        token_BTN, action_BTD = _read(genie, pixels_BTCHW, genie.lam_view(pixels_BTCHW))
        return dynamics_loss(genie.dynamics, token_BTN, action_BTD, training.dynamics_training)

    train_stage(run, "dynamics", genie.dynamics, loss, store, training.dynamics, depends_on=[genie.config, training])
    genie.dynamics.eval()


@torch.no_grad()
def _read(genie: Genie, pixels_BTCHW: Tensor, view_BTCHW: Tensor) -> tuple[Tensor, Tensor]:
    """Tokens and quantized actions of clips in full precision, as at inference."""
    with torch.autocast(pixels_BTCHW.device.type, enabled=False):
        latent_BTD = genie.lam.latents(view_BTCHW)
        quantizer = genie.lam.quantizer
        return genie.tokenizer.encode(pixels_BTCHW), quantizer.lookup(quantizer.nearest(latent_BTD))


def _train_jointly(run: Run, genie: Genie, store: ClipStore, training: TrainingConfig) -> None:
    """The paper's second stage: both models see the same clips; the dynamics loss does not reach the latents."""
    if isinstance(genie.lam, MotionActionModel):
        raise ModelError("a model that reads motion is trained before the dynamics model: set lam_training.lead")
    lam = genie.lam
    both = nn.ModuleDict({"lam": lam, "dynamics": genie.dynamics})

    def loss(pixels_BTCHW: Tensor, step: int) -> tuple[Tensor, Metrics]:
        view = genie.lam_view(pixels_BTCHW)
        if step and step == training.lam_training.continuous_steps:
            _fit_codebook(run, genie, store, training)
        first, metrics = lam_loss(lam, view, training.lam_training, step=step)
        token_BTN, action_BTD = _read(genie, pixels_BTCHW, view)
        second, more = dynamics_loss(genie.dynamics, token_BTN, action_BTD, training.dynamics_training)
        merged = metrics | {"loss": first.detach() + second.detach(), "lam_loss": metrics["loss"]}
        return first + second, merged | {"cross_entropy": more["loss"], "accuracy": more["accuracy"]}

    train_stage(run, "lam_and_dynamics", both, loss, store, training.dynamics, depends_on=[genie.config, training])
    both.eval()


__all__ = ["Alone", "TrainingJob", "TrainingSplit", "condense", "train", "train_alone", "train_motion"]
