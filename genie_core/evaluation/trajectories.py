"""Pictures of what a model can draw: from any image (Fig. 10), and many ways on from one frame (Fig. 14)."""

from __future__ import annotations

import numpy as np

from genie_core.data import Frames
from genie_core.evaluation.figures import Findings, Picture
from genie_core.evaluation.material import Study
from genie_core.evaluation.pictures import Cell, frame_grid
from genie_core.inference import Simulator

LENGTH = 16
"""Frames of a trajectory."""
SHOWN = (1, 2, 4, 6, 8, 10, 12, 14, 16)
"""Which of them a picture shows."""
HELD = 4
"""Frames for which an action is held before the next is drawn."""
DIVERSE = 8
PER_IMAGE = 2


def trajectory_findings(study: Study, rng: np.random.Generator) -> Findings:
    """Pictures ``fig10`` (where images are given; else from a frame of the data) and ``fig14``."""
    simulator = Simulator(study.bundle)
    films = [take.film.frames_THWC for take in study.takes]
    first_1HWC = films[int(rng.integers(len(films)))][:1]
    prompts = study.prompts or [first_1HWC]
    rows: list[list[Cell]] = []
    for done, prompt_1HWC in enumerate(prompts):
        study.progress("trajectories", done, len(prompts) + 1)
        rows += _rows(study, simulator, prompt_1HWC, PER_IMAGE, rng)
    study.progress("trajectories", len(prompts), len(prompts) + 1)
    diverse = _rows(study, simulator, first_1HWC, DIVERSE, rng)
    source = "the given images" if study.prompts else "a held-out frame (give any picture with --image)"
    shown = f"Left: the prompt; then frames {', '.join(map(str, SHOWN))}, in the colour of the code that led there."
    return Findings(
        pictures=[
            Picture("fig10", "From any image (Fig. 10)", f"Rollouts from {source}. {shown}", frame_grid(rows)),
            Picture(
                "fig14",
                "Many ways on from one frame (Fig. 14)",
                f"Rows: random sequences of codes, each held for {HELD} frames. {shown}",
                frame_grid(diverse),
            ),
        ]
    )


def _rows(
    study: Study, simulator: Simulator, prompt_1HWC: Frames, count: int, rng: np.random.Generator
) -> list[list[Cell]]:
    """`count` rollouts from one prompt, each with its own random codes."""
    codes_NT = rng.integers(simulator.num_codes, size=(count, LENGTH // HELD)).repeat(HELD, axis=1)
    rollout = simulator.start(prompt_1HWC, count, study.draw_sampling(rng))
    drawn_TNHWC = np.stack([rollout.step(codes_N.tolist()) for codes_N in codes_NT.T])
    return [
        [Cell(prompt_1HWC[0]), *(Cell(drawn_TNHWC[t - 1, n], int(codes_NT[n, t - 1])) for t in SHOWN)]
        for n in range(count)
    ]


__all__ = ["trajectory_findings"]
