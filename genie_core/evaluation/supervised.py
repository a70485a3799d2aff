"""Supervised inverse dynamics: the latent action model's encoder, trained on the truth that the probes predict.

It starts from the bundle's weights, and learns until its error on lessons set aside stops falling: then what it reads
bounds what a label of these frames could tell. Where the steps run out before, nothing is bounded.
"""

from __future__ import annotations

import copy
from collections.abc import Mapping, Sequence
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
CHECK_EVERY, PATIENCE = 20, 5
"""Steps between checks, and checks in a row without a smaller error after which it has stopped falling."""
ASIDE, CHECKED = 0.2, 48
"""Share of the lessons that is set aside, and the clips of these that are checked on."""


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


@dataclass(frozen=True)
class Supervised:
    """What supervised inverse dynamics reads.

    Attributes:
        predicted: (S, K) for each video.
        settled: whether its error on the lessons set aside stopped falling: only then is it a bound.
        steps: steps taken.

    """

    predicted: Sequence[Array]
    settled: bool
    steps: int


def supervised_predictions(
    bundle: Bundle, train: Sequence[Lesson], test: Sequence[Frames], steps: int, seed: int, progress: Progress
) -> Supervised:
    """Train on the truth of some videos and predict it for others.

    The weights are kept that were best on a fifth of the lessons, which is set aside, whole ones. Torch's global random
    state is left unchanged.

    Args:
        bundle: its encoder is the starting point; it is not modified.
        train: at least one; of a single one nothing can be set aside, and it never settles.
        test: (T, h, w, 3) uint8 each, as in `Lesson`.
        steps: most training steps, at least 1.
        seed: of what is set aside, of the batches and of the head's weights.
        progress: receives the progress of training.

    """
    scale = Scale.of(np.concatenate([lesson.truth_SK for lesson in train]))
    rng = np.random.default_rng(seed)
    order = rng.permutation(len(train)).tolist() if len(train) > 1 else [0]
    aside = max(1, round(ASIDE * len(train))) if len(train) > 1 else 0
    learnt, checked = ([train[i] for i in some] for some in (order[aside:], order[:aside]))
    with torch.random.fork_rng(devices=[]):
        torch.manual_seed(seed)
        reader = _Reader(bundle.genie.lam, train[0].truth_SK.shape[1]).to(bundle.device)
    optimizer = torch.optim.AdamW(reader.parameters(), lr=RATE, weight_decay=0.01)
    targets = [scale.apply(lesson.truth_SK) for lesson in learnt]
    check = _draw(checked, [scale.apply(lesson.truth_SK) for lesson in checked], rng, CHECKED) if checked else None
    best, weights, worse, step = float("inf"), _weights(reader), 0, 0
    for step in range(1, steps + 1):
        progress("supervised inverse dynamics", step - 1, steps)
        loss = _error(bundle, reader, *_draw(learnt, targets, rng, BATCH))
        optimizer.zero_grad(set_to_none=True)
        loss.backward()  # type: ignore[no-untyped-call]
        optimizer.step()
        if check is None or (step % CHECK_EVERY and step < steps):
            continue
        error = _checked_error(bundle, reader, *check)
        worse = 0 if error < best else worse + 1
        if error < best:
            best, weights = error, _weights(reader)
        if worse == PATIENCE:
            break
    if check is not None:
        reader.load_state_dict(weights)
    with torch.inference_mode():
        read = [reader(_view(bundle, frames_THWC[None]))[0].cpu().double().numpy() for frames_THWC in test]
    return Supervised([scale.undo(r) for r in read], worse == PATIENCE, step)


def _weights(reader: _Reader) -> Mapping[str, Tensor]:
    return {name: value.clone() for name, value in reader.state_dict().items()}


def _error(bundle: Bundle, reader: _Reader, frames_BTHWC: Frames, target_BSK: Array) -> Tensor:
    target = torch.from_numpy(target_BSK).float().to(bundle.device)
    return F.mse_loss(reader(_view(bundle, frames_BTHWC)), target)


@torch.no_grad()
def _checked_error(bundle: Bundle, reader: _Reader, frames_BTHWC: Frames, target_BSK: Array) -> float:
    parts = [slice(at, at + BATCH) for at in range(0, len(frames_BTHWC), BATCH)]
    errors = [float(_error(bundle, reader, frames_BTHWC[part], target_BSK[part])) for part in parts]
    return float(np.average(errors, weights=[len(frames_BTHWC[part]) for part in parts]))


def _draw(
    lessons: Sequence[Lesson], targets: Sequence[Array], rng: np.random.Generator, batch: int
) -> tuple[Frames, Array]:
    """Draw a batch of clips, uniformly over all positions in all lessons, and the truth of their transitions."""
    length = min(CLIP_FRAMES, *(len(lesson.frames_THWC) for lesson in lessons))
    places = np.array([len(lesson.frames_THWC) - length + 1 for lesson in lessons])
    frames, rows = [], []
    for i in rng.choice(len(lessons), size=batch, p=places / places.sum()):
        first = int(rng.integers(places[i]))
        frames.append(lessons[i].frames_THWC[first : first + length])
        rows.append(targets[i][first : first + length - 1])
    return np.stack(frames), np.stack(rows)


def _view(bundle: Bundle, frames_BTHWC: Frames) -> Tensor:
    return bundle.genie.lam_view(to_pixels(torch.from_numpy(frames_BTHWC).to(bundle.device)))


__all__ = ["Lesson", "Supervised", "supervised_predictions"]
