"""Frames of the current call's requests: checked, decoded in the workers' threads, counted while they are."""

from __future__ import annotations

from dataclasses import dataclass
from functools import partial

import numpy as np
from numpy.typing import NDArray

from genie_api.v1 import frames_pb2
from genie_service.calls import current_call
from genie_service.frames import FrameLimits, check_frames, decode_frames, encode_frames, scratch_bytes
from genie_service.workers import Workers


@dataclass(frozen=True)
class FrameReading:
    """What a `Frames` message may hold, and who decodes it."""

    limits: FrameLimits
    workers: Workers

    def check(self, message: frames_pb2.Frames, field: str) -> None:
        """Raise RequestError unless the message's header is within the limits."""
        check_frames(message, field, self.limits)

    async def read(self, message: frames_pb2.Frames, field: str, size: tuple[int, int]) -> NDArray[np.uint8]:
        """Frames (T, height, width, 3) at `size`. Raises RequestError."""
        call = current_call()
        with call.memory.scratch(scratch_bytes(message)):
            return await decode_frames(message, field, self.limits, size, partial(self.workers.run, call.client))

    async def message(
        self, frames_THWC: NDArray[np.uint8], encoding: frames_pb2.FrameEncoding.ValueType
    ) -> frames_pb2.Frames:
        """A message of frames (T, H, W, 3)."""
        return await encode_frames(frames_THWC, encoding, partial(self.workers.run, current_call().client))


__all__ = ["FrameReading"]
