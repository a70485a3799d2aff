"""Reads robot video in RLDS, the format of Open X-Embodiment: TFDS folders of TFRecord files, without TensorFlow.

A record is parsed as a whole, and pictures are decoded on demand; only counts are kept between calls.
"""

from __future__ import annotations

import math
import zlib
from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from functools import cached_property
from typing import Any

import numpy as np
from numpy.typing import NDArray

from genie_core.data.formats.rlds.example import Values
from genie_core.data.formats.rlds.features import FLAT, STEPS, StepFeature, step_count
from genie_core.data.formats.rlds.instruction import find_instruction
from genie_core.data.formats.rlds.meta import RldsEntry, RldsMeta, action_parts, is_rlds, read_rlds_meta, rlds_reason
from genie_core.data.frames.images import decode_image
from genie_core.data.frames.resize import Frames
from genie_core.data.robot import Proprioception, first_known
from genie_core.errors import DatasetError, RequestError

_OBSERVED = "observation/"

_PROPRIOCEPTION = (
    ("observation/state",),
    ("observation/proprio",),
    ("observation/robot_state",),
    ("observation/robot_obs",),
    ("observation/cartesian_position", "observation/gripper_position"),
    ("observation/base_pose_tool_reached", "observation/gripper_closed"),
    ("observation/joint_states", "observation/gripper_states"),
    ("observation/effector_translation",),
)
"""Names in Open X-Embodiment: the usual ones, then DROID's, RT-1's, VIOLA's and Language Table's."""


@dataclass(frozen=True)
class RldsReader:
    """Reads one episode through one camera; the `FrameReader` of RLDS datasets."""

    entry: RldsEntry
    camera: StepFeature
    features: Mapping[str, StepFeature]

    @property
    def fps(self) -> None:
        """None: RLDS has no place for it."""

    @property
    def num_frames(self) -> int:
        """Number of frames, one per step."""
        return self._extent[0]

    @property
    def frame_size(self) -> tuple[int, int]:
        """Height and width of the first frame in pixels; without frames, as the dataset declares them."""
        return self._extent[1]

    def read(self, start: int, stop: int) -> Frames:
        """Return frames start .. stop - 1, (n, H, W, 3) uint8."""
        if start >= stop:
            return np.empty((0, *self.frame_size, 3), np.uint8)
        return self._load().frames(self.camera, start, stop)

    def chunks(self, size: int) -> Iterator[Frames]:
        """Yield all frames, `size` at a time; the record, with encoded pictures, stays in memory meanwhile."""
        steps = self._load()
        count = steps.count(self.camera)
        for start in range(0, count, size):
            yield steps.frames(self.camera, start, min(start + size, count))

    def array(self, key: str) -> NDArray[Any] | None:
        """Return the numbers of the steps' feature `key` (``observation/state``), (T,) or (T, D, ...); None if missing.

        Raises DatasetError if it is not a numeric feature.
        """
        key = key.removeprefix(STEPS)
        return self._load().array(self.features[key], self.camera) if key in self.features else None

    @property
    def actions(self) -> NDArray[Any] | None:
        """The feature ``action``; features below it are concatenated, (T, D), in order of their names."""
        parts = action_parts(self.features)
        return self._load().joined(parts, self.camera) if parts else None

    @property
    def proprioception(self) -> Proprioception | None:
        """The first of the usual names that exists as vectors of floating-point numbers."""
        return first_known(self._vectors, _PROPRIOCEPTION, _OBSERVED, f"{self.entry.shard.path}: {self.entry.name}")

    @property
    def task(self) -> str | None:
        """The instruction found by `find_instruction`; None if there is none."""
        return find_instruction(self._load().values)

    @property
    def group(self) -> None:
        """None."""

    def _vectors(self, key: str) -> NDArray[Any] | None:
        """Return a declared vector of floats; None for others, since such names can be used for anything."""
        feature = self.features.get(key)
        if feature is None or feature.kind != "number" or feature.problem or len(feature.shape) > 1:
            return None
        return self.array(key) if np.dtype(feature.dtype).kind == "f" else None

    @cached_property
    def _extent(self) -> tuple[int, tuple[int, int]]:
        steps = self._load()
        count = steps.count(self.camera)
        if not count:
            return 0, self.camera.frame_size
        height, width, _ = steps.frame(self.camera, 0).shape
        return count, (height, width)

    def _load(self) -> Steps:
        where = f"{self.entry.shard.path}: record {self.entry.record} ({self.entry.name})"
        return Steps(where, self.entry.shard.record(self.entry.record))


