"""Configures training: immutable pydantic models beside `ModelConfig`, and their presets. Imports no torch."""

from __future__ import annotations

from typing import Literal

from pydantic import BaseModel, ConfigDict, Field, model_validator

from genie_core.errors import ModelError


class _Frozen(BaseModel):
    model_config = ConfigDict(frozen=True, extra="forbid")


class StageConfig(_Frozen):
    """One stage's optimisation (AdamW, linear warm-up, cosine decay)."""

    steps: int = Field(ge=0)
    batch: int = Field(gt=0, description="clips a step")
    clip_frames: int = Field(gt=1)
    lr: float = Field(gt=0)
    final_lr: float = Field(0.0, ge=0, description="learning rate at the last step")
    warmup: int = Field(200, ge=0, description="steps")
    betas: tuple[float, float] = (0.9, 0.95)
    weight_decay: float = Field(0.05, ge=0)
    clip_norm: float = Field(1.0, gt=0, description="largest norm of the gradient")
    pieces: int = Field(
        1, gt=0, description="parts of the batch that are computed one after another, or by as many processes"
    )

    @model_validator(mode="after")
    def _pieces_fit(self) -> StageConfig:
        if self.batch % self.pieces:
            raise ValueError(
                f"pieces: got {self.pieces} for a batch of {self.batch}, expected a number that divides it"
            )
        return self


class AugmentConfig(_Frozen):
    """Augmentation of the latent action encoder's clips, the same in all frames; the decoder sees them unchanged."""

    brightness: float = Field(0.0, ge=0, description="largest shift, of a range of 1")
    contrast: float = Field(0.0, ge=0, description="largest relative change")
    shift: int = Field(0, ge=0, description="largest translation, pixels")
    noise: float = Field(0.0, ge=0, description="standard deviation, of a range of 1")


class TokenizerTraining(_Frozen):
    """Training options of the tokenizer."""

    continuous_steps: int = Field(
        0, ge=0, description="first steps without quantization; then k-means starts the codebook"
    )
    continuous_noise: float = Field(0.3, ge=0, description="norm of the noise on unquantized unit latents")


class LatentActionTraining(_Frozen):
    """Training options of the latent action model that reads pixels."""

    continuous_steps: int = Field(
        0, ge=0, description="first steps without quantization; then k-means starts the codebook"
    )
    continuous_noise: float = Field(0.3, ge=0, description="norm of the noise on unquantized unit latents")
    quantized_share: float = Field(
        1.0, gt=0, le=1, description="share of clips quantized after that; the others stay unquantized"
    )
    motion_weight: float = Field(0.0, ge=0, description="extra weight of pixels that change between frames")
    augment: AugmentConfig = AugmentConfig()
    lead: bool = Field(False, description="train it before the dynamics model and freeze it, instead of both together")


class MotionTraining(_Frozen):
    """Training options of the latent action model that reads motion; lengths in pixels of a 64-pixel frame."""

    gap_s: tuple[float, float] = Field((0.1, 0.7), description="range of time between the frames of a pair, seconds")
    noise: float = Field(
        0.3,
        ge=0,
        description="noise on latents relative to their length: more of it leaves room for the main motion only",
    )
    floor: float = Field(0.03, ge=0, description="smallest noise on latents, which sets their scale")
    still: float = Field(0.02, gt=0, description="mean squared flow below which an error counts for less")
    back_weight: float = Field(0.3, ge=0, description="weight of the backward flow's loss, which trains no latent")
    contrast: float = Field(0.2, ge=0, description="largest relative change of a channel, encoder only")
    brightness: float = Field(0.1, ge=0, description="largest shift of a channel, of a range of 1, encoder only")
    flicker: float = Field(0.04, ge=0, description="largest brightness shift of the later frame, of a range of 1")
    pixel_noise: float = Field(0.01, ge=0, description="standard deviation of pixel noise, of a range of 1")
    flow_noise: float = Field(0.03, ge=0, description="standard deviation of noise on the flow, pixels")
    codes_seeds: tuple[int, int] = Field(
        (0, 0), description="seeds of k-means for codes and fine codes: from other first centres it ends in other ones"
    )
    codes_runs: int = Field(64, ge=1, description="runs of k-means at each level, of which the best is kept")
    codes_reach: float = Field(
        1.0,
        gt=0,
        le=1,
        description="how far from zero codes are put, as a share of where k-means has them; all but the nearest",
    )


