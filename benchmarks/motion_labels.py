"""Times labelling with the shipped `motion`, optical flow included, beside the shipped `tiny`, in one core."""

from __future__ import annotations

import time
from functools import partial
from statistics import median

import cv2
import numpy as np
import torch

from benchmarks.measured import Measured
from benchmarks.row import Samples
from benchmarks.timing import ROUNDS, interleaved, ratios
from genie_core.bundles import bundle_folder
from genie_core.data import open_dataset
from genie_core.data.samples import sample_path
from genie_core.evaluation.flow import optical_flow
from genie_core.inference import Labeller
from genie_core.models.bundle import load_bundle

_BATCH = 8
"""Clips of 40 frames that are labelled in a round."""


def one_thread(quick: bool) -> list[Measured]:
    """Frames a second of CPU time of each bundle, and of the flow alone."""
    torch.set_num_threads(1)
    cv2.setNumThreads(1)
    clips = [e.frames(0, e.num_frames) for e in open_dataset(sample_path()).episodes]
    clips = [clips[i % len(clips)] for i in range(2 if quick else _BATCH)]
    frames = sum(map(len, clips))
    motion, tiny = (Labeller(load_bundle(bundle_folder(name))) for name in ("motion", "tiny"))
    together = np.concatenate(clips)
    seconds = interleaved(
        {
            "motion": partial(motion.label_many, clips, 1),
            "tiny": partial(tiny.label_many, clips, 1),
            "flow_both_ways": lambda: [
                optical_flow(together[:-1], together[1:]),
                optical_flow(together[1:], together[:-1]),
            ],
        },
        2 if quick else ROUNDS,
        clock=time.process_time,
    )
    by_round = ratios(seconds["tiny"], seconds["motion"])
    rates = {name: Samples.of([frames / s for s in taken], "frames/s") for name, taken in seconds.items()}
    facts: dict[str, float | int | str] = {
        "threads": 1,
        "batch": f"{len(clips)} clips, {frames} frames of 64 x 64",
        "opencv": cv2.__version__,
    }
    measured = {**rates, "over_tiny": Samples.of(by_round, "x")}
    return [Measured(value=median(rates["motion"].samples), measured=measured, facts=facts)]


__all__ = ["one_thread"]
