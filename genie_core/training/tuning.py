"""Tunes a bundle's networks on somebody's own video: first what labels come from, then what rollouts are made by.

Codes are fitted in between, by `adapt`. Every stage takes as many steps, at a quarter of the learning rate of the
recipe that such networks are trained by, and without the parts of it that begin with random weights.
"""

from __future__ import annotations

import copy
import json
import tempfile
import time
from collections.abc import Callable
from dataclasses import replace
from pathlib import Path

import torch
from torch import Tensor

from genie_core.data.storage.atomic import write_text
from genie_core.models.config import WHOLE, ModelConfig
from genie_core.models.genie import Genie
from genie_core.models.motion_lam import MotionActionModel
from genie_core.models.quantizer import VectorQuantizer
from genie_core.training.clips import ClipStore
from genie_core.training.config import StageConfig, TrainingConfig, training_preset
from genie_core.training.loop import TrainingRun
from genie_core.training.stages import (
    train_dynamics,
    train_lam,
    train_motion,
    train_mover,
    train_tokenizer,
)

_RATE, _WARMUP, _DECAY = 0.25, 20, 0.02
"""Learning rate beside the recipe's, steps that it rises over, and weight decay."""
_TIMED, _TIMED_EPISODES = 3, 4
"""Steps that are timed, after one to warm up, and episodes that their clips are from."""

Stage = Callable[[TrainingRun, Genie, ClipStore, TrainingConfig], None]


def tuning_recipe(config: ModelConfig, store: ClipStore, steps: int, seed: int) -> TrainingConfig:
    """Return the recipe by which a bundle is tuned.

    Args:
        config: of the bundle.
        store: the video; clips are no longer than its longest episode.
        steps: of each stage.
        seed: of everything that is drawn.

    """
    recipe = training_preset("tiny" if config.simulates else "motion")
    longest = max((span.count - 1) // span.step + 1 for span in store.spans)

    def tuned(stage: StageConfig) -> StageConfig:
        return stage.model_copy(
            update={
                "steps": steps,
                "lr": _RATE * stage.lr,
                "warmup": min(_WARMUP, steps),
                "weight_decay": _DECAY,
                "clip_frames": max(2, min(stage.clip_frames, longest)),
            }
        )

    stages = {name: tuned(getattr(recipe, name)) for name in ("tokenizer", "lam", "dynamics", "mover")}
    begun = {
        name: getattr(recipe, name).model_copy(update={"continuous_steps": 0})
        for name in ("tokenizer_training", "lam_training")
    }
    return recipe.model_copy(update={**stages, **begun, "seed": seed})


def tune_labels(run: TrainingRun, genie: Genie, store: ClipStore, recipe: TrainingConfig) -> None:
    """Tune what labels come from; latents of a model that reads motion are then to be condensed anew."""
    for module in genie.modules():
        if isinstance(module, VectorQuantizer):
            module.settle()
    for stage in _stages(genie)[0]:
        stage(run, genie, store, recipe)


def tune_rollouts(run: TrainingRun, genie: Genie, store: ClipStore, recipe: TrainingConfig) -> None:
    """Tune what rollouts are made by, once latents and codes are final; nothing in a bundle that labels alone."""
    for stage in _stages(genie)[1]:
        stage(run, genie, store, recipe)


def _stages(genie: Genie) -> tuple[list[Stage], list[Stage]]:
    """Return the stages before and after codes are fitted."""
    config = genie.config
    if isinstance(genie.lam, MotionActionModel):
        # Tokens that mend stay: they know any video, and a step of theirs takes ten times as long as one of all others.
        return [_train_encoder], [train_mover] if genie.mover is not None else []
    return ([train_tokenizer, train_lam], [train_dynamics]) if config.simulates else ([train_lam], [])


def _train_encoder(run: TrainingRun, genie: Genie, store: ClipStore, recipe: TrainingConfig) -> None:
    assert isinstance(genie.lam, MotionActionModel)
    train_motion(run, genie.lam, store, recipe)


@torch.no_grad()
def go_on_reading(genie: Genie, was_ND: Tensor, now_ND: Tensor) -> None:
    """Let the networks that take latents of a model that reads motion go on from what they know of the former ones.

    Tuned latents have other axes. The rotation that takes them nearest to the former ones (orthogonal Procrustes) goes
    into the layers that read them; lengths do not change by it. The two numbers of the whole picture stay.

    Args:
        genie: its mover is changed, and its dynamics model where that mends moved frames.
        was_ND: (N, D) latents before the encoder was tuned.
        now_ND: (N, D) latents of the same transitions now.

    """
    axes = was_ND.shape[1] - WHOLE
    left, _, right = torch.linalg.svd(now_ND[:, :axes].double().T @ was_ND[:, :axes].double())
    turn_KK = left @ right
    mover = genie.mover
    layers = [] if mover is None else [mover.action[0], *([mover.to_places] if mover.places else [])]
    for layer in [*layers, *([genie.dynamics.action] if genie.config.mends else [])]:
        weight_OD = layer.weight
        assert isinstance(weight_OD, Tensor)
        turned = weight_OD[:, :axes].double() @ turn_KK.to(weight_OD.device).T
        weight_OD[:, :axes].copy_(turned)


def steps_within(minutes: float, run: TrainingRun, genie: Genie, store: ClipStore, seed: int) -> int:
    """Return how many steps of each stage fit `minutes`, as measured when the run began; a resumed run keeps it.

    The networks stay as they are; a copy takes the steps that are timed.
    """
    kept = run.folder / "tuning.json"
    if kept.exists():
        found = json.loads(kept.read_text())
        if found["minutes"] == minutes:
            return int(found["steps"])
    recipe = tuning_recipe(genie.config, store, _TIMED + 1, seed)
    some = ClipStore(store.frames, tuple(sorted(store.spans, key=lambda span: -span.count)[:_TIMED_EPISODES]))
    trial, watch = copy.deepcopy(genie), _Stopwatch()
    with tempfile.TemporaryDirectory() as folder:
        timed = replace(run, folder=Path(folder), reporter=watch, report_every=1)
        for stage in (stage for stages in _stages(genie) for stage in stages):
            stage(timed, trial, some, recipe)
    steps = max(1, round(60 * minutes / watch.seconds))
    write_text(kept, json.dumps({"minutes": minutes, "steps": steps}))
    return steps


class _Stopwatch:
    """A reporter that adds up what a step of every stage takes, without its first one."""

    def __init__(self) -> None:
        self.seconds = 0.0
        self._began = 0.0

    def start(self, stage: str, step: int, steps: int) -> None:
        """Nothing to do yet: the first step warms up."""

    def step(self, stage: str, step: int, metrics: dict[str, float]) -> None:
        """Begin after the first step of a stage, end after the last."""
        if metrics and step == 1:
            self._began = time.monotonic()
        elif metrics and step == _TIMED + 1:
            self.seconds += (time.monotonic() - self._began) / _TIMED


__all__ = ["go_on_reading", "steps_within", "tune_labels", "tune_rollouts", "tuning_recipe"]
