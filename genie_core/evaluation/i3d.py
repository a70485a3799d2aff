"""I3D network of the Fréchet video distance (Unterthiner et al. 2018; Carreira and Zisserman 2017), loaded from a file.

The file is the TorchScript that video generation papers use, `i3d_torchscript.pt` of StyleGAN-V. Nothing is downloaded.
"""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path

import numpy as np
import torch
from torch import Tensor

from genie_core.data import Frames
from genie_core.errors import ModelError
from genie_core.statistics.metrics import Array

LEAST_FRAMES = 10
"""Shorter clips leave too little for the last pool, over 2 frames of one in 8: the architecture accepts 9 frames, and
users of the file state 10."""
FEATURES = 400
"""Number of features per clip: the values before the softmax, one per Kinetics class."""


@dataclass(frozen=True)
class I3D:
    """The loaded network."""

    path: Path
    network: torch.jit.ScriptModule
    device: torch.device

    @torch.inference_mode()
    def features(self, clips_BTHWC: Frames) -> Array:
        """(B, T >= 10, h, w, 3) uint8 -> (B, 400). The network itself scales colours and size (to 224 x 224).

        Raises:
            ModelError: the network cannot be called as I3D, or returns something else.

        """
        video_BCTHW = torch.from_numpy(clips_BTHWC).to(self.device).permute(0, 4, 1, 2, 3).float()
        try:
            out = self.network(video_BCTHW, rescale=True, resize=True, return_features=True)
        except RuntimeError as error:
            raise ModelError(
                f"{self.path} cannot be called as I3D is, with (video, rescale, resize, return_features) and video of "
                f"shape {tuple(video_BCTHW.shape)}: {_gist(error)}"
            ) from error
        wanted = (len(clips_BTHWC), FEATURES)
        if not isinstance(out, Tensor) or out.shape != wanted:
            got = f"shape {tuple(out.shape)}" if isinstance(out, Tensor) else type(out).__name__
            raise ModelError(f"{self.path} is not I3D: its features are of {got}, expected {wanted}")
        feature_BD: Array = out.double().cpu().numpy()
        if not np.isfinite(feature_BD).all():
            raise ModelError(f"{self.path} is not I3D: its features are not finite")
        return feature_BD


def load_i3d(path: Path, device: torch.device) -> I3D:
    """Load the TorchScript file and try it on one empty clip.

    TorchScript executes code from the file: use only files that you trust.

    Raises:
        ModelError: there is no such file, it is not TorchScript, or it is not I3D.

    """
    if not path.is_file():
        raise ModelError(f"{path}: no such file, expected I3D's weights as TorchScript (i3d_torchscript.pt)")
    try:
        network = torch.jit.load(str(path), map_location=device).eval()  # type: ignore[no-untyped-call]
    except (RuntimeError, ValueError) as error:
        raise ModelError(
            f"{path} is not TorchScript, as i3d_torchscript.pt is (plain weights will not do): {_gist(error)}"
        ) from error
    i3d = I3D(path, network, device)
    i3d.features(np.zeros((1, LEAST_FRAMES, 32, 32, 3), np.uint8))
    return i3d


def _gist(error: Exception) -> str:
    """Return the line of a TorchScript error that names the cause: the last one, if source code comes before it."""
    lines = [line.strip() for line in str(error).splitlines() if line.strip()]
    return (lines[-1] if lines and lines[0].startswith("The following") else lines[0] if lines else repr(error))[:200]


__all__ = ["FEATURES", "I3D", "LEAST_FRAMES", "load_i3d"]
