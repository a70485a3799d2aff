"""Measures a server from outside: throughput and latency at a growing number of concurrent clients.

Every client has a connection of its own, and asks again as soon as it has its answer (a closed loop).
"""

from __future__ import annotations

import threading
import time
from collections import Counter
from collections.abc import Callable, Iterator, Sequence
from concurrent.futures import ThreadPoolExecutor
from contextlib import AbstractContextManager, contextmanager
from dataclasses import dataclass, field
from typing import Literal

import numpy as np

from genie_client.client import Client
from genie_client.errors import ServerBusyError, ServerError
from genie_core.data import Frames

Work = Literal["label", "play"]
"""What is asked for: the labels of a clip, or the next frame of a `Play` session that begins with its first frame."""

_Answer = tuple[int, float, float]
"""Frames labelled or drawn, and the milliseconds that the server says they waited and were computed."""

PERCENTILES = (50, 90, 95, 99)

_PAUSE_S = 0.1
"""Before a client asks again that was refused without a hint."""


@dataclass(frozen=True)
class Level:
    """Results of one number of concurrent clients.

    Attributes:
        clients: at once.
        calls: that were answered.
        frames_per_s: labelled or drawn, of all clients together.
        calls_per_s: answers a second.
        latency_ms: time from asking to having all of the answer, by percentile (50, 90, 95, 99, and 100 for the most).
        queue_ms: median of what the server says that an answer waited for the device.
        device_ms: likewise, that it computed.
        failures: calls that were not answered, by kind of error.

    """

    clients: int
    calls: int
    frames_per_s: float
    calls_per_s: float
    latency_ms: dict[int, float]
    queue_ms: float
    device_ms: float
    failures: dict[str, int]


@dataclass
class _Seen:
    """What the clients of one level saw."""

    latencies_s: list[float] = field(default_factory=list)
    queue_ms: list[float] = field(default_factory=list)
    device_ms: list[float] = field(default_factory=list)
    frames: int = 0
    failures: Counter[str] = field(default_factory=Counter)


def sweep(
    connect: Callable[[], Client],
    levels: Sequence[int],
    *,
    work: Work,
    clip: Frames,
    fps: float,
    seconds: float,
    model: str | None = None,
) -> Iterator[Level]:
    """Measure each level for `seconds`, after one uncounted answer to each client.

    Args:
        connect: makes a client with a connection of its own.
        levels: numbers of clients at once.
        work: what to ask for.
        clip: (T, H, W, 3) uint8: what is labelled, or what sessions begin with.
        fps: frames a second of the clip.
        seconds: for each level; a call that has begun by then is waited for and counts.
        model: None for the server's default.

    Raises:
        GenieError: an answer that does not count has failed: address, model or clip are wrong, or there is no room.

    """
    for level in levels:
        yield _measure(level, connect, lambda client: _asking(client, work, clip, fps, model), seconds)


@contextmanager
def _asking(client: Client, work: Work, clip: Frames, fps: float, model: str | None) -> Iterator[Callable[[], _Answer]]:
    """Yield a function that asks once and returns when it has the answer."""
    if work == "play":
        with client.play(clip[:1], model=model) as session:

            def step() -> _Answer:
                session.step(0)
                return 1, session.timing.queue_ms, session.timing.device_ms

            yield step
        return

    def label() -> _Answer:
        timing = client.label(clip, fps=fps, model=model, patience_s=0).summary.timing
        return len(clip), timing.queue_ms, timing.device_ms

    yield label


def _measure(
    clients: int,
    connect: Callable[[], Client],
    asking: Callable[[Client], AbstractContextManager[Callable[[], _Answer]]],
    seconds: float,
) -> Level:
    began: list[float] = []
    ends: list[float] = []
    together = threading.Barrier(clients, action=lambda: began.append(time.perf_counter()))

    def run(_: int) -> _Seen:
        seen = _Seen()
        try:
            with connect() as client, asking(client) as ask:
                ask()
                together.wait()
                asked = time.perf_counter()
                while True:  # once at least, however late its turn comes
                    _note(seen, ask, asked)
                    if (asked := time.perf_counter()) >= began[0] + seconds:
                        break
                ends.append(time.perf_counter())
        except BaseException:
            together.abort()
            raise
        return seen

    with ThreadPoolExecutor(clients) as pool:
        futures = [pool.submit(run, i) for i in range(clients)]
        errors = [error for future in futures if (error := future.exception()) is not None]
    # Those that waited for a client that failed only say that the barrier is broken.
    for error in sorted(errors, key=lambda error: isinstance(error, threading.BrokenBarrierError)):
        raise error
    return _level(clients, [future.result() for future in futures], max(ends) - began[0])


def _note(seen: _Seen, ask: Callable[[], _Answer], asked: float) -> None:
    try:
        frames, queue_ms, device_ms = ask()
    except ServerError as error:
        if isinstance(error, ServerBusyError):
            time.sleep(min(error.retry_after_s or _PAUSE_S, 1.0))
        seen.failures[type(error).__name__] += 1
        return
    seen.latencies_s.append(time.perf_counter() - asked)
    seen.queue_ms.append(queue_ms)
    seen.device_ms.append(device_ms)
    seen.frames += frames


def _level(clients: int, seen: Sequence[_Seen], taken_s: float) -> Level:
    latencies = np.array([latency for one in seen for latency in one.latencies_s]) * 1000
    failures: Counter[str] = Counter()
    for one in seen:
        failures.update(one.failures)
    ranks = (*PERCENTILES, 100)
    return Level(
        clients=clients,
        calls=len(latencies),
        frames_per_s=sum(one.frames for one in seen) / taken_s,
        calls_per_s=len(latencies) / taken_s,
        latency_ms={rank: float(np.percentile(latencies, rank)) for rank in ranks} if len(latencies) else {},
        queue_ms=_median([value for one in seen for value in one.queue_ms]),
        device_ms=_median([value for one in seen for value in one.device_ms]),
        failures=dict(failures),
    )


def _median(values: Sequence[float]) -> float:
    return float(np.median(values)) if values else 0.0


__all__ = ["PERCENTILES", "Level", "Work", "sweep"]
