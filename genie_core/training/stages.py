"""The stages of training: each prepares what its steps need, and says what they minimise; `loop` takes the steps."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager

import numpy as np
import torch
from numpy.typing import NDArray
from pydantic import BaseModel
from torch import Tensor, nn

from genie_core.errors import ModelError
from genie_core.models.genie import Genie
from genie_core.models.motion_lam import MotionActionModel
from genie_core.models.mover import FrameMover
from genie_core.models.patches import to_pixels
from genie_core.training.clips import ClipStore
from genie_core.training.config import TrainingConfig
from genie_core.training.labelled_clips import LabelledClips, kept_latents
from genie_core.training.loop import TrainingRun, train_stage
from genie_core.training.losses import Metrics, augment, dynamics_loss, lam_loss, tokenizer_loss
from genie_core.training.mending import mending_loss, with_prompt
from genie_core.training.motion import fit_places, motion_loss, mover_loss, refiner_loss, turned
from genie_core.training.recorded import RecordedLoss
from genie_core.training.sharding import divided

_CODEBOOK_BATCHES, _MOTION_BATCHES = 40, 120
_TOKEN_CLIPS, _MOST_TOKENS = 128, 40_000


def train_tokenizer(run: TrainingRun, genie: Genie, store: ClipStore, training: TrainingConfig) -> None:
    """Train the tokenizer; one that mends moved frames on all sources alike, mirrored and reversed."""
    special, stage, gap_s = training.tokenizer_training, training.tokenizer, training.motion_training.gap_s
    mends = genie.config.mends

    def prepare(step: int) -> None:
        if step and step == special.continuous_steps:
            _fit_tokens(run, genie, store, training)

    train_stage(
        run,
        "tokenizer",
        genie.tokenizer,
        lambda pixels_BTCHW, step: tokenizer_loss(
            genie.tokenizer, turned(pixels_BTCHW) if mends else pixels_BTCHW, special, step=step
        ),
        store,
        stage,
        depends_on=[genie.config.tokenizer, special],
        prepare=prepare,
        draw=(lambda rng: store.sample_apart(rng, stage.batch, stage.clip_frames, gap_s)) if mends else None,
    )
    genie.tokenizer.eval()


@torch.no_grad()
def _fit_tokens(run: TrainingRun, genie: Genie, store: ClipStore, training: TrainingConfig) -> None:
    """Initialise the tokenizer's codes by k-means on latents of freshly drawn clips."""
    rng = np.random.default_rng([training.seed, 2])
    clips = torch.from_numpy(store.sample(rng, _TOKEN_CLIPS, training.tokenizer.clip_frames))
    latent_MD = genie.tokenizer.latents(to_pixels(clips.to(run.device))).flatten(0, 2).float()
    genie.tokenizer.quantizer.fit(latent_MD[torch.randperm(len(latent_MD))[:_MOST_TOKENS]])


def train_lam(run: TrainingRun, genie: Genie, store: ClipStore, training: TrainingConfig) -> None:
    """Train the latent action model before the dynamics model, whichever kind it is."""
    if isinstance(genie.lam, MotionActionModel):
        _train_motion(run, genie.lam, store, training)
        return
    lam = genie.lam

    def prepare(step: int) -> None:
        if step and step == training.lam_training.continuous_steps:
            _fit_codebook(run, genie, store, training)

    def loss(pixels_BTCHW: Tensor, step: int) -> tuple[Tensor, Metrics]:
        return lam_loss(lam, genie.lam_view(pixels_BTCHW), training.lam_training, step=step)

    depends_on: list[BaseModel] = [genie.config.lam, training.lam_training]
    if not lam.from_pixels:
        depends_on += [genie.config.tokenizer, training.tokenizer, training.tokenizer_training]
    train_stage(run, "lam", lam, loss, store, training.lam, depends_on=depends_on, prepare=prepare)
    lam.eval()