class MoverTraining(_Frozen):
    """Training options of the network that moves frames; `gap_s` of `MotionTraining` holds for it too."""

    coded_share: float = Field(0.5, ge=0, le=1, description="share of pairs that are conditioned on their code alone")
    picture_weight: float = Field(
        1.0, ge=0, description="weight of the moved frame's squared error, over that of the unmoved frame"
    )
    still: float = Field(0.02, gt=0, description="mean squared flow below which an error counts for less")
    unchanged: float = Field(
        1e-3,
        gt=0,
        description="mean squared change of a picture, of a range of 1, below which an error counts for less",
    )


class RefinerTraining(_Frozen):
    """Training options of the refiner of moved frames, which is trained on rollouts of several frames."""

    gap_s: tuple[float, float] = Field((0.1, 0.35), description="range of time between frames of a clip, seconds")
    steps: int = Field(4, ge=1, description="frames that are simulated; those before them in a clip are the prompt")
    coded_share: float = Field(0.5, ge=0, le=1, description="share of rollouts that are told by codes alone")
    unchanged: float = Field(
        1e-3,
        gt=0,
        description="mean squared change since the start, of a range of 1, below which an error counts for less",
    )


class MendingTraining(_Frozen):
    """Training options of the dynamics model that mends moved frames, which is trained on rollouts of some frames."""

    strides: int = Field(2, ge=1, le=16, description="frames of a clip are 1 to so many steps of the model apart")
    steps: int = Field(4, ge=1, description="frames that are simulated; those before them in a clip are the prompt")
    coded_share: float = Field(0.5, ge=0, le=1, description="share of rollouts that are told by codes alone")
    own_share: float = Field(0.75, ge=0, le=1, description="share of rollouts that go on from what they have drawn")
    own_after: float = Field(0.3, gt=0, le=1, description="share of the steps over which `own_share` grows from 0")
    temperature: float = Field(0.5, gt=0, description="at which they draw")
    sure_weight: float = Field(0.05, ge=0, description="weight of tokens whose flow is not in doubt, which has 1 more")


class DynamicsTraining(_Frozen):
    """Training options of the dynamics model."""

    mask_low: float = Field(0.5, ge=0, le=1, description="the rate of hidden tokens is drawn from [mask_low, 1]")
    clean_frames: float = Field(0.0, ge=0, lt=1, description="share of frames shown whole, as the past is in rollouts")


class TrainingConfig(_Frozen):
    """The recipe of a training run: everything that defines it apart from data and model."""

    tokenizer: StageConfig
    lam: StageConfig
    dynamics: StageConfig
    mover: StageConfig = StageConfig(steps=6000, batch=32, clip_frames=2, lr=1.5e-3, warmup=50)
    refiner: StageConfig = StageConfig(steps=600, batch=6, clip_frames=12, lr=2e-3, warmup=30)
    tokenizer_training: TokenizerTraining = TokenizerTraining()
    lam_training: LatentActionTraining = LatentActionTraining()
    motion_training: MotionTraining = MotionTraining()
    mover_training: MoverTraining = MoverTraining()
    refiner_training: RefinerTraining = RefinerTraining()
    mending_training: MendingTraining = MendingTraining()
    dynamics_training: DynamicsTraining = DynamicsTraining()
    seed: int = 0
    precision: Literal["bf16", "fp32"] = "bf16"

    @model_validator(mode="after")
    def _clips_have_a_prompt(self) -> TrainingConfig:
        if self.refiner.clip_frames <= self.refiner_training.steps:
            raise ValueError(
                f"refiner.clip_frames: got {self.refiner.clip_frames}, expected more than the "
                f"{self.refiner_training.steps} that are simulated (refiner_training.steps)"
            )
        return self


def _nano() -> TrainingConfig:
    return TrainingConfig(
        tokenizer=StageConfig(steps=40, batch=4, clip_frames=4, lr=2e-3, warmup=5),
        lam=StageConfig(steps=40, batch=4, clip_frames=5, lr=2e-3, warmup=5),
        dynamics=StageConfig(steps=40, batch=4, clip_frames=5, lr=2e-3, warmup=5),
        lam_training=LatentActionTraining(continuous_steps=10, lead=True),
        dynamics_training=DynamicsTraining(clean_frames=0.25),
        precision="fp32",
    )


