"""One soak: what the server can do, then far more, then as before; measured from outside."""

from __future__ import annotations

import multiprocessing
import os
import subprocess
import sys
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from multiprocessing.connection import Connection
from pathlib import Path
from typing import Any

from tests.reliability.soak.disturbers import disturb
from tests.reliability.soak.offered import Outcome, offer, saturate
from tests.reliability.soak.report import Report
from tests.reliability.soak.watch import Look, watch

_BEFORE_S, _AFTER_S = 8.0, 10.0
_SETTLING_S = 2.0
"""At the beginning of the first phase, which does not count: the cost of each kind of work is learnt there."""

_spawn = multiprocessing.get_context("spawn")


@dataclass(frozen=True)
class Soak:
    """What is done.

    Attributes:
        models: folder of the server's bundles.
        model: its default one.
        seconds: of all phases.
        times: how many times what the server can do is offered.
        deadline_s: of each call.
        memory_mib: the server's bound.

    """

    models: Path
    model: str
    seconds: float
    times: float
    deadline_s: float
    memory_mib: int


def run(soak: Soak) -> Report:
    """Soak a server of its own."""
    with _server(soak) as (process, address), _aside(watch, address, process.pid) as watching:
        before = _in_a_process(saturate, address, _BEFORE_S, soak.deadline_s)
        rate = _rate(before, min(outcome.began for outcome in before) + _SETTLING_S)
        began = time.monotonic()
        with _aside(disturb, address) as disturbing:
            load_s = max(10.0, soak.seconds - _BEFORE_S - _AFTER_S)
            offered = _in_a_process(offer, address, load_s, soak.times * rate, soak.deadline_s, 1)
            disturbed: dict[str, int] = _ask(disturbing)
        ended = time.monotonic()
        after = _in_a_process(saturate, address, _AFTER_S, soak.deadline_s)
        looks: list[Look] = _ask(watching)
        process.terminate()
        code = process.wait(60)
    return Report(soak.times, soak.memory_mib, rate, offered, after, looks, disturbed, (began, ended), code)


def _rate(outcomes: list[Outcome], since: float) -> float:
    """Frames a second of the calls that ended after `since`."""
    ends = [(o.began + o.seconds, o.frames) for o in outcomes if o.code == "OK" and o.began + o.seconds > since]
    if not ends:
        raise RuntimeError(f"no call ended well within {_BEFORE_S:g} s: the machine has no time for a soak")
    return sum(frames for _, frames in ends) / (max(at for at, _ in ends) - since)


@contextmanager
def _server(soak: Soak) -> Iterator[tuple[subprocess.Popen[str], str]]:
    command = [sys.executable, "-m", "genie_service", "--models", str(soak.models), "--default-model", soak.model]
    command += ["--port", "0", "--memory-mib", str(soak.memory_mib), "--log-level", "warning"]
    environment = {**os.environ, "OMP_WAIT_POLICY": "passive"}
    environment.pop("OMP_NUM_THREADS", None)  # as users start it
    with subprocess.Popen(command, env=environment, stdout=subprocess.PIPE, text=True) as process:
        assert process.stdout is not None
        address = process.stdout.readline().removeprefix("genie: serving on ").strip()
        assert process.stdout.readline().startswith("genie: ready")
        try:
            yield process, address
        finally:
            process.kill()


def _in_a_process(function: Callable[..., Any], *arguments: Any) -> Any:
    ours, theirs = _spawn.Pipe()
    process = _spawn.Process(target=_answer, args=(function, arguments, theirs))
    process.start()
    try:
        return ours.recv()
    finally:
        process.join(10)
        process.kill()


def _answer(function: Callable[..., Any], arguments: tuple[Any, ...], to: Connection) -> None:
    to.send(function(*arguments))


@contextmanager
def _aside(function: Callable[..., None], *arguments: Any) -> Iterator[Connection]:
    """Run `function` in a process for as long as the block lasts, and talk to it."""
    ours, theirs = _spawn.Pipe()
    process = _spawn.Process(target=function, args=(*arguments, theirs))
    process.start()
    try:
        yield ours
    finally:
        process.join(5)
        process.kill()


def _ask(other: Connection) -> Any:
    """End what runs aside; what it has to say."""
    other.send("end")
    return other.recv()


__all__ = ["Soak", "run"]
