"""Breakdown of a request's time, for its response."""

from __future__ import annotations

import time

from genie_api.v1 import frames_pb2
from genie_service.calls import current_call
from genie_service.counting import CallCounts
from genie_service.job import Job


class Clock:
    """Times the current call, whose work is `job`, in laps; the first lap counts from the start of the call."""

    def __init__(self, job: Job, counts: CallCounts) -> None:
        """`counts` records each answer's time."""
        self._job, self._counts = job, counts
        self._started = current_call().started
        self._before = (0.0, 0.0, 0.0)

    def lap(self) -> frames_pb2.Timing:
        """Return, and count, the breakdown of the time since the previous lap: that of one answer."""
        timing = self.skip()
        self._counts.answered(
            current_call().method, timing.queue_ms, timing.batch_ms, timing.device_ms, timing.transport_ms
        )
        return timing

    def skip(self) -> frames_pb2.Timing:
        """Begin a new lap; the time since the previous one belongs to no answer."""
        now, so_far = time.perf_counter(), (self._job.queue_ms, self._job.batch_ms, self._job.device_ms)
        queue_ms, batch_ms, device_ms = (after - before for after, before in zip(so_far, self._before, strict=True))
        total_ms = (now - self._started) * 1000
        self._started, self._before = now, so_far
        return frames_pb2.Timing(
            queue_ms=queue_ms,
            batch_ms=batch_ms,
            device_ms=device_ms,
            transport_ms=max(0.0, total_ms - queue_ms - batch_ms - device_ms),
            total_ms=total_ms,
        )


__all__ = ["Clock"]
