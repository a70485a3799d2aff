"""Supervised bound: the latent action model's encoder, trained on the ground truth that the probes predict.

It starts from the bundle's weights, so that short training shows what this architecture can read from these frames.
"""

from __future__ import annotations

import copy
from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
import torch
import torch.nn.functional as F
from torch import Tensor, nn

from genie_core.data import Frames
from genie_core.models.bundle import Bundle
from genie_core.models.lam import LatentActionModel
from genie_core.models.motion_lam import MotionActionModel
from genie_core.models.patches import to_pixels
from genie_core.progress import Progress
from genie_core.statistics.metrics import Array
from genie_core.statistics.probes import Scale

BATCH, CLIP_FRAMES, RATE = 16, 6, 4e-4


class _Reader(nn.Module):
    """The encoder of a latent action model, with a small network that predicts K numbers for each transition."""

    def __init__(self, lam: LatentActionModel | MotionActionModel, outputs: int) -> None:
        super().__init__()
        self.lam = copy.deepcopy(lam).requires_grad_(True)
        dim = lam.feature_dim
        self.head = nn.Sequential(nn.Linear(dim, dim), nn.GELU(), nn.Linear(dim, outputs))

    def forward(self, view_BTCHW: Tensor) -> Tensor:
        """(B, T, C, H, W) -> (B, T - 1, K)."""
        read: Tensor = self.head(self.lam.features(view_BTCHW).mean(dim=2))
        return read


@dataclass(frozen=True)
class Lesson:
    """Video with its ground truth.

    Attributes:
        frames_THWC: (T, h, w, 3) uint8 at the model's size and rate, T >= 2.
        truth_SK: K numbers to predict for each of the S = T - 1 transitions.

    """

    frames_THWC: Frames
    truth_SK: Array


def supervised_predictions(
    bundle: Bundle, train: Sequence[Lesson], test: Sequence[Frames], steps: int, seed: int, progress: Progress
) -> list[Array]:
    """Train on the truth of some videos and predict it for others; returns one (S, K) array per video.

    Torch's global random state is left unchanged.

    Args:
        bundle: its encoder is the starting point; it is not modified.
        train: at least one.
        test: (T, h, w, 3) uint8 each, as in `Lesson`.
        steps: training steps, at least 1.
        seed: of the batches and the head's weights.
        progress: receives the progress of training.

    """
    scale = Scale.of(np.concatenate([lesson.truth_SK for lesson in train]))
    scaled = [scale.apply(lesson.truth_SK) for lesson in train]
    with torch.random.fork_rng(devices=[]):
        torch.manual_seed(seed)
        reader = _Reader(bundle.genie.lam, scaled[0].shape[1]).to(bundle.device)
    optimizer = torch.optim.AdamW(reader.parameters(), lr=RATE, weight_decay=0.01)
    rng = np.random.default_rng(seed)
    for step in range(steps):
        progress("supervised bound", step, steps)
        optimizer.param_groups[0]["lr"] = RATE * (1 - step / steps)
        frames_BTHWC, target_BSK = _draw(train, scaled, rng)
        target = torch.from_numpy(target_BSK).float().to(bundle.device)
        loss = F.mse_loss(reader(_view(bundle, frames_BTHWC)), target)
        optimizer.zero_grad(set_to_none=True)
        loss.backward()  # type: ignore[no-untyped-call]
        optimizer.step()
    with torch.inference_mode():
        read = [reader(_view(bundle, frames_THWC[None]))[0].cpu().double().numpy() for frames_THWC in test]
    return [scale.undo(r) for r in read]


def _draw(lessons: Sequence[Lesson], targets: Sequence[Array], rng: np.random.Generator) -> tuple[Frames, Array]:
    """Draw a batch of clips, uniformly over all positions in all lessons, and the truth of their transitions."""
    length = min(CLIP_FRAMES, *(len(lesson.frames_THWC) for lesson in lessons))
    places = np.array([len(lesson.frames_THWC) - length + 1 for lesson in lessons])
    frames, rows = [], []
    for i in rng.choice(len(lessons), size=BATCH, p=places / places.sum()):
        first = int(rng.integers(places[i]))
        frames.append(lessons[i].frames_THWC[first : first + length])
        rows.append(targets[i][first : first + length - 1])
    return np.stack(frames), np.stack(rows)


def _view(bundle: Bundle, frames_BTHWC: Frames) -> Tensor:
    return bundle.genie.lam_view(to_pixels(torch.from_numpy(frames_BTHWC).to(bundle.device)))


__all__ = ["Lesson", "supervised_predictions"]