@torch.no_grad()
def _fit_codebook(run: TrainingRun, genie: Genie, store: ClipStore, training: TrainingConfig) -> None:
    """Initialise the action codes by k-means on latents of freshly drawn clips."""
    found = []
    for i in range(_CODEBOOK_BATCHES):
        rng = np.random.default_rng([training.seed, 1, i])
        clips = torch.from_numpy(store.sample(rng, training.lam.batch, training.lam.clip_frames))
        view = genie.lam_view(to_pixels(clips.to(run.device)))
        seen = augment(view, training.lam_training.augment) if genie.lam.from_pixels else view
        found.append(genie.lam.latents(seen).flatten(0, 1).float())
    genie.lam.quantizer.fit(torch.cat(found))


def train_motion(run: TrainingRun, lam: MotionActionModel, store: ClipStore, training: TrainingConfig) -> None:
    """Train the latent action model that reads motion on pairs of frames; codes are left as they are."""
    special, batch = training.motion_training, training.lam.batch

    def loss(pixels_B2CHW: Tensor, _step: int) -> tuple[Tensor, Metrics]:
        pair_B2CHW = turned(pixels_B2CHW)
        return motion_loss(lam, lam.see(pair_B2CHW[:, 0], pair_B2CHW[:, 1]), special)

    def draw(rng: np.random.Generator) -> NDArray[np.uint8]:
        return store.sample_apart(rng, batch, 2, special.gap_s)

    train_stage(run, "lam", lam, loss, store, training.lam, depends_on=[lam.config, special], draw=draw)
    lam.eval()


def condense(lam: MotionActionModel, store: ClipStore, training: TrainingConfig) -> Tensor:
    """Turn features of freshly drawn pairs into latents, see `MotionActionModel.condense`; returns them, (N, D)."""
    torch.manual_seed(training.seed)
    device = next(lam.parameters()).device
    found = []
    with torch.no_grad():
        for i in range(_MOTION_BATCHES):
            rng = np.random.default_rng([training.seed, 1, i])
            pairs = torch.from_numpy(store.sample_apart(rng, training.lam.batch, 2, training.motion_training.gap_s))
            found.append(lam.features(turned(to_pixels(pairs.to(device)))).flatten(0, 2))
        feature_NF = torch.cat(found)
        lam.condense(feature_NF)
        return lam.latents_of(feature_NF)


@torch.no_grad()
def summed_latents(lam: MotionActionModel, store: ClipStore, training: TrainingConfig) -> Tensor:
    """Return the latents (N, D) of freshly drawn transitions as video is labelled: sums of those from frame to frame.

    They are longer than those of their outer frames, and of fewer directions: codes that are fitted to them fit labels.
    """
    torch.manual_seed(training.seed)
    device = next(lam.parameters()).device
    found = []
    for i in range(_MOTION_BATCHES):
        rng = np.random.default_rng([training.seed, 3, i])
        for run_THWC in store.sample_runs(rng, training.lam.batch, training.motion_training.gap_s):
            clip_1TCHW = turned(to_pixels(torch.from_numpy(run_THWC)[None].to(device)))
            found.append(lam.latents(clip_1TCHW)[0].float().sum(0))
    return torch.stack(found)


def _train_motion(run: TrainingRun, lam: MotionActionModel, store: ClipStore, training: TrainingConfig) -> None:
    """Train on pairs of frames without codes; then make latents of features, and find codes by k-means."""
    train_motion(run, lam, store, training)
    latent_ND = condense(lam, store, training)
    usual_norm = float(latent_ND.norm(dim=-1).median())
    if lam.config.sums:
        latent_ND = summed_latents(lam, store, training)
    options = training.motion_training
    for level, seed in zip((lam.quantizer, lam.fine_quantizer), options.codes_seeds, strict=True):
        if level is not None:
            torch.manual_seed(seed)
            level.fit(latent_ND, restarts=options.codes_runs, usual_norm=usual_norm, reach=options.codes_reach)
    run.group.share(lam)


