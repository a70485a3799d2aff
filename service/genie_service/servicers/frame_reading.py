"""Frames in requests of the current call: checked, decoded in worker threads, counted while held."""

from __future__ import annotations

from dataclasses import dataclass
from functools import partial

import numpy as np
from numpy.typing import NDArray

from genie_api.v1 import frames_pb2
from genie_service.calls import current_call
from genie_service.frames import FrameLimits, check_frames, decode_frames, encode_frames, scratch_bytes
from genie_service.rates import FrameRates
from genie_service.workers import Workers


@dataclass(frozen=True)
class FrameReading:
    """Limits of `Frames` messages, the workers that decode them, and how many a client may send and get."""

    limits: FrameLimits
    workers: Workers
    rates: FrameRates

    def check(self, message: frames_pb2.Frames, field: str) -> None:
        """Raise RequestError unless the message's header is within the limits."""
        check_frames(message, field, self.limits)

    async def read(self, message: frames_pb2.Frames, field: str, size: tuple[int, int]) -> NDArray[np.uint8]:
        """Return the frames (T, height, width, 3) at `size`. Raises RequestError.

        What decoding takes for a moment is counted while a thread decodes, not while images wait for their turn: else
        many clients' large images, that take nothing yet, would keep newcomers waiting for memory.
        """
        call = current_call()
        check_frames(message, field, self.limits)  # before the client waits for its rate
        await self.rates.take(call.client, message.count)
        holding = partial(call.memory.scratch, scratch_bytes(message))
        return await decode_frames(
            message, field, self.limits, size, partial(self.workers.run, call.client, holding=holding)
        )

    async def message(
        self, frames_THWC: NDArray[np.uint8], encoding: frames_pb2.FrameEncoding.ValueType
    ) -> frames_pb2.Frames:
        """Return a message of frames (T, H, W, 3), when the client's rate allows them."""
        await self.rates.take(current_call().client, len(frames_THWC))
        return await encode_frames(frames_THWC, encoding, partial(self.workers.run, current_call().client))


__all__ = ["FrameReading"]
