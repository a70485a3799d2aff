"""Disturbances of a whole episode that no robot causes and that training does not augment with.

Lengths are in cells, 1/64 of the image's height and width (a pixel of a 64 x 64 frame), so that a disturbance is
equally strong at every frame size.
"""

from __future__ import annotations

from collections.abc import Callable

import cv2
import numpy as np

from genie_core.data import Frames
from genie_core.statistics.metrics import Array

CELLS = 64
SHAKE_CELLS = 1
FLICKER = 0.05
PAN_CELLS = 0.25
JPEG_QUALITY = 50
OBJECT_CELLS, OBJECT_SPEED_CELLS = 8, 1.5
HAND_REACH_CELLS = 18

Disturbance = Callable[[Frames, np.random.Generator], Frames]
"""Disturbs frames (T, H, W, 3) uint8, at the model's rate."""


def shake(frames_THWC: Frames, rng: np.random.Generator) -> Frames:
    """Shake the camera: shift each frame independently by -1, 0 or 1 cell along each axis."""
    offset_T2 = rng.integers(-SHAKE_CELLS, SHAKE_CELLS + 1, (len(frames_THWC), 2)).astype(np.float64)
    return _moved(frames_THWC, offset_T2)


def pan(frames_THWC: Frames, rng: np.random.Generator) -> Frames:
    """Pan the camera slowly: shift everything by 0.25 cells per frame in one random direction."""
    angle = rng.uniform(0, 2 * np.pi)
    path_T = np.arange(len(frames_THWC)) - (len(frames_THWC) - 1) / 2
    return _moved(frames_THWC, PAN_CELLS * path_T[:, None] * np.array([[np.cos(angle), np.sin(angle)]]))


def flicker(frames_THWC: Frames, rng: np.random.Generator) -> Frames:
    """Flicker the light: make each frame independently up to 5% lighter or darker."""
    gain_T = 1 + rng.uniform(-FLICKER, FLICKER, len(frames_THWC))
    return _rounded(frames_THWC * gain_T[:, None, None, None])


def jpeg(frames_THWC: Frames, _rng: np.random.Generator) -> Frames:
    """Compress every frame as JPEG of quality 50."""
    out = np.empty_like(frames_THWC)
    for frame_HWC, out_HWC in zip(frames_THWC, out, strict=True):
        _, data = cv2.imencode(".jpg", frame_HWC[..., ::-1], [cv2.IMWRITE_JPEG_QUALITY, JPEG_QUALITY])
        out_HWC[:] = np.asarray(cv2.imdecode(data, cv2.IMREAD_COLOR))[..., ::-1]
    return out


def moving_object(frames_THWC: Frames, rng: np.random.Generator) -> Frames:
    """Add a moving object: a striped square of 8 cells, at 1.5 cells per frame, reversing at the image's edges."""
    height, width = frames_THWC.shape[1:3]
    size_2 = np.maximum(2, np.array([height, width]) * OBJECT_CELLS // CELLS)
    stripes_HWC = np.repeat(rng.integers(0, 256, (4, 1, 3), dtype=np.uint8), 4, axis=1)
    texture_HWC = cv2.resize(stripes_HWC, (int(size_2[1]), int(size_2[0])), interpolation=cv2.INTER_NEAREST)
    angle = rng.uniform(0, 2 * np.pi)
    speed_2 = OBJECT_SPEED_CELLS / CELLS * np.array([height * np.sin(angle), width * np.cos(angle)])
    room_2 = np.array([height, width]) - size_2
    way_T2 = rng.uniform(0, 1, 2) * room_2 + np.arange(len(frames_THWC))[:, None] * speed_2
    place_T2 = np.abs((way_T2 + room_2) % (2 * room_2) - room_2).round().astype(int)
    out = frames_THWC.copy()
    for frame_HWC, (y, x) in zip(out, place_T2, strict=True):
        frame_HWC[y : y + size_2[0], x : x + size_2[1]] = texture_HWC
    return out


def hand(frames_THWC: Frames, rng: np.random.Generator) -> Frames:
    """Add a person's moving hand that reaches in from one side: a skin-coloured forearm, palm and fingers."""
    count, height, width = frames_THWC.shape[:3]
    tone = np.array([224, 172, 140]) * rng.uniform(0.45, 1)
    reach_T = HAND_REACH_CELLS * (
        0.6 + 0.4 * np.sin(rng.uniform(0, 2 * np.pi) + np.arange(count) * rng.uniform(0.3, 0.8))
    )
    across, side = rng.uniform(12, CELLS - 12), int(rng.integers(4))
    out = frames_THWC.copy()
    for frame_HWC, reach in zip(out, reach_T, strict=True):
        mask_HW = _hand_mask(height, width, float(reach), float(across), side)
        alpha_HW1 = mask_HW[..., None] / 255
        frame_HWC[:] = _rounded(frame_HWC * (1 - alpha_HW1) + tone * alpha_HW1)
    return out


def _hand_mask(height: int, width: int, reach: float, across: float, side: int) -> Array:
    """Draw the mask (height, width), 0 .. 255, of a hand that reaches in by `cells`, from one of four sides."""
    scale = 4
    mask = np.zeros((CELLS * scale, CELLS * scale), np.uint8)

    def stroke(x0: float, y0: float, x1: float, y1: float, thick: float) -> None:
        ends = [(round(x * scale), round(y * scale)) for x, y in ((x0, y0), (x1, y1))]
        cv2.line(mask, ends[0], ends[1], 255, max(1, round(thick * scale)), cv2.LINE_AA)

    stroke(-CELLS, across, reach - 6, across, 6)
    stroke(reach - 6, across, reach - 3, across, 8)
    for finger in range(4):
        y = across - 3 + 2 * finger
        stroke(reach - 3, y, reach + (3.5 if finger in (1, 2) else 2.5), y + 0.4 * (finger - 1.5), 1.6)
    stroke(reach - 6, across + 3, reach - 1.5, across + 6.5, 1.8)
    turned = np.ascontiguousarray(np.rot90(mask, side))
    return cv2.resize(turned, (width, height), interpolation=cv2.INTER_AREA).astype(np.float64)


def _moved(frames_THWC: Frames, offset_T2: Array) -> Frames:
    """Shift each frame by so many cells along y and x, with linear interpolation and repeated edges."""
    height, width = frames_THWC.shape[1:3]
    out = np.empty_like(frames_THWC)
    for frame_HWC, (y, x), out_HWC in zip(frames_THWC, offset_T2, out, strict=True):
        matrix = np.array([[1, 0, x * width / CELLS], [0, 1, y * height / CELLS]], np.float64)
        out_HWC[:] = cv2.warpAffine(
            frame_HWC, matrix, (width, height), flags=cv2.INTER_LINEAR, borderMode=cv2.BORDER_REPLICATE
        )
    return out


def _rounded(values: Array) -> Frames:
    return values.round().clip(0, 255).astype(np.uint8)


DISTURBANCES: dict[str, Disturbance] = {
    "shake": shake,
    "flicker": flicker,
    "pan": pan,
    "jpeg": jpeg,
    "object": moving_object,
    "hand": hand,
}
"""Disturbances by name, in display order."""

__all__ = ["CELLS", "DISTURBANCES", "Disturbance", "flicker", "hand", "jpeg", "moving_object", "pan", "shake"]
