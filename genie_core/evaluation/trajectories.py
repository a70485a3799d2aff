"""Pictures of rollouts: from any image (Fig. 10), and many futures of one frame (Fig. 14)."""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np

from genie_core.data import Frames
from genie_core.data.frames.grid import CodedFrame, report_grid
from genie_core.evaluation.material import Study
from genie_core.evaluation.metrics import Findings, ReportImage
from genie_core.inference import Simulator

LENGTH = 16
"""Number of frames in a trajectory."""
SHOWN = (1, 2, 4, 6, 8, 10, 12, 14, 16)
"""Indices of the frames that an image shows."""
HELD = 4
"""Number of frames for which each action is held."""
DIVERSE = 8
PER_IMAGE = 2

_SHOWN_WORDS = f"Left: the prompt; then frames {', '.join(map(str, SHOWN))}, in the colour of the code that led there."


def prompted_findings(study: Study, rng: np.random.Generator) -> Findings:
    """Return the image ``fig10``, from the study's prompts if there are any, else from a frame of its takes."""
    return Findings(images=[prompted_image(study, rng)])


def diverse_findings(study: Study, rng: np.random.Generator) -> Findings:
    """Return the image ``fig14``, from a frame of the study's takes."""
    return Findings(images=[diverse_image(study, rng)])


def prompted_image(
    study: Study, rng: np.random.Generator, rollouts: int = PER_IMAGE, codes: Sequence[int] | None = None
) -> ReportImage:
    """Draw Fig. 10: rows are rollouts from each image.

    Args:
        study: without prompts, a frame of its takes is used.
        rng: draws the codes and, if needed, the frame.
        rollouts: rows per image.
        codes: codes to draw sequences from; None: all.

    """
    prompts = study.prompts or [_held_out(study, rng)]
    source = "the given images" if study.prompts else "a held-out frame (give any image with --image)"
    rows: list[list[CodedFrame]] = []
    for done, prompt_1HWC in enumerate(prompts):
        study.progress("from any image", done, len(prompts))
        rows += _rows(study, prompt_1HWC, rollouts, codes, rng)
    return ReportImage(
        "fig10", "From any image (Fig. 10)", f"Rollouts from {source}. {_SHOWN_WORDS}", report_grid(rows)
    )


def diverse_image(
    study: Study,
    rng: np.random.Generator,
    prompt_1HWC: Frames | None = None,
    rollouts: int = DIVERSE,
    codes: Sequence[int] | None = None,
) -> ReportImage:
    """Draw Fig. 14: rows are random sequences of codes from one frame.

    Args:
        study: its bundle simulates.
        rng: draws the codes and, if needed, the frame.
        prompt_1HWC: the frame, at the model's size; None: a frame of the study's takes.
        rollouts: number of rows.
        codes: codes to draw sequences from; None: all.

    """
    study.progress("many ways on", 0, 1)
    first_1HWC = _held_out(study, rng) if prompt_1HWC is None else prompt_1HWC
    caption = f"Rows: random sequences of codes, each held for {HELD} frames. {_SHOWN_WORDS}"
    rows = _rows(study, first_1HWC, rollouts, codes, rng)
    return ReportImage("fig14", "Many ways on from one frame (Fig. 14)", caption, report_grid(rows))


def _held_out(study: Study, rng: np.random.Generator) -> Frames:
    """Return the first frame of one of the takes."""
    return study.takes[int(rng.integers(len(study.takes)))].film.frames_THWC[:1]


def _rows(
    study: Study, prompt_1HWC: Frames, count: int, codes: Sequence[int] | None, rng: np.random.Generator
) -> list[list[CodedFrame]]:
    """Return `count` rollouts from one prompt, each with its own random codes."""
    simulator = Simulator(study.bundle)
    drawn_from = np.array(range(simulator.num_codes) if codes is None else codes)
    codes_NT = drawn_from[rng.integers(len(drawn_from), size=(count, LENGTH // HELD))].repeat(HELD, axis=1)
    rollout = simulator.start(prompt_1HWC, count, study.draw_sampling(rng))
    drawn_TNHWC = np.stack([rollout.step(codes_N.tolist()) for codes_N in codes_NT.T])
    return [
        [CodedFrame(prompt_1HWC[0]), *(CodedFrame(drawn_TNHWC[t - 1, n], int(codes_NT[n, t - 1])) for t in SHOWN)]
        for n in range(count)
    ]


__all__ = ["diverse_findings", "diverse_image", "prompted_findings", "prompted_image"]
