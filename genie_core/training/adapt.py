"""Adaptation of a bundle to somebody's own video, without labels: codes are fitted anew, the networks tuned if asked.

The derived bundle names its parent. It is written only if its labels predict more of the motion in video held out
than those of the parent, and of the bundle that it would replace.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path

import numpy as np
import torch
from torch import Tensor

from genie_core.data import AutoSteps
from genie_core.errors import DatasetError, ModelError
from genie_core.inference.auto_step import find_steps_with
from genie_core.models.bundle import Bundle, BundleInfo, is_bundle, load_bundle, save_bundle, stored_half
from genie_core.models.config import ModelConfig
from genie_core.models.genie import Genie
from genie_core.models.motion_lam import MotionActionModel
from genie_core.models.mover import code_means
from genie_core.models.patches import to_pixels
from genie_core.models.quantizer import VectorQuantizer
from genie_core.statistics.metrics import Array
from genie_core.training.adapt_card import adapted_card
from genie_core.training.adapt_data import AdaptVideo, Transitions, adapt_video
from genie_core.training.codebook import Renumbering, fit_codes, latents_of, meanings, renumber
from genie_core.training.config import TrainingConfig
from genie_core.training.loop import Reporter, TrainingRun
from genie_core.training.pipeline import TrainingSplit
from genie_core.training.score import Read, scores, top_share
from genie_core.training.stages import condense
from genie_core.training.tuning import go_on_reading, steps_within, tune_labels, tune_rollouts, tuning_recipe

_PER_CODE, _MOVING_PER_CODE = 10, 3
"""Least transitions a code to fit codes to, and of these, ones in which something moves."""
_MEANING_FRAMES = 24
"""Frames on which codes of two codebooks are compared."""
_FEW = 0.5
"""How many latents a code itself counts as, in what it stands for in rollouts."""


@dataclass(frozen=True)
class AdaptJob:
    """An adaptation: parent, data, options and output.

    Attributes:
        parent: folder of the bundle.
        data: episodes to adapt to, and those held out for the scores; where none are, the end of each is held out.
        out: folder of the derived bundle.
        minutes: how long to tune the networks; 0: not at all.
        steps: how many steps to tune each, in place of `minutes`, for the same weights on any machine.
        seed: of everything that is drawn; the same job gives the same bundle.
        fine_codes: number of fine codes; None: as many as the parent has.
        keep_codes: leave the parent's codes as they are, and fit fine ones alone.
        force: write it even if it is not better.
        device: torch device.
        command: how the job was asked for, for the card.

    """

    parent: Path
    data: TrainingSplit
    out: Path
    minutes: float = 0.0
    steps: int | None = None
    seed: int = 0
    fine_codes: int | None = None
    keep_codes: bool = False
    force: bool = False
    device: str = "cpu"
    command: str = ""

    @property
    def tunes(self) -> bool:
        """Whether the networks are tuned."""
        return bool(self.steps or self.minutes)


@dataclass(frozen=True)
class AdaptReport:
    """Result of an adaptation.

    Attributes:
        info: the derived bundle.
        before: share of the held-out flow that the parent's labels predict, by kind of label.
        after: the same of the derived bundle.
        top_before: share of the most frequent code of the parent among transitions in which something moves.
        top_after: the same of the derived bundle.
        renumbered: by level: how its codes were numbered as the parent's.
        auto_steps: transition lengths that the codes were fitted at; None: those of the frame rates.
        transitions: how many codes were fitted to, and how many were held out.
        tuned_steps: how many steps each network was tuned.

    """

    info: BundleInfo
    before: Mapping[str, float]
    after: Mapping[str, float]
    top_before: float
    top_after: float
    renumbered: Mapping[str, Renumbering]
    auto_steps: AutoSteps | None
    transitions: tuple[int, int]
    tuned_steps: int


def adapt(job: AdaptJob, reporter: Reporter) -> AdaptReport:
    """Derive a bundle from another one and somebody's own video, and write it if it is better.

    The run's folder `<out>.run` holds frames and checkpoints, and may be deleted afterwards; a run with the same
    arguments goes on from there.

    Raises:
        DatasetError: the video is too short, still, or cannot be read.
        ModelError: the parent is no bundle or cannot be tuned, the derived one is not better (and `force` was not
            given), or the run's folder belongs to another job.

    """
    parent = load_bundle(job.parent, job.device)
    config = _derived_config(job, parent)
    steps = _find_steps(job, parent, reporter)
    folder = job.out.with_name(job.out.name + ".run")
    video = adapt_video(
        job.data, folder, parent.config, steps, _clip_frames(parent), job.seed, reporter, tunes=job.tunes
    )
    _check_enough(video, config, job)
    before = {"train": read(parent, video.train), "held_out": read(parent, video.held_out)}

    genie = _derived(config, parent)
    tuning = _Tuning.begin(job, genie, parent.bundle_id, video, folder, reporter) if job.tunes else None
    latent_MD = torch.from_numpy(before["train"].latent_ND).float()
    if tuning is not None:
        latent_MD = tuning.labels(genie, video, latent_MD)
    renumbered = _fit(job, genie, parent, latent_MD, video)
    if tuning is not None:
        tune_rollouts(tuning.run, genie, video.store, tuning.recipe)
        genie.eval()
    _speak(genie, latent_MD)
    half = stored_half(job.parent)
    save_bundle(folder / "bundle", genie, "", half=half)
    child = load_bundle(folder / "bundle", job.device)  # scores are those of the weights as stored

    tuned = 0 if tuning is None else tuning.recipe.lam.steps
    known = None if tuned else before
    after = {
        part: read(child, getattr(video, part), None if known is None else known[part].latent_ND) for part in before
    }
    was, now = _scores(video, before), _scores(video, after)
    if not job.force:
        _refuse_worse(job, was, now, video)
    report = AdaptReport(
        child.info,
        was,
        now,
        top_share(before["held_out"].codes["code"], video.held_out.motion.moving_N),
        top_share(after["held_out"].codes["code"], video.held_out.motion.moving_N),
        renumbered,
        steps,
        (len(video.train), len(video.held_out)),
        tuned,
    )
    card = adapted_card(
        job.command,
        parent.info,
        config,
        video.lines,
        (was, now),
        (report.top_before, report.top_after),
        {name: r.same_K for name, r in renumbered.items()},
        steps,
        tuned,
        job.seed,
    )
    return _with_info(report, save_bundle(job.out, genie, card, half=half))


def _with_info(report: AdaptReport, info: BundleInfo) -> AdaptReport:
    return AdaptReport(**{**vars(report), "info": info})


def _derived_config(job: AdaptJob, parent: Bundle) -> ModelConfig:
    lam, mover = parent.config.lam, parent.config.mover
    if lam.source != "pixels":
        raise ModelError(f"{job.parent}: got a latent action model that reads tokens, expected one that reads pixels")
    fine = lam.fine_codes if job.fine_codes is None else job.fine_codes
    if job.keep_codes and not fine:
        raise ModelError("--keep-codes: there are no fine codes to fit; give --fine-codes, or leave it out")
    if job.keep_codes and job.tunes:
        raise ModelError(
            "--keep-codes: latents of a tuned encoder are others, which no code fits; leave out one of both"
        )
    # A dynamics model that is not tuned was trained with the parent's codes: others would mean nothing to it.
    simulates = parent.config.simulates and (job.keep_codes or job.tunes)
    return parent.config.model_copy(
        update={
            "name": job.out.name,
            "simulates": simulates,
            "lam": lam.model_copy(update={"fine_codes": fine}),
            "mover": None if mover is None else mover.model_copy(update={"spoken_codes": True}),
        }
    )


def _derived(config: ModelConfig, parent: Bundle) -> Genie:
    genie = Genie(config)
    for component in config.components:
        state = getattr(parent.genie, component).state_dict()
        if component == "lam" and config.lam.fine_codes != parent.config.lam.fine_codes:
            state = {key: value for key, value in state.items() if not key.startswith("fine_quantizer.")}
        getattr(genie, component).load_state_dict(state, strict=False)
    return genie.to(parent.device).eval()


def _clip_frames(parent: Bundle) -> int:
    """Return the frames of the clips that transitions are taken from: two where the encoder sees no more."""
    return 2 if isinstance(parent.genie.lam, MotionActionModel) else 6


def _find_steps(job: AdaptJob, parent: Bundle, reporter: Reporter) -> AutoSteps | None:
    if parent.info.usual_norm is None:
        return None
    reporter.start("step", 0, 1)
    return find_steps_with(parent, job.data.train)


def _check_enough(video: AdaptVideo, config: ModelConfig, job: AdaptJob) -> None:
    lam = config.lam
    codes = max(lam.fine_codes, 0 if job.keep_codes else lam.quantizer.codes)
    there, moving = len(video.train), int(video.train.motion.moving_N.sum())
    if there < _PER_CODE * codes:
        fewer = " or give fewer --fine-codes," if lam.fine_codes == codes else ""
        raise DatasetError(
            f"too little video: got {there} transitions to fit {codes} codes to, expected {_PER_CODE * codes} or more;"
            f" add video,{fewer} or hold out less"
        )
    if moving < _MOVING_PER_CODE * codes:
        raise DatasetError(
            f"too little moves: got {moving} of {there} transitions in which anything moves by half a pixel of 64, "
            f"expected {_MOVING_PER_CODE * codes} or more; add video in which the robot moves, or choose another camera"
        )


@dataclass(frozen=True)
class _Tuning:
    """How the networks are tuned."""

    run: TrainingRun
    recipe: TrainingConfig

    @staticmethod
    def begin(
        job: AdaptJob, genie: Genie, parent_id: str, video: AdaptVideo, folder: Path, reporter: Reporter
    ) -> _Tuning:
        device = genie.lam.quantizer.codebook.device
        run = TrainingRun(folder, job.seed, device, bf16=True, reporter=reporter, init=parent_id)
        steps = job.steps or steps_within(job.minutes, run, genie, video.store, job.seed)
        return _Tuning(run, tuning_recipe(genie.config, video.store, steps, job.seed))

    def labels(self, genie: Genie, video: AdaptVideo, was_MD: Tensor) -> Tensor:
        """Tune what labels come from; returns the latents of the training transitions, (M, D), that were `was_MD`."""
        tune_labels(self.run, genie, video.store, self.recipe)
        if isinstance(genie.lam, MotionActionModel):
            condense(genie.lam, video.store, self.recipe)
        now_MD = torch.from_numpy(_latents(genie, video.train)).float()
        if isinstance(genie.lam, MotionActionModel):
            go_on_reading(genie, was_MD, now_MD)
        return now_MD


def _fit(job: AdaptJob, genie: Genie, parent: Bundle, latent_MD: Tensor, video: AdaptVideo) -> dict[str, Renumbering]:
    """Fit the codes of every level, and number them as the parent's where it has as many."""
    moving_M = torch.from_numpy(video.train.motion.moving_N)
    some = video.train.before_NHWC[:: -(-len(video.train) // _MEANING_FRAMES)]
    frames_NCHW = to_pixels(torch.from_numpy(np.ascontiguousarray(some))[None])[0]
    levels: dict[str, tuple[VectorQuantizer, VectorQuantizer | None]] = {}
    if not job.keep_codes:
        levels["code"] = (genie.lam.quantizer, parent.genie.lam.quantizer)
    if genie.lam.fine_quantizer is not None:
        levels["fine_code"] = (genie.lam.fine_quantizer, parent.genie.lam.fine_quantizer)
    renumbered = {}
    for name, (quantizer, wanted) in levels.items():
        fit_codes(quantizer, latent_MD.to(quantizer.codebook.device), moving_M, job.seed)
        if wanted is not None and wanted.config.codes == quantizer.config.codes:
            meaning_KX = meanings(genie, quantizer.codebook, frames_NCHW)
            wanted_KX = meanings(parent.genie, wanted.codebook, frames_NCHW)
            renumbered[name] = renumber(quantizer, meaning_KX.cpu(), wanted_KX.cpu())
    return renumbered


@torch.no_grad()
def _speak(genie: Genie, latent_MD: Tensor) -> None:
    """Let codes stand, in rollouts, for the motions that they have in this video."""
    if genie.mover is not None:
        quantizer = genie.lam.quantizer
        latent_MD = latent_MD.to(quantizer.codebook.device)
        genie.mover.spoken_codebook.copy_(code_means(quantizer, latent_MD, quantizer.codebook, _FEW))


def read(bundle: Bundle, transitions: Transitions, latent_ND: Array | None = None) -> Read:
    """Return what a bundle says of transitions; `latent_ND` are its latents of them where they are known already."""
    latent_ND = _latents(bundle.genie, transitions) if latent_ND is None else latent_ND
    latent = torch.from_numpy(latent_ND).float().to(bundle.device)
    levels: dict[str, VectorQuantizer | None] = {
        "code": bundle.genie.lam.quantizer,
        "fine_code": bundle.genie.lam.fine_quantizer,
    }
    codes = {name: q.nearest(latent).cpu().numpy() for name, q in levels.items() if q is not None}
    return Read(latent_ND, codes)


def _latents(genie: Genie, transitions: Transitions) -> Array:
    """Return the latents as labels will have them: sums of those from frame to frame, of models whose labels are."""
    summed = isinstance(genie.lam, MotionActionModel) and genie.lam.config.sums
    clips = transitions.parts() if summed else transitions.clips()
    latent_ND: Array = np.concatenate([latents_of(genie, c).cpu().numpy() for c in clips]).astype(np.float64)
    return transitions.sums(latent_ND) if summed else latent_ND


def _scores(video: AdaptVideo, of: Mapping[str, Read]) -> dict[str, float]:
    return scores(video.train.motion, of["train"], video.held_out.motion, of["held_out"])


def _refuse_worse(job: AdaptJob, was: Mapping[str, float], now: Mapping[str, float], video: AdaptVideo) -> None:
    """Raise ModelError if the labels of the parent, or of the bundle at `out`, predict more of the motion."""
    _compare(job, "the parent", was, now)
    if not is_bundle(job.out):
        return
    there = load_bundle(job.out, job.device)
    if (there.config.height, there.config.width) == video.train.before_NHWC.shape[1:3]:
        reads = {part: read(there, getattr(video, part)) for part in ("train", "held_out")}
        _compare(job, f"the bundle that is at {job.out}", _scores(video, reads), now)


def _compare(job: AdaptJob, whose: str, was: Mapping[str, float], now: Mapping[str, float]) -> None:
    shared = [name for name in now if name in was]
    before, after = (float(np.mean([of[name] for name in shared])) for of in (was, now))
    if after < before:
        each = ", ".join(f"{name} {was[name]:.3f} to {now[name]:.3f}" for name in shared)
        raise ModelError(
            f"not better: of what moves in the held-out video the labels tell {after:.3f}, those of {whose} "
            f"{before:.3f} ({each}); nothing was written. More video helps; --force writes it anyway"
        )


__all__ = ["AdaptJob", "AdaptReport", "adapt", "read"]
