"""Distances between simulated and real video as distributions: FVD, and one in the tokenizer's own features.

Neither says whether a rollout is the right one; for that see PSNR and SSIM, frame by frame, in `rollouts`.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass

import numpy as np
import torch

from genie_core.data import Frames
from genie_core.evaluation.frechet import estimate_distance
from genie_core.evaluation.i3d import LEAST_FRAMES, load_i3d
from genie_core.evaluation.material import Start, Study, by_take
from genie_core.evaluation.metrics import Findings, Measured, Metric, Missing
from genie_core.models.bundle import Bundle
from genie_core.models.patches import to_pixels
from genie_core.statistics.metrics import Array

COMPARED = {"inferred": "", "tokenizer": "_redrawn", "copy": "_copy"}
"""Videos compared with the real ones, and the suffixes of their metrics' names."""
FVD, OWN = "dynamics.fvd", "dynamics.tokenizer_frechet_distance"
CLIP_FRAMES = "dynamics.clip_frames"
KEYS = (CLIP_FRAMES, *(f"{name}{ending}" for name in (OWN, FVD) for ending in COMPARED.values()))
"""Names of all metrics."""

LEAST_SPREAD = 0.01
"""Least spread of a feature over real clips, as a share of the mean spread."""

Features = Callable[[Frames], Array]
"""Maps clips (B, T, h, w, 3) uint8 to (B, D)."""


@dataclass(frozen=True)
class ClipReader:
    """Extracts features of clips of `frames` frames: `spaces` maps metrics to extractors, or why there are none."""

    frames: int
    spaces: Mapping[str, Features | Missing]

    def read(self, tracks: Mapping[str, Frames]) -> dict[str, Array]:
        """Return features (1 + len(COMPARED), D) by metric, of the real clip and those compared with it.

        Args:
            tracks: ``real`` and each of `COMPARED`, start frame first; the start frame, which all share, is skipped.

        """
        clips_BTHWC = np.stack([tracks[name][1 : self.frames + 1] for name in ("real", *COMPARED)])
        return {name: space(clips_BTHWC) for name, space in self.spaces.items() if not isinstance(space, Missing)}


def clip_reader(study: Study, frames_G: Sequence[int]) -> ClipReader:
    """Decide which features to extract from rollouts of the given numbers of frames.

    Clips must have the same length: the longest that half of the rollouts reach. Longer ones are cut, shorter ones
    skipped.

    Raises:
        ModelError: the I3D file cannot be used.

    """
    frames = sorted(frames_G)[(len(frames_G) - 1) // 2]
    return ClipReader(frames, {OWN: _own_features(study.bundle), FVD: _i3d_features(study, frames)})


def _i3d_features(study: Study, frames: int) -> Features | Missing:
    if study.options.i3d is None:
        return Missing("it takes I3D's weights, `--i3d FILE`")
    if frames < LEAST_FRAMES:
        return Missing(f"I3D takes clips of {LEAST_FRAMES} frames at least, these have {frames}")
    return load_i3d(study.options.i3d, study.bundle.device).features


def _own_features(bundle: Bundle) -> Features:
    return lambda clips_BTHWC: tokenizer_features(bundle, clips_BTHWC)


@torch.inference_mode()
def tokenizer_features(bundle: Bundle, clips_BTHWC: Frames) -> Array:
    """Return appearance and motion features of clips, from the latents that the tokenizer would quantize.

    For each of a latent's D numbers: the mean over all frames and positions, and the mean absolute change from one
    frame to the next at a position. Changes are pooled over space afterwards: motions that cancel out still count.

    Args:
        bundle: its tokenizer is used.
        clips_BTHWC: (B, T >= 2, h, w, 3) uint8 at the model's size.

    Returns:
        (B, 2 D).

    """
    pixels_BTCHW = to_pixels(torch.from_numpy(clips_BTHWC).to(bundle.device))
    latent_BTND = bundle.genie.tokenizer.latents(pixels_BTCHW).double()
    change_BD = latent_BTND.diff(dim=1).abs().mean(dim=(1, 2))
    features: Array = torch.cat((latent_BTND.mean(dim=(1, 2)), change_BD), dim=1).cpu().numpy()
    return features


def distance_findings(
    reader: ClipReader, starts: Sequence[Start], found: Sequence[Mapping[str, Array]], rng: np.random.Generator
) -> Findings:
    """Return metrics `KEYS`.

    Args:
        reader: of the clips.
        starts: of the clips that are long enough, at least one.
        found: features of each, from the reader.
        rng: draws the resamples.

    """
    episodes = len({start.take for start in starts})
    metrics: dict[str, Measured] = {
        # No interval: it is a fact about the rollouts, not a measurement.
        CLIP_FRAMES: Metric(value=reader.frames, ci95=None, n=len(starts), episodes=episodes)
    }
    for name, space in reader.spaces.items():
        if isinstance(space, Missing):
            metrics |= dict.fromkeys((f"{name}{ending}" for ending in COMPARED.values()), space)
            continue
        feature_GVD = np.stack([features[name] for features in found])
        if name == OWN:
            feature_GVD /= _spread(feature_GVD[:, 0])
        real, *others = (by_take(starts, list(feature_GVD[:, v])) for v in range(feature_GVD.shape[1]))
        for ending, other in zip(COMPARED.values(), others, strict=True):
            # Not shrunk: FVD as the literature defines it.
            metrics[f"{name}{ending}"] = estimate_distance(real, other, rng, shrink=name == OWN)
    return Findings(metrics)


def _spread(real_GD: Array) -> Array:
    """Return the standard deviation of each feature over the real clips, the unit of distances; never 0."""
    spread_D: Array = real_GD.std(axis=0)
    return np.maximum(spread_D, LEAST_SPREAD * spread_D.mean()) if spread_D.any() else np.ones_like(spread_D)


__all__ = ["COMPARED", "KEYS", "ClipReader", "clip_reader", "distance_findings", "tokenizer_features"]
