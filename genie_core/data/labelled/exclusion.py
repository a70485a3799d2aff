"""Which transitions get no label for what their pictures or times show, and how labels say so.

Such a transition is not valid, like one that does not exist; `Labels.reason` has why. It depends on nothing but the
episode: its pictures at their own size, its frame rate and times, and the step.
"""

from __future__ import annotations

import json
from dataclasses import replace
from typing import Final, Literal

import numpy as np
from numpy.typing import NDArray

from genie_core.data.frames.content import Pictures
from genie_core.data.frames.timing import GAP
from genie_core.data.labelled.labels import Labels

Reason = Literal["blank", "gap", "frozen"]

REASONS: Final[dict[int, Reason]] = {1: "blank", 2: "gap", 3: "frozen"}
"""What the numbers of `Labels.reason` stand for; 0 is none. ``blank``: one of its pictures is of one colour.
``gap``: much more time lies between its ends than between others. ``frozen``: nothing changes from one to the other,
nor for a while before or after."""

_CODES = {reason: code for code, reason in REASONS.items()}


def exclusions(
    seen: Pictures, step: int, fps: float | None, moments: NDArray[np.float64] | None, *, keep_frozen: bool = False
) -> NDArray[np.uint8]:
    """Return (T,) why the transition from each frame gets no label, 0 for none; see `REASONS`.

    Args:
        seen: what the pictures of the whole episode show.
        step: length of a transition, frames.
        fps: frames a second; None if unknown.
        moments: (T,) when the frames were taken, in any unit; None if unknown.
        keep_frozen: label transitions of frozen pictures all the same.

    """
    reasons = np.zeros(len(seen.blank), np.uint8)
    count = max(0, len(reasons) - step)
    if not keep_frozen:
        changes = np.concatenate([[0], np.cumsum(~seen.frozen(fps))])
        still = changes[step + 1 : step + 1 + count] == changes[1 : 1 + count]
        reasons[:count][still] = _CODES["frozen"]
    if moments is not None and len(moments) > 2:
        usual = float(np.median(np.diff(moments)))
        far = moments[step:] - moments[:count] > GAP * step * usual
        reasons[:count][far & (usual > 0)] = _CODES["gap"]
    blanks = np.concatenate([[0], np.cumsum(seen.blank)])
    # Also one in between: labels that are sums of parts would be of what leads to it and away from it.
    reasons[:count][blanks[step + 1 : step + 1 + count] > blanks[:count]] = _CODES["blank"]
    return reasons


def without(labels: Labels, reasons: NDArray[np.uint8]) -> Labels:
    """Return the labels of a whole episode without those of the transitions that have a reason, (T,), to get none."""
    reasons = np.where(labels.valid, reasons, 0).astype(np.uint8)
    if not reasons.any():
        return labels
    kept = reasons == 0
    return replace(
        labels,
        code=np.where(kept, labels.code, 0).astype(np.uint16),
        latent=np.where(kept[:, None], labels.latent, 0).astype(np.float32),
        confidence=np.where(kept, labels.confidence, 0).astype(np.float32),
        valid=labels.valid & kept,
        action=None if labels.action is None else np.where(kept[:, None], labels.action, 0).astype(np.float32),
        reason=reasons,
        fine_code=None if labels.fine_code is None else np.where(kept, labels.fine_code, 0).astype(np.uint16),
        feature=None if labels.feature is None else np.where(kept[:, None], labels.feature, 0).astype(np.float32),
    )


def counted(labels: Labels) -> str | None:
    """Return how many transitions got no label for each reason, as a JSON object; None if all did."""
    if labels.reason is None:
        return None
    counts = {reason: int((labels.reason == code).sum()) for code, reason in REASONS.items()}
    return json.dumps({reason: count for reason, count in counts.items() if count})


__all__ = ["REASONS", "Reason", "counted", "exclusions", "without"]
