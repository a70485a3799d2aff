"""Clips with the latents between their frames, which are read once for all steps: flow is most of their cost.

Latents of a motion model are negated where time runs backwards, and add up over frames; so one number a frame and
component serves clips in both directions and of several strides. Mirrored frames have latents of their own.
"""

from __future__ import annotations

import hashlib
import os
from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass
from pathlib import Path

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor

from genie_core.data.storage.atomic import new_file
from genie_core.data.storage.lock import waiting_lock
from genie_core.models.motion_lam import MotionActionModel
from genie_core.models.patches import to_pixels
from genie_core.training.clips import ClipStore, Span

_CHUNK = 64
"""Pairs that are read together."""

_ON_DEVICE_BYTES = 8 << 30
"""Largest frames of a store that are kept on a GPU: cutting clips out of them there costs nothing."""


@dataclass(frozen=True)
class LabelledClips:
    """A store's frames, and the latents between them.

    Attributes:
        store: the frames.
        latent_2ND: (2, N, D) float16, of each frame and the one a step of the model later: as they are, and mirrored;
            zero where the episode ends.
        frames: all frames on the device of training; None: they stay where they are.

    """

    store: ClipStore
    latent_2ND: Tensor
    frames: Tensor | None

    @staticmethod
    def of(store: ClipStore, latent_2ND: NDArray[np.float16], device: torch.device) -> LabelledClips:
        """Move to the device of training what is small enough."""
        frames = None
        held = store.frames
        if device.type != "cpu" and isinstance(held, np.ndarray) and held.nbytes <= _ON_DEVICE_BYTES:
            frames = torch.tensor(held, device=device)
        return LabelledClips(store, torch.tensor(latent_2ND, device=device), frames)

    def draw(self, rng: np.random.Generator, batch: int, length: int, strides: int) -> NDArray[np.int64]:
        """Draw clips of `length` frames that are 1 .. `strides` steps of the model apart, as far as they fit.

        Sources are weighted as in `ClipStore.sample_apart`; episodes too short at the model's rate are left out.

        Returns:
            (batch, length + 1): the numbers of a clip's frames, and last how many frames a step of the model is.

        """
        spans = self.store.spans
        rows = np.empty((batch, length + 1), np.int64)
        for clip, i in enumerate(rng.choice(len(spans), size=batch, p=self.store.shares(length, at_rate=True))):
            span = spans[i]
            gap = span.step * int(rng.integers(1, strides + 1))
            gap = min(gap, max(1, (span.count - 1) // (length - 1) // span.step) * span.step)
            first = span.first + int(rng.integers(span.count - (length - 1) * gap))
            rows[clip, :length], rows[clip, length] = first + gap * np.arange(length), span.step
        return rows

    def read(self, row_BX: Tensor) -> tuple[Tensor, Tensor]:
        """Read the clips that `draw` drew; half of them are mirrored, and half of them reversed in time.

        Returns:
            Frames (B, T, 3, H, W) in [-0.5, 0.5] and the latents between them (B, T - 1, D).

        """
        row_BT, step_B1 = row_BX[:, :-1], row_BX[:, -1:]
        if self.frames is not None:
            clip_BTHWC = self.frames[row_BT]
        else:
            clip_BTHWC = torch.from_numpy(np.asarray(self.store.frames[row_BT.cpu().numpy()])).to(row_BX.device)
        pixels_BTCHW = to_pixels(clip_BTHWC)
        chance_2B = torch.rand(2, len(row_BT), device=row_BX.device)
        mirrored_B, reversed_B = chance_2B > 0.5
        stride_B1 = (row_BT[:, 1:2] - row_BT[:, :1]) // step_B1
        latent_BTD = torch.zeros((), device=row_BX.device)
        for i in range(int(stride_B1.max())):
            at_BT = row_BT[:, :-1] + i * step_B1
            part_BTD = self.latent_2ND[mirrored_B.long()[:, None], at_BT].float()
            latent_BTD = latent_BTD + part_BTD * (i < stride_B1)[:, :, None]
        mirrored_B1111, reversed_B1111 = (x_B[:, None, None, None, None] for x_B in (mirrored_B, reversed_B))
        pixels_BTCHW = torch.where(mirrored_B1111, pixels_BTCHW.flip(-1), pixels_BTCHW)
        pixels_BTCHW = torch.where(reversed_B1111, pixels_BTCHW.flip(1), pixels_BTCHW)
        return pixels_BTCHW, torch.where(reversed_B[:, None, None], -latent_BTD.flip(1), latent_BTD)


def kept_latents(
    lam: MotionActionModel, store: ClipStore, folder: Path, progress: Callable[[int], None] = lambda pairs: None
) -> NDArray[np.float16]:
    """Return a store's latents as `LabelledClips` has them: of an earlier run in `folder`, or read and kept there."""
    path = latents_file(lam, store, folder)
    folder.mkdir(parents=True, exist_ok=True)
    with waiting_lock(folder / "latents.lock"):
        if not path.exists():
            latent_2ND = read_latents(lam, store, progress)
            with new_file(path) as temporary, temporary.open("wb") as file:
                np.save(file, latent_2ND, allow_pickle=False)
    kept: NDArray[np.float16] = np.load(path, allow_pickle=False)
    return kept


def latents_file(lam: MotionActionModel, store: ClipStore, folder: Path) -> Path:
    """Return where a store's latents are kept, which depends on the model that reads them."""
    digest = hashlib.sha256(str((*store.frames.shape, store.spans)).encode())
    for name, tensor in sorted(lam.state_dict().items()):
        digest.update(name.encode())
        digest.update(tensor.detach().float().cpu().numpy().tobytes())
    return folder / f"latents-{digest.hexdigest()[:16]}.npy"


def read_latents(
    lam: MotionActionModel, store: ClipStore, progress: Callable[[int], None] = lambda pairs: None, threads: int = 0
) -> NDArray[np.float16]:
    """Read the latents of all pairs of frames that are a step of the model apart, in threads: as many as cores, if 0.

    Returns:
        (2, N, D) float16, as in `LabelledClips`.

    """
    latent_2ND = np.zeros((2, store.frames.shape[0], lam.config.quantizer.dim), np.float16)
    device = lam.quantizer.codebook.device
    work = [(span, at) for span in store.spans for at in range(0, span.count - span.step, _CHUNK)]

    @torch.no_grad()  # of this thread
    def read(part: tuple[Span, int]) -> int:
        span, at = part
        first, count = span.first + at, min(_CHUNK, span.count - span.step - at)
        frames = torch.from_numpy(np.array(store.frames[first : first + count + span.step]))
        pixels = to_pixels(frames[None].to(device))[0]
        for mirrored in (0, 1):
            seen = pixels.flip(-1) if mirrored else pixels
            latent = lam.latents_of(lam.features_of(lam.see(seen[:count], seen[span.step :])))
            latent_2ND[mirrored, first : first + count] = latent.float().cpu().numpy()
        return count

    done = 0
    with ThreadPoolExecutor(threads or os.cpu_count() or 1) as pool:
        for count in pool.map(read, work):
            done += count
            progress(done)
    return latent_2ND


__all__ = ["LabelledClips", "kept_latents", "latents_file", "read_latents"]