def _tiny() -> TrainingConfig:
    return TrainingConfig(
        tokenizer=StageConfig(steps=9000, batch=16, clip_frames=2, lr=1.5e-3, warmup=50),
        lam=StageConfig(steps=4000, batch=24, clip_frames=6, lr=8e-4),
        dynamics=StageConfig(steps=4500, batch=8, clip_frames=8, lr=8e-4),
        tokenizer_training=TokenizerTraining(continuous_steps=300, continuous_noise=0.2),
        lam_training=LatentActionTraining(
            continuous_steps=1800,
            quantized_share=0.5,
            lead=True,
            augment=AugmentConfig(brightness=0.05, contrast=0.1, shift=2, noise=0.01),
        ),
        dynamics_training=DynamicsTraining(clean_frames=0.25),
    )


def _base() -> TrainingConfig:
    """Return the recipe of `tiny` with steps and batches for a GPU."""
    tiny = _tiny()
    return tiny.model_copy(
        update={
            "tokenizer": StageConfig(steps=30_000, batch=48, clip_frames=2, lr=1e-3, warmup=200),
            "lam": StageConfig(steps=12_000, batch=48, clip_frames=6, lr=6e-4),
            "dynamics": StageConfig(steps=30_000, batch=24, clip_frames=12, lr=5e-4, warmup=500),
            "lam_training": tiny.lam_training.model_copy(update={"continuous_steps": 5000}),
        }
    )


def _motion() -> TrainingConfig:
    """Return the recipe for labels from motion and for moving frames by them: no tokenizer, no dynamics model."""
    tiny = _tiny()
    lam = StageConfig(steps=1500, batch=32, clip_frames=2, lr=2e-3, warmup=50)
    # How far codes reach was chosen by cameras all round (docs/label-experiments.md), as were the runs of k-means whose
    # codes ship (scripts/motion_recipe.json): of other data the best of many is kept.
    return tiny.model_copy(update={"lam": lam, "motion_training": MotionTraining(codes_reach=0.88)})


def _motion_tokens() -> TrainingConfig:
    """Return the recipe of `motion`, then of a tokenizer of any video, and of what mends moved frames."""
    return _motion().model_copy(
        update={
            "tokenizer": StageConfig(steps=9000, batch=32, clip_frames=2, lr=1.5e-3, warmup=100),
            "dynamics": StageConfig(steps=8000, batch=32, clip_frames=12, lr=1e-3),
        }
    )


def _paper(tokenizer_batch: int, batch: int, steps: int, dynamics_lr: float, final_lr: float) -> TrainingConfig:
    adam = {"betas": (0.9, 0.9), "weight_decay": 1e-4}
    return TrainingConfig(
        tokenizer=StageConfig(
            steps=300_000, batch=tokenizer_batch, clip_frames=16, lr=3e-4, warmup=10_000, final_lr=3e-4, **adam
        ),
        lam=StageConfig(
            steps=steps, batch=batch, clip_frames=16, lr=dynamics_lr, final_lr=final_lr, warmup=5_000, **adam
        ),
        dynamics=StageConfig(
            steps=steps, batch=batch, clip_frames=16, lr=dynamics_lr, final_lr=final_lr, warmup=5_000, **adam
        ),
    )


def training_preset(name: str) -> TrainingConfig:
    """Return the recipe of the model preset `name`; `coinrun` and `robotics` have the paper's plain one."""
    if name == "nano":
        return _nano()
    if name == "tiny":
        return _tiny()
    if name == "base":
        return _base()
    if name in ("motion", "motion-plain", "motion-refined"):
        return _motion()
    if name == "motion-tokens":
        return _motion_tokens()
    if name == "coinrun":
        return _paper(48, 36, 200_000, 3e-5, 3e-6)
    if name == "robotics":
        return _paper(64, 512, 125_000, 3e-5, 3e-6)
    known = "nano, tiny, base, motion, motion-plain, motion-refined, motion-tokens, coinrun, robotics"
    raise ModelError(f"no training recipe for {name!r}; there are: {known}")


__all__ = [
    "AugmentConfig",
    "DynamicsTraining",
    "LatentActionTraining",
    "MendingTraining",
    "MotionTraining",
    "MoverTraining",
    "RefinerTraining",
    "StageConfig",
    "TokenizerTraining",
    "TrainingConfig",
    "training_preset",
]
