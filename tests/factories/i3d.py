"""A stand-in for the I3D network of FVD: another function, called as I3D is and stored as its file is."""

from __future__ import annotations

from pathlib import Path

import torch
from torch import Tensor, nn


class StandIn(nn.Module):
    """The mean colour of a video and its mean change from frame to frame, in I3D's units, repeated to 400 numbers.

    Like I3D it pools over time until 2 frames of one in 8 are left, and fails where there are not as many.
    """

    def __init__(self, numbers: int = 400) -> None:
        super().__init__()
        self.numbers = numbers

    def forward(self, x: Tensor, rescale: bool = False, resize: bool = False, return_features: bool = False) -> Tensor:
        if rescale:
            x = x / 255 * 2 - 1
        if resize:
            x = torch.nn.functional.interpolate(x, [x.size(2), 224, 224])
        torch.nn.functional.avg_pool3d(x[:, :, 1::8], [2, 7, 7])
        change = (x[:, :, 1:] - x[:, :, :-1]).abs().mean([2, 3, 4])
        out = torch.cat([x.mean([2, 3, 4]), change], 1).repeat(1, 67)[:, : self.numbers]
        return out if return_features else out.softmax(1)


def save_network(network: nn.Module, path: Path) -> Path:
    """Store a network as TorchScript."""
    torch.jit.script(network).save(str(path))
    return path


def make_i3d(path: Path) -> Path:
    """A stand-in for i3d_torchscript.pt at `path`."""
    return save_network(StandIn(), path)