@dataclass(frozen=True)
class Steps:
    """The steps of one record.

    Attributes:
        where: file, record and episode, for the start of messages.
        values: its features by name.

    """

    where: str
    values: Mapping[str, Values]

    def count(self, camera: StepFeature) -> int:
        """Return the number of steps. Raises DatasetError unless there is one picture of `camera` per step."""
        pictures = self.values.get(STEPS + camera.key)
        steps = step_count(self.values)
        if pictures is None and steps != 0:
            raise DatasetError(f"{self.where}: has no `{camera.key}`, which its dataset calls a camera")
        count = 0 if pictures is None else len(pictures)
        if steps not in (None, count):
            raise DatasetError(
                f"{self.where}: got {count} pictures of {camera.key} in {steps} steps, expected one each"
            )
        return count

    def frames(self, camera: StepFeature, start: int, stop: int) -> Frames:
        """Decode frames start .. stop - 1. Raises DatasetError if one is damaged or differs in size from step 0."""
        if stop > self.count(camera):
            raise DatasetError(f"{self.where}: has {self.count(camera)} frames, expected {start} to {stop}")
        first_HWC = self.frame(camera, 0)
        frames_THWC = np.empty((stop - start, *first_HWC.shape), np.uint8)
        for step in range(start, stop):
            frame_HWC = self.frame(camera, step) if step else first_HWC
            if frame_HWC.shape != first_HWC.shape:
                raise DatasetError(
                    f"{self.where}: step {step} of {camera.key} is of {frame_HWC.shape[:2]} pixels, "
                    f"expected {first_HWC.shape[:2]} like the first"
                )
            frames_THWC[step - start] = frame_HWC
        return frames_THWC

    def frame(self, camera: StepFeature, step: int) -> NDArray[np.uint8]:
        """Decode one frame, (H, W, 3)."""
        picture = self.values[STEPS + camera.key][step]
        where = f"{self.where}: step {step} of {camera.key}"
        if not isinstance(picture, bytes):
            raise DatasetError(f"{where}: got the number {picture}, expected the bytes of a PNG or JPEG")
        try:
            return decode_image(picture)
        except RequestError as error:
            raise DatasetError(f"{where}: {error}") from error

    def array(self, feature: StepFeature, camera: StepFeature) -> NDArray[Any]:
        """Return the numbers of one feature, (T,) or (T, D, ...)."""
        if feature.kind != "number" or feature.problem:
            raise DatasetError(
                f"{self.where}: `{feature.key}`: {feature.problem or f'{feature.kind}, expected numbers'}"
            )
        held = self.values.get(STEPS + feature.key, self.values.get(STEPS + feature.key + FLAT))
        steps = step_count(self.values)
        count = self.count(camera) if steps is None else steps
        if held is None and count:
            raise DatasetError(f"{self.where}: has no `{feature.key}`, which its dataset declares")
        try:
            numbers = _numbers(feature, held if held is not None else ())
        except (ValueError, TypeError, zlib.error) as error:
            raise DatasetError(f"{self.where}: `{feature.key}`: damaged: {error}") from error
        wanted = (count, *feature.shape)
        if numbers.size != math.prod(wanted):
            raise DatasetError(
                f"{self.where}: `{feature.key}` has {numbers.size} numbers, expected {math.prod(wanted)} for {wanted}"
            )
        return numbers.reshape(wanted)

    def joined(self, features: tuple[StepFeature, ...], camera: StepFeature) -> NDArray[Any]:
        """Concatenate the numbers of several features, (T, D); those of a single one are returned as they are."""
        arrays = [self.array(feature, camera) for feature in features]
        if len(arrays) == 1:
            return arrays[0]
        return np.concatenate([array.reshape(len(array), math.prod(array.shape[1:])) for array in arrays], axis=1)


def rlds_readers(meta: RldsMeta, camera: str) -> Iterator[RldsReader]:
    """Yield the reader of each of the dataset's entries, without opening files.

    Episodes in the same shard share its cached facts. Raises DatasetError if there is no such camera.
    """
    feature = meta.features.get(camera)
    if feature is None or not feature.is_camera:
        detail = f" ({meta.refused[camera]})" if camera in meta.refused else ""
        raise DatasetError(f"{meta.path}: no camera `{camera}`{detail}; the cameras are: {', '.join(meta.cameras)}")
    for entry in meta.entries:
        yield RldsReader(entry, feature, meta.features)


def _numbers(feature: StepFeature, held: Values) -> NDArray[Any]:
    """Return the numbers of all steps in one row, with the declared dtype."""
    dtype = np.dtype(feature.dtype)
    if feature.encoding == "none":
        if dtype.kind != "f" and len(held) and isinstance(held[0], float):
            raise TypeError(f"got floating-point numbers, expected {dtype}")
        stored = np.float32 if dtype.kind == "f" else np.int64
        return np.fromiter(held, stored, len(held)).astype(dtype)
    texts = [part for part in held if isinstance(part, bytes)]
    if len(texts) < len(held):
        raise TypeError(f"got numbers, expected a string a step that holds them ({feature.encoding})")
    if feature.encoding == "zlib":
        size = math.prod(feature.shape) * dtype.itemsize
        texts = [zlib.decompressobj().decompress(text, size + 1) for text in texts]  # no more than is declared
    return np.frombuffer(b"".join(texts), dtype)


__all__ = ["RldsReader", "Steps", "is_rlds", "read_rlds_meta", "rlds_readers", "rlds_reason"]
