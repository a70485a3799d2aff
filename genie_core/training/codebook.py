"""Codebooks of a trained encoder: k-means on its latents, no code too common, and numbered as another bundle's are."""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from dataclasses import dataclass

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor

from genie_core.data import resize_frames
from genie_core.models.bundle import Bundle
from genie_core.models.genie import Genie
from genie_core.models.motion_lam import MotionActionModel
from genie_core.models.patches import to_pixels
from genie_core.models.quantizer import VectorQuantizer
from genie_core.statistics.assignment import assign
from genie_core.statistics.translation import Translation, joint_counts, translate

MOST_COMMON = 0.6
"""Largest share of the moving transitions that one code may have."""

_RESTARTS = 8
_SAME = 0.5
"""Two codes mean the same where the squared difference of what they do is less than this share of what both do."""
_STILL = 0.05
"""Added to what both do, a share of what a code does usually: two codes that do next to nothing mean the same."""


@dataclass(frozen=True)
class Renumbering:
    """Renumbering of codes after those of another codebook.

    Attributes:
        order_K: (K,) code k is now what k-means called order_K[k].
        same_K: (K,) bool, whether it means what code k of the other codebook does.

    """

    order_K: NDArray[np.int64]
    same_K: NDArray[np.bool_]


@torch.no_grad()
def fit_codes(quantizer: VectorQuantizer, latent_MD: Tensor, moving_M: Tensor, seed: int) -> None:
    """Fit a codebook by k-means, then split codes that would label more than `MOST_COMMON` of the moving transitions.

    Args:
        quantizer: its codebook is replaced.
        latent_MD: (M, D) latents, at least as many as codes.
        moving_M: (M,) bool, whether something moves in each transition.
        seed: of the first centres; the same arguments give the same codes.

    """
    state = torch.get_rng_state()
    torch.manual_seed(seed)
    try:
        quantizer.fit(latent_MD, restarts=_RESTARTS)
        for _ in range(quantizer.config.codes):
            code_M = quantizer.nearest(latent_MD)
            count_K = torch.bincount(code_M[moving_M], minlength=quantizer.config.codes)
            if count_K.sum() == 0 or count_K.max() <= MOST_COMMON * count_K.sum():
                break
            quantizer.split(int(count_K.argmax()), latent_MD)
    finally:
        torch.set_rng_state(state)


@torch.no_grad()
def renumber(quantizer: VectorQuantizer, meaning_KX: Tensor, wanted_KX: Tensor) -> Renumbering:
    """Number the codes of `quantizer` as those of an equally large codebook, so that their meanings agree best.

    Args:
        quantizer: its codes change places.
        meaning_KX: (K, X) what each of its codes does, see `meanings`.
        wanted_KX: the same of the other codebook, of the same frames.

    """
    cost_KK = _unlike(wanted_KX, meaning_KX)
    order_K = assign(cost_KK)
    quantizer.reorder(torch.from_numpy(order_K))
    return Renumbering(order_K, cost_KK[np.arange(len(order_K)), order_K] < _SAME)


@torch.no_grad()
def number_as(genie: Genie, other: Bundle, clips: Iterable[NDArray[np.uint8]]) -> Translation:
    """Number the codes of `genie` as those of another bundle that mean the same, on transitions that both label.

    Args:
        genie: its codes change places; its dynamics model heeds the codes themselves and not their numbers.
        other: the bundle whose numbers are wanted; codes that it has more of, or less, are left over.
        clips: (B, T, H, W, 3) uint8 each, at the size and rate of `genie`.

    Returns:
        How codes translate, before they changed places.

    """
    lam = genie.lam
    joint_KL = np.zeros((len(other.codebook), lam.quantizer.config.codes), np.int64)
    for clips_BTHWC in clips:
        new_N = lam.quantizer.nearest(latents_of(genie, clips_BTHWC)).cpu().numpy()
        batch, frames = clips_BTHWC.shape[:2]
        flat = clips_BTHWC.reshape(batch * frames, *clips_BTHWC.shape[2:])
        resized = resize_frames(flat, other.config.height, other.config.width)
        view_BTHWC = resized.reshape(batch, frames, *resized.shape[1:])
        old_N = other.genie.lam.quantizer.nearest(latents_of(other.genie, view_BTHWC)).cpu().numpy()
        joint_KL += joint_counts(old_N, new_N, *joint_KL.shape)
    translation = translate(joint_KL)
    lam.quantizer.reorder(torch.from_numpy(order_of(translation.old_of_new_L)))
    return translation


def order_of(old_of_new_L: NDArray[np.int64]) -> NDArray[np.int64]:
    """Return the order of new codes, (L,), that puts each at its old number, and those without one where there is room.

    Code k becomes what order[k] was.
    """
    codes = len(old_of_new_L)
    order = np.full(codes, -1)
    for new, old in enumerate(old_of_new_L.tolist()):
        if 0 <= old < codes:
            order[old] = new
    left = iter(sorted(set(range(codes)) - set(order[order >= 0].tolist())))
    return np.array([next(left) if new < 0 else new for new in order.tolist()], np.int64)


@torch.no_grad()
def latents_of(genie: Genie, clips_BTHWC: NDArray[np.uint8]) -> Tensor:
    """Return the latents of all transitions of clips, (B, T, H, W, 3) uint8 of the model's size: (B * (T - 1), D)."""
    device = genie.lam.quantizer.codebook.device
    pixels_BTCHW = to_pixels(torch.from_numpy(np.ascontiguousarray(clips_BTHWC)).to(device))
    latent_ND: Tensor = genie.lam.latents(genie.lam_view(pixels_BTCHW)).flatten(0, 1).float()
    return latent_ND


def _unlike(a_KX: Tensor, b_KX: Tensor) -> NDArray[np.float64]:
    """Distances (K, K): 0 where two codes do the same, about 1 where they are unrelated, 2 where they are opposites."""
    a, b = a_KX.double(), b_KX.double()
    a_size, b_size = a.square().sum(1), b.square().sum(1)
    both = a_size[:, None] + b_size[None]
    apart = (both - 2 * a @ b.T).clamp(min=0)
    usual = torch.cat((a_size, b_size)).median()
    unlike: NDArray[np.float64] = ((apart) / (both + _STILL * usual + 1e-12)).numpy()
    return unlike


@torch.no_grad()
def meanings(genie: Genie, codebook_KD: Tensor, frames_NCHW: Tensor) -> Tensor:
    """Return what each code does: (K, X), the flow that it makes of frames; of models without flow, the code itself.

    Args:
        genie: the networks of the codebook.
        codebook_KD: (K, D).
        frames_NCHW: frames of the data, the networks' input.

    """
    lam = genie.lam
    if not isinstance(lam, MotionActionModel):
        return codebook_KD
    flows = [lam.decoded_flow(frames_NCHW, code_D.expand(len(frames_NCHW), -1)).flatten() for code_D in codebook_KD]
    return torch.stack(flows)


def matched(renumberings: Sequence[Renumbering]) -> str:
    """Say in words how many codes kept their meaning."""
    return ", ".join(f"{int(r.same_K.sum())} of {len(r.same_K)}" for r in renumberings)


__all__ = [
    "MOST_COMMON",
    "Renumbering",
    "fit_codes",
    "latents_of",
    "matched",
    "meanings",
    "number_as",
    "order_of",
    "renumber",
]
