"""Quality of the video tokenizer: PSNR, SSIM, and use of its codebook."""

from __future__ import annotations

import numpy as np
import torch
from numpy.typing import NDArray

from genie_core.data import Frames
from genie_core.evaluation.material import Study
from genie_core.evaluation.metrics import Findings, Metric, mean_of, of_means
from genie_core.models.bundle import Bundle
from genie_core.models.patches import to_frames, to_pixels
from genie_core.statistics.metrics import frame_mse, psnr_db, ssim


def tokenizer_findings(study: Study, rng: np.random.Generator) -> Findings:
    """Return metrics ``tokenizer.*`` of whole episodes, encoded and decoded with their full past."""
    errors, similarities, used = [], [], []
    codes = study.bundle.config.tokenizer.quantizer.codes
    for done, take in enumerate(study.takes):
        study.progress("tokenizer", done, len(study.takes))
        frames_THWC = take.film.frames_THWC
        drawn_THWC, token_TN = redraw(study.bundle, frames_THWC)
        errors.append(frame_mse(drawn_THWC, frames_THWC))
        similarities.append(ssim(drawn_THWC, frames_THWC))
        used.append(np.bincount(token_TN.ravel(), minlength=codes))
    share_used = float((np.sum(used, axis=0) > 0).mean())
    return Findings(
        {
            "tokenizer.psnr_db": of_means(errors, psnr_db, rng),
            "tokenizer.ssim": mean_of(similarities, rng),
            # No interval: a resample of episodes never has a code that the whole has not.
            "tokenizer.codebook_use": Metric(
                value=share_used, ci95=None, n=sum(map(len, errors)), episodes=len(study.takes)
            ),
        }
    )


@torch.inference_mode()
def redraw(bundle: Bundle, frames_THWC: Frames) -> tuple[Frames, NDArray[np.int64]]:
    """Return frames of the model's size as the tokenizer reconstructs them, and their tokens (T, N).

    A model without one moves frames as they are: they come back unchanged, with no tokens.
    """
    if not bundle.config.simulates:
        return frames_THWC, np.zeros((len(frames_THWC), 0), np.int64)
    tokenizer = bundle.genie.tokenizer
    pixels_1TCHW = to_pixels(torch.from_numpy(frames_THWC).to(bundle.device)[None])
    token_1TN = tokenizer.encode(pixels_1TCHW)
    drawn_THWC: Frames = to_frames(tokenizer.decode(token_1TN))[0].cpu().numpy()
    token_TN: NDArray[np.int64] = token_1TN[0].cpu().numpy()
    return drawn_THWC, token_TN


__all__ = ["redraw", "tokenizer_findings"]
