"""Frames in requests of the current call: checked, decoded in worker threads, counted while held."""

from __future__ import annotations

import time
from collections.abc import Callable
from dataclasses import dataclass
from functools import partial

import numpy as np
from numpy.typing import NDArray

from genie_api.v1 import frames_pb2
from genie_service.calls import current_call
from genie_service.decoding import DecodingBacklog
from genie_service.frames import (
    FrameLimits,
    check_frames,
    decode_frames,
    encode_frames,
    needs_decoding,
    scratch_bytes,
)
from genie_service.rates import FrameRates
from genie_service.workers import Workers


@dataclass(frozen=True)
class FrameReading:
    """Limits of `Frames` messages, the workers that decode them, and how many a client may send and get."""

    limits: FrameLimits
    workers: Workers
    rates: FrameRates
    backlog: DecodingBacklog

    def check(self, message: frames_pb2.Frames, field: str) -> None:
        """Raise RequestError unless the message's header is within the limits."""
        check_frames(message, field, self.limits)

    async def read(
        self, message: frames_pb2.Frames, field: str, size: tuple[int, int], *, refusable: bool = False
    ) -> NDArray[np.uint8]:
        """Return the frames (T, height, width, 3) at `size`. Raises RequestError.

        What decoding takes for a moment is counted while a thread decodes, not while images wait for their turn: else
        many clients' large images, that take nothing yet, would keep newcomers waiting for memory. A call that is
        `refusable`, since nothing has been answered yet, raises BusyError where others' images come first for too long.
        """
        call = current_call()
        check_frames(message, field, self.limits)  # before the client waits for its rate
        await self.rates.take(call.client, message.count)
        holding = partial(call.memory.scratch, scratch_bytes(message))
        refusable = refusable and needs_decoding(message, size)
        taken = self.backlog.taken(call.client, message, refusable=refusable, remaining_s=call.remaining_s)
        with taken as one_done:

            async def run(function: Callable[[], None]) -> None:
                one_done(await self.workers.run(call.client, partial(_timed, function), holding))

            return await decode_frames(message, field, self.limits, size, run)

    async def message(
        self, frames_THWC: NDArray[np.uint8], encoding: frames_pb2.FrameEncoding.ValueType
    ) -> frames_pb2.Frames:
        """Return a message of frames (T, H, W, 3), when the client's rate allows them."""
        await self.rates.take(current_call().client, len(frames_THWC))
        return await encode_frames(frames_THWC, encoding, partial(self.workers.run, current_call().client))


def _timed(function: Callable[[], None]) -> float:
    """Run a function; return how long it took, seconds."""
    began = time.perf_counter()
    function()
    return time.perf_counter() - began


__all__ = ["FrameReading"]
