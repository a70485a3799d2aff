"""Trains the recipe of the shipped labels at four times the pixels, for as long as it is given, on the data given.

How many steps fit into the time is tried first and written down, so that a run that was stopped goes on as the same.
"""

from __future__ import annotations

import json
import time
from collections.abc import Iterator

from benchmarks.gpu.found import Found
from benchmarks.gpu.parts import Setting
from benchmarks.gpu.videos import training_episodes
from genie_core.data.hold_out import hold_out_episodes
from genie_core.models.config import ModelConfig
from genie_core.models.presets import preset
from genie_core.training.config import TrainingConfig, training_preset
from genie_core.training.pipeline import TrainingJob, TrainingSplit, train, train_alone

SIDE = 128
_TRIAL, _DRY_STEPS, _DRY_BATCH = 30, 3, 4
_SHARE = 0.8
"""Of the time given that steps may take; the rest is for data, codes and the card."""

_HELD_OUT = 0.05
_MOVER_SHARE = 1.0
"""Steps of the mover over those of the latent action model."""


class _Clock:
    """Prints progress now and then, and stops the time of each stage."""

    def __init__(self) -> None:
        self.seconds: dict[str, float] = {}
        self.steps: dict[str, int] = {}
        self.after: dict[int, float] = {}
        self._began, self._first, self._said = 0.0, 0, 0.0

    def start(self, stage: str, step: int, steps: int) -> None:
        """A stage begins."""
        self._began, self._first, self._said = time.monotonic(), step, time.monotonic()
        print(f"  {stage}: from {step} to {steps}", flush=True)

    def step(self, stage: str, step: int, metrics: dict[str, float]) -> None:
        """Note how far it is."""
        self.seconds[stage] = time.monotonic() - self._began
        self.after[step] = self.seconds[stage]
        self.steps[stage] = step - self._first
        if time.monotonic() - self._said > 10:
            self._said = time.monotonic()
            print(f"  {stage} {step}: " + "  ".join(f"{k} {v:.3g}" for k, v in metrics.items()), flush=True)


def model_of_labels(side: int) -> ModelConfig:
    """`motion` at that many pixels a side."""
    return preset("motion").model_copy(update={"name": f"motion{side}", "height": side, "width": side})


def measure(setting: Setting) -> Iterator[Found]:
    """Train, or go on."""
    folder = setting.folder / "recipe"
    folder.mkdir(parents=True, exist_ok=True)
    if setting.data is None:
        raise ValueError("recipe: got no --data, expected video")
    train_on, held_out = hold_out_episodes(training_episodes(setting.data, None), _HELD_OUT, 0)
    split = TrainingSplit(train_on, held_out)
    model, plan = model_of_labels(SIDE), folder / "plan.json"
    if plan.exists():
        steps = int(json.loads(plan.read_text())["steps"])
    else:
        steps = _steps(setting, model, split) if not setting.dry else _DRY_STEPS
        plan.write_text(json.dumps({"steps": steps, "minutes": setting.minutes, "data": setting.data}))
    clock = _Clock()
    out = folder / model.name
    began = time.monotonic()
    recipe = _recipe(steps, setting.dry)
    job = TrainingJob(model, recipe, split, out, device=setting.device, half=True, command="make gpu", rollouts=1)
    info = train(job, clock, checkpoint_seconds=20)
    note = (
        f"bundle {info.bundle_id[:12]} in {out}, {time.monotonic() - began:.0f} s this time; its card has the metrics"
    )
    yield Found("recipe motion128: steps in all", steps + round(_MOVER_SHARE * steps), "steps", None, note)
    for stage, seconds in clock.seconds.items():
        if stage in ("lam", "mover") and clock.steps[stage]:
            rate = clock.steps[stage] / max(seconds, 1e-9)
            yield Found(f"recipe motion128: {stage}", rate, "steps/s", None, "batch 32; optical flow is the CPU's")


def _recipe(steps: int, dry: bool = False) -> TrainingConfig:
    recipe = training_preset("motion")
    batch = {"batch": _DRY_BATCH} if dry else {}
    lam = recipe.lam.model_copy(update={"steps": steps, **batch})
    mover = recipe.mover.model_copy(update={"steps": round(_MOVER_SHARE * steps), **batch})
    return recipe.model_copy(update={"lam": lam, "mover": mover})


def _steps(setting: Setting, model: ModelConfig, split: TrainingSplit) -> int:
    """Time a few steps of the latent action model and return how many fit; frames are written to disk on the way."""
    clock = _Clock()
    began = time.monotonic()
    trial = setting.folder / "recipe" / "trial"
    job = TrainingJob(model, _recipe(_TRIAL), split, trial, device=setting.device)
    train_alone(job, "lam", clock, checkpoint_seconds=1e9, report_every=1)
    kept = setting.folder / "recipe" / f"{model.name}.run"
    kept.mkdir(parents=True, exist_ok=True)
    for frames in ("frames", "held_out"):
        (trial.with_name("trial.run") / frames).rename(kept / frames)
    # A step of the mover takes about as long. The first steps are slower than all others.
    each = (1 + _MOVER_SHARE) * (clock.after[_TRIAL] - clock.after[_TRIAL // 3]) / (_TRIAL - _TRIAL // 3)
    left = 60 * setting.minutes - (time.monotonic() - began)
    return max(_TRIAL, round(_SHARE * left / each))


__all__ = ["measure", "model_of_labels"]