def train_mover(run: TrainingRun, genie: Genie, store: ClipStore, training: TrainingConfig) -> None:
    """Train the network that moves frames, where the model has one."""
    mover, lam = genie.mover, genie.lam
    if mover is None or not isinstance(lam, MotionActionModel):
        return
    special, stage, gap_s = training.mover_training, training.mover, training.motion_training.gap_s
    if mover.refiner is not None:
        mover.refiner.requires_grad_(False)

    def prepare(step: int) -> None:
        if step == 0 and mover.places and not mover.to_places.weight.any():  # else another run has fitted them
            _fit_places(run, mover, lam, store, training)

    train_stage(
        run,
        "mover",
        mover,
        lambda pixels_B2CHW, _step: mover_loss(mover, lam, turned(pixels_B2CHW), special),
        store,
        stage,
        depends_on=[genie.config, training.lam, training.motion_training, special],
        prepare=prepare,
        draw=lambda rng: store.sample_apart(rng, stage.batch, 2, gap_s),
    )
    mover.eval()


def _fit_places(
    run: TrainingRun, mover: FrameMover, lam: MotionActionModel, store: ClipStore, training: TrainingConfig
) -> None:
    """Initialise the flow that latents tell by themselves by least squares on freshly drawn pairs."""

    def draw(batch: int) -> Tensor:
        rng = np.random.default_rng([training.seed, 4, batch])
        pairs = torch.from_numpy(store.sample_apart(rng, training.mover.batch, 2, training.motion_training.gap_s))
        return turned(to_pixels(pairs.to(run.device)))

    fit_places(mover, lam, (draw(batch) for batch in range(_MOTION_BATCHES)), training.mover_training)


def train_refiner(run: TrainingRun, genie: Genie, store: ClipStore, training: TrainingConfig) -> None:
    """Train the mover's refiner, where it has one, on rollouts of the finished mover.

    Tuned together on rollouts, the mover got worse: pictures say less of how things move than flow does.
    """
    mover, lam = genie.mover, genie.lam
    if mover is None or mover.refiner is None or not isinstance(lam, MotionActionModel):
        return
    special, stage = training.refiner_training, training.refiner
    length = min(stage.clip_frames, max(span.count for span in store.spans))
    mover.refiner.requires_grad_(True)
    train_stage(
        run,
        "refiner",
        mover.refiner,
        lambda pixels_BTCHW, _step: refiner_loss(mover, lam, turned(pixels_BTCHW), special),
        store,
        stage,
        depends_on=[
            genie.config,
            training.lam,
            training.motion_training,
            training.mover,
            training.mover_training,
            special,
        ],
        draw=lambda rng: store.sample_apart(rng, stage.batch, length, special.gap_s),
    )
    mover.eval()


