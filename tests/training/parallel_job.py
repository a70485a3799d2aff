"""One process of a run of several: ``torchrun ... -m tests.training.parallel_job DATA OUT LOSSES [STAGE STEP]``.

The first process writes the losses that it reports to LOSSES, at each step, and is killed at STEP of STAGE if given.
With a last word ``shard`` the dynamics model is divided.
"""

from __future__ import annotations

import json
import os
import signal
import sys
from dataclasses import replace
from pathlib import Path

from genie_core.data import open_dataset
from genie_core.models.presets import preset
from genie_core.training.config import TrainingConfig, training_preset
from genie_core.training.pipeline import TrainingJob, TrainingSplit, train

Losses = dict[str, float]


class Recorder:
    """Keeps every loss that is reported, in a file too if one is given; kills this process at one step of one stage."""

    def __init__(self, stop: tuple[str, int] | None = None, file: Path | None = None) -> None:
        self.file = file
        self.losses: Losses = {}
        self.stop = stop

    def start(self, stage: str, step: int, steps: int) -> None:
        pass

    def step(self, stage: str, step: int, metrics: dict[str, float]) -> None:
        if "loss" in metrics:
            self.losses[f"{stage} {step}"] = metrics["loss"]
        if self.file is not None:
            self.file.write_text(json.dumps(self.losses))
        if (stage, step) == self.stop:
            os.kill(os.getpid(), signal.SIGKILL)


def recipe(pieces: int) -> TrainingConfig:
    values = training_preset("nano").model_dump()
    for stage in ("tokenizer", "lam", "dynamics"):
        values[stage] |= {"steps": 6, "pieces": pieces}
    values["tokenizer_training"] |= {"continuous_steps": 2}
    values["lam_training"] |= {"continuous_steps": 2, "quantized_share": 0.5, "lead": True}
    return TrainingConfig.model_validate(values)


def job(data: Path, out: Path, pieces: int = 2) -> TrainingJob:
    episodes = list(open_dataset(data).episodes)
    return TrainingJob(preset("nano"), recipe(pieces), TrainingSplit(episodes[:2], episodes[2:]), out, rollouts=1)


def main() -> None:
    data, out, losses, *more = sys.argv[1:]
    recorder = Recorder((more[0], int(more[1])) if more else None, Path(losses))
    run = replace(job(Path(data), Path(out)), shard="shard" in more)
    train(run, recorder, checkpoint_seconds=0, report_every=1)


if __name__ == "__main__":
    main()
