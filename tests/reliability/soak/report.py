"""What came of a soak, and whether what is promised was kept."""

from __future__ import annotations

import os
from collections import Counter
from dataclasses import dataclass, field
from typing import Any

import numpy as np

from tests.reliability.soak.offered import LOST, Outcome
from tests.reliability.soak.watch import Look

MIB = 1 << 20
HEALTH_S = 0.3
FULL_SPEED_WITHIN_S = 5.0
DEADLINES_MET, DEADLINES_MET_BY_CLIPS = 0.95, 0.99
"""Of a stream nobody knows how long it is when it is accepted."""

_NOISE = 0.85
"""Share of the speed of before that counts as full: two measurements of a shared machine differ by that much."""

_LONGEST_WAIT_S = 10.0
"""`max_wait_seconds`: who is refused later than that had been accepted, and was given up."""


@dataclass(frozen=True)
class Report:
    """Everything that was seen.

    Attributes:
        times: how many times what the server can do was offered.
        memory_mib: its bound.
        rate: frames a second that it can do, measured before.
        offered: the calls of the load.
        after: calls of the same kind as those that measured `rate`, from the moment the load ended.
        looks: of the server from outside, all the time.
        disturbed: what the clients that misbehave have met, and how often.
        load: when the load began and ended.
        exit_code: of the server, told to stop in the end.

    """

    times: float
    memory_mib: int
    rate: float
    offered: list[Outcome]
    after: list[Outcome]
    looks: list[Look]
    disturbed: dict[str, int]
    load: tuple[float, float]
    exit_code: int
    machine_load: tuple[float, float, float] = field(default_factory=os.getloadavg)

    def figures(self) -> dict[str, Any]:
        """All numbers, by name."""
        accepted = [outcome for outcome in self.offered if not outcome.is_refused]
        refused = [outcome for outcome in self.offered if outcome.is_refused]
        done = [outcome for outcome in accepted if outcome.code == "OK"]
        under_load = [look for look in self.looks if self.load[0] <= look.at <= self.load[1]]
        return {
            "machine_load": [round(number, 1) for number in self.machine_load],
            "capacity_frames_per_s": round(self.rate, 1),
            "offered_times": round(sum(outcome.frames for outcome in self.offered) / self._offered_s / self.rate, 2),
            "offered_s": round(self._offered_s),
            "calls": len(self.offered),
            "accepted": len(accepted),
            "deadlines_met": _share(done, accepted),
            "deadlines_met_by_clips": _share(_clips(done), _clips(accepted)),
            "goodput_of_capacity": round(
                sum(outcome.frames for outcome in done) / (self.load[1] - self.load[0]) / self.rate, 2
            ),
            "wait_s": _spread([outcome.seconds for outcome in accepted]),
            "wait_of_clips_s": _spread([outcome.seconds for outcome in _clips(accepted)]),
            "queue_s": _spread([outcome.queue_s for outcome in done]),
            "refused": len(refused),
            "given_up": sum(outcome.seconds > _LONGEST_WAIT_S for outcome in refused),
            "refused_with_hint": sum(outcome.hint_ms is not None for outcome in refused),
            "hint_ms": _spread([outcome.hint_ms or 0 for outcome in refused]),
            "refused_after_s": _spread([outcome.seconds for outcome in refused]),
            "codes": dict(Counter(outcome.code for outcome in self.offered)),
            "health_s": _spread([look.health_s for look in under_load]),
            "unwell": sum(not look.is_well for look in self.looks),
            "peak_mib": max(look.resident for look in self.looks) // MIB,
            "memory_mib": self.memory_mib,
            "full_speed_after_s": self.full_speed_after_s,
            "speed_after": round(self._speed_since(FULL_SPEED_WITHIN_S) / self.rate, 2),
            "exit_code": self.exit_code,
            "disturbed": dict(sorted(self.disturbed.items())),
        }

    @property
    def _offered_s(self) -> float:
        """Seconds from the first call to the last."""
        return max(o.began for o in self.offered) - min(o.began for o in self.offered)

    @property
    def full_speed_after_s(self) -> float | None:
        """Seconds after the load from which on the server was as fast as before; None: it was not again."""
        for second in np.arange(0.0, 9.0, 0.5):
            if self._speed_since(float(second), 2.0) >= _NOISE * self.rate:
                return float(second)
        return None

    def _speed_since(self, second: float, window_s: float | None = None) -> float:
        """Frames a second of calls that ended in a window, which begins so long after the load."""
        begin = self.load[1] + second
        ends = [(o.began + o.seconds, o.frames) for o in self.after if o.code == "OK"]
        end = max((at for at, _ in ends), default=begin) if window_s is None else begin + window_s
        return sum(frames for at, frames in ends if begin <= at <= end) / max(end - begin, 1e-3)

    def broken_promises(self) -> list[str]:
        """What the server promises and has not kept, in words."""
        return [*self.broken_whatever_the_machine(), *self.broken_in_time()]

    def broken_whatever_the_machine(self) -> list[str]:
        """Promises that hold on a machine that has no time for the server, too."""
        f, broken = self.figures(), []
        if f["peak_mib"] > self.memory_mib:
            broken.append(f"memory: {f['peak_mib']} MiB, the bound is {self.memory_mib} MiB")
        if f["refused_with_hint"] < f["refused"]:
            broken.append(f"hints: {f['refused'] - f['refused_with_hint']} of {f['refused']} refusals had none")
        if strange := set(f["codes"]) - {"OK", "RESOURCE_EXHAUSTED", "DEADLINE_EXCEEDED", LOST}:
            broken.append(f"statuses: {', '.join(sorted(strange))}")
        if f["unwell"]:
            broken.append(f"health: {f['unwell']} answers were not SERVING, or never came")
        if self.exit_code:
            broken.append(f"the server ended with {self.exit_code}")
        return broken

    def broken_in_time(self) -> list[str]:
        """Promises about time, for a machine that has nothing else to do."""
        f, broken = self.figures(), []
        for name, least in (("deadlines_met", DEADLINES_MET), ("deadlines_met_by_clips", DEADLINES_MET_BY_CLIPS)):
            if f[name] < least:
                broken.append(f"{name}: {f[name]:.1%}, the target is {least:.0%}")
        if f["health_s"]["p99"] > HEALTH_S:
            broken.append(f"health: p99 {f['health_s']['p99']} s, the target is {HEALTH_S} s")
        if self.full_speed_after_s is None or self.full_speed_after_s > FULL_SPEED_WITHIN_S:
            broken.append(f"speed: {f['speed_after']:.0%} of that before, {FULL_SPEED_WITHIN_S:g} s after the load")
        return broken

    def text(self) -> str:
        """A line a figure."""
        return "\n".join(f"{name}: {value}" for name, value in self.figures().items())


def _clips(outcomes: list[Outcome]) -> list[Outcome]:
    return [outcome for outcome in outcomes if not outcome.is_stream]


def _share(some: list[Outcome], of: list[Outcome]) -> float:
    return round(len(some) / max(1, len(of)), 4)


def _spread(values: list[float] | list[int]) -> dict[str, float]:
    if not values:
        return {"median": 0.0, "p95": 0.0, "p99": 0.0, "max": 0.0}
    found = np.percentile(values, (50, 95, 99, 100))
    return dict(zip(("median", "p95", "p99", "max"), (round(float(value), 3) for value in found), strict=True))


__all__ = ["Report"]