def train_mending(run: TrainingRun, genie: Genie, store: ClipStore, training: TrainingConfig) -> None:
    """Train the dynamics model to mend moved frames, where it does; all other networks are finished."""
    lam = genie.lam
    if not genie.config.mends or not isinstance(lam, MotionActionModel):
        return
    pairs = sum(max(0, span.count - span.step) for span in store.spans)
    run.reporter.start("latents", 0, pairs)
    latent_2ND = kept_latents(lam, store, run.folder, lambda done: run.reporter.step("latents", done, {}))
    clips = LabelledClips.of(store, latent_2ND, run.device)
    special, stage = training.mending_training, training.dynamics
    length = min(stage.clip_frames, max((span.count - 1) // span.step + 1 for span in store.spans))
    for network in (genie.tokenizer, lam, genie.mover):
        if network is not None:
            network.eval().requires_grad_(False)

    def computed(clip_BTCHW: Tensor, latent_BSD: Tensor, own_share: Tensor) -> tuple[Tensor, Metrics]:
        return mending_loss(genie, clip_BTCHW, latent_BSD, special, training.dynamics_training, own_share)

    records = run.device.type == "cuda" and run.group.size == 1 and not run.shard
    work = RecordedLoss(list(genie.dynamics.parameters()), computed) if records else computed

    def loss(row_BX: Tensor, step: int) -> tuple[Tensor, Metrics]:
        own_share = special.own_share * min(1.0, step / max(1.0, special.own_after * stage.steps))
        clip_BTCHW, latent_BSD = with_prompt(*clips.read(row_BX), special.steps)
        return work(clip_BTCHW, latent_BSD, clip_BTCHW.new_tensor(own_share))

    with _dynamics_divided(run, genie):
        train_stage(
            run,
            "dynamics",
            genie.dynamics,
            loss,
            store,
            stage,
            depends_on=[genie.config, training],
            draw=lambda rng: clips.draw(rng, stage.batch, length, special.strides),
            reads=lambda row_BX: row_BX,
        )
    genie.dynamics.eval()


def train_dynamics(run: TrainingRun, genie: Genie, store: ClipStore, training: TrainingConfig) -> None:
    """Train the dynamics model on tokens and latent actions of clips; tokenizer and latent action model stay frozen."""

    def loss(pixels_BTCHW: Tensor, step: int) -> tuple[Tensor, Metrics]:
        token_BTN, action_BTD = read_tokens(genie, pixels_BTCHW, genie.lam_view(pixels_BTCHW))
        return dynamics_loss(genie.dynamics, token_BTN, action_BTD, training.dynamics_training)

    with _dynamics_divided(run, genie):
        train_stage(
            run, "dynamics", genie.dynamics, loss, store, training.dynamics, depends_on=[genie.config, training]
        )
    genie.dynamics.eval()


@contextmanager
def _dynamics_divided(run: TrainingRun, genie: Genie) -> Iterator[None]:
    """Divide the dynamics model, which is most of a large model, among the processes while it is trained, if wanted."""
    if not run.shard:
        yield
        return
    dynamics = genie.dynamics
    with divided(dynamics, run.group, run.device) as parts:
        genie.dynamics = parts
        yield
    genie.dynamics = dynamics


@torch.no_grad()
def read_tokens(genie: Genie, pixels_BTCHW: Tensor, view_BTCHW: Tensor) -> tuple[Tensor, Tensor]:
    """Return tokens (B, T, N) and quantized actions (B, T - 1, D) of clips in full precision, as at inference."""
    with torch.autocast(pixels_BTCHW.device.type, enabled=False):
        latent_BTD = genie.lam.latents(view_BTCHW)
        quantizer = genie.lam.quantizer
        return genie.tokenizer.encode(pixels_BTCHW), quantizer.lookup(quantizer.nearest(latent_BTD))


def train_jointly(run: TrainingRun, genie: Genie, store: ClipStore, training: TrainingConfig) -> None:
    """The paper's second stage: both models see the same clips; the dynamics loss does not reach the latents."""
    if isinstance(genie.lam, MotionActionModel):
        raise ModelError("a model that reads motion is trained before the dynamics model: set lam_training.lead")
    lam = genie.lam

    def prepare(step: int) -> None:
        if step and step == training.lam_training.continuous_steps:
            _fit_codebook(run, genie, store, training)

    def loss(pixels_BTCHW: Tensor, step: int) -> tuple[Tensor, Metrics]:
        view = genie.lam_view(pixels_BTCHW)
        first, metrics = lam_loss(lam, view, training.lam_training, step=step)
        token_BTN, action_BTD = read_tokens(genie, pixels_BTCHW, view)
        second, more = dynamics_loss(genie.dynamics, token_BTN, action_BTD, training.dynamics_training)
        merged = metrics | {"loss": first.detach() + second.detach(), "lam_loss": metrics["loss"]}
        return first + second, merged | {"cross_entropy": more["loss"], "accuracy": more["accuracy"]}

    with _dynamics_divided(run, genie):
        train_stage(
            run,
            "lam_and_dynamics",
            nn.ModuleDict({"lam": lam, "dynamics": genie.dynamics}),
            loss,
            store,
            training.dynamics,
            depends_on=[genie.config, training],
            prepare=prepare,
        )
    lam.eval()
    genie.dynamics.eval()


__all__ = [
    "condense",
    "read_tokens",
    "train_dynamics",
    "train_jointly",
    "train_lam",
    "train_mending",
    "train_motion",
    "train_mover",
    "train_refiner",
    "train_tokenizer",
]
