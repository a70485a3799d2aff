"""How unlike training motion is: the share of optical flow that a latent leaves, by the model's own decoder.

Training teaches a model that reads motion to tell the flow of its training video from 64 numbers. Video of that kind
that it never saw is told as well, and other motion worse: what moves there is not what latents have numbers for.
"""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np
import torch
import torch.nn.functional as F
from numpy.typing import NDArray

from genie_core.data import Frames
from genie_core.evaluation.metrics import Measured, Missing, mean_of
from genie_core.models.bundle import Bundle
from genie_core.models.config import WHOLE
from genie_core.models.motion_lam import MotionActionModel

_STILL = 0.02
"""Mean square of a pair's flow, in pixels of a frame of 64 a side, up to which nothing moves."""
_MOST = 2.0
"""Share of a pair from which on more counts no more: of flow that is noise more than all can be left."""


@torch.inference_mode()
def flow_left(
    bundle: Bundle, films: Sequence[Frames], latents: Sequence[NDArray[np.floating]], rng: np.random.Generator
) -> Measured:
    """Measure the mean share of the flow's energy that is left by what latents are decoded to; 0 nothing, 1 all.

    Args:
        bundle: whose latents they are.
        films: (T, H, W, 3) uint8 each, at the model's size.
        latents: (T - 1, D) each, of the pairs of consecutive frames.
        rng: draws the resamples of the interval over films.

    """
    lam = bundle.genie.lam
    if not isinstance(lam, MotionActionModel):
        return Missing("the model reads frames, not optical flow")
    shares = []
    for film_THWC, latent_SD in zip(films, latents, strict=True):
        x_TCHW = bundle.pixels(film_THWC[None])[0]
        pairs = lam.see(x_TCHW[:-1], x_TCHW[1:])
        steady_SD = torch.tensor(latent_SD, dtype=torch.float32, device=x_TCHW.device)
        steady_SD[:, -WHOLE:] = 0  # the motion of the whole picture has been taken out of the pairs' flow
        told_S2hw = lam.decoded_flow(x_TCHW[:-1], steady_SD)
        flow_S2hw = F.adaptive_avg_pool2d(pairs.there_NCHW, (told_S2hw.shape[2], told_S2hw.shape[3]))
        own_S = flow_S2hw.square().flatten(1).mean(1)
        left_S = (told_S2hw - flow_S2hw).square().flatten(1).mean(1) / (own_S + _STILL)
        shares.append(left_S[own_S > _STILL].clamp(max=_MOST).double().cpu().numpy())
    return mean_of(shares, rng) if any(map(len, shares)) else Missing("nothing moves in the pictures")


__all__ = ["flow_left"]
