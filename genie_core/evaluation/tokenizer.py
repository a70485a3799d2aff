"""How well the video tokenizer keeps frames: PSNR, SSIM, and how much of its codebook it uses."""

from __future__ import annotations

import numpy as np
import torch
from numpy.typing import NDArray

from genie_core.data import Frames
from genie_core.evaluation.figures import Findings, estimate, mean_of, ratio
from genie_core.evaluation.material import Study
from genie_core.evaluation.metrics import Array, frame_mse, psnr_db, ssim
from genie_core.models.bundle import Bundle
from genie_core.models.patches import to_frames, to_pixels


def tokenizer_findings(study: Study, rng: np.random.Generator) -> Findings:
    """Figures ``tokenizer.*`` of whole episodes, encoded and decoded with all of their past in reach."""
    errors, similarities, used = [], [], []
    codes = study.bundle.config.tokenizer.quantizer.codes
    for done, take in enumerate(study.takes):
        study.progress("tokenizer", done, len(study.takes))
        frames_THWC = take.film.frames_THWC
        drawn_THWC, token_TN = redraw(study.bundle, frames_THWC)
        errors.append(frame_mse(drawn_THWC, frames_THWC))
        similarities.append(ssim(drawn_THWC, frames_THWC))
        used.append(np.bincount(token_TN.ravel(), minlength=codes).astype(np.float64))
    frames = sum(len(e) for e in errors)
    sums_E2 = np.array([(e.sum(), len(e)) for e in errors])
    return Findings(
        {
            "tokenizer.psnr_db": estimate(sums_E2, lambda sums: psnr_db(ratio(sums)), frames, rng),
            "tokenizer.ssim": mean_of(similarities, rng),
            "tokenizer.codebook_use": estimate(np.stack(used), _share_used, frames, rng),
        }
    )


@torch.inference_mode()
def redraw(bundle: Bundle, frames_THWC: Frames) -> tuple[Frames, NDArray[np.int64]]:
    """Frames of the model's size as the tokenizer draws them again, and their tokens (T, N)."""
    tokenizer = bundle.genie.tokenizer
    pixels_1TCHW = to_pixels(torch.from_numpy(frames_THWC).to(bundle.device)[None])
    token_1TN = tokenizer.encode(pixels_1TCHW)
    drawn_THWC: Frames = to_frames(tokenizer.decode(token_1TN))[0].cpu().numpy()
    token_TN: NDArray[np.int64] = token_1TN[0].cpu().numpy()
    return drawn_THWC, token_TN


def _share_used(count_XK: Array) -> Array:
    share: Array = (count_XK > 0).mean(axis=-1)
    return share


__all__ = ["redraw", "tokenizer_findings"]
