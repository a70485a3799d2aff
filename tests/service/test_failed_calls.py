"""A call leaves nothing in a cycle: what it brought goes with it, not when the garbage collector comes to look."""

from __future__ import annotations

import gc
import tracemalloc
import types
from collections.abc import Callable, Iterator
from contextlib import suppress

import grpc
import pytest

from genie_api.v1 import labelling_pb2, simulation_pb2
from genie_service.fair_queue import Operation
from tests.support.service_messages import episode, raw, video
from tests.support.service_server import Running
from tests.support.waiting import wait_until

Options, Clip = labelling_pb2.LabelOptions, labelling_pb2.LabelClipRequest


def _clip(genie: Running, height: int = 40, frames: int = 20, timeout_s: float | None = None) -> None:
    genie.labelling.LabelClip(
        Clip(options=Options(fps=10), frames=raw(video(frames), height=height)), timeout=timeout_s
    )


def _wrong_in_the_middle(genie: Running) -> None:
    def requests() -> Iterator[labelling_pb2.LabelEpisodeRequest]:
        yield from episode(video(20))
        yield labelling_pb2.LabelEpisodeRequest(frames=raw(video(5), height=41))

    list(genie.labelling.LabelEpisode(requests()))


def _wrong_action(genie: Running) -> None:
    start = simulation_pb2.SimulationStart(prompt=raw(video(1)))
    requests = (simulation_pb2.PlayRequest(start=start), simulation_pb2.PlayRequest(action=99))
    list(genie.simulation.Play(iter(requests)))


def _defect_on_the_device(genie: Running) -> None:
    loaded = genie.server.registry._entries["alpha"].loaded
    assert loaded is not None
    good = loaded.encode
    loaded.encode = Operation("divide", lambda payloads: [1 // 0 for _ in payloads])
    try:
        list(genie.labelling.LabelEpisode(episode(video(40))))
    finally:
        loaded.encode = good


CALLS: dict[str, Callable[[Running], None]] = {
    "good clip": _clip,
    "good episode": lambda genie: list(genie.labelling.LabelEpisode(episode(video(40)))) and None,
    "wrong clip": lambda genie: _clip(genie, height=41),
    "wrong in the middle": _wrong_in_the_middle,
    "wrong action": _wrong_action,
    "past its deadline": lambda genie: _clip(genie, frames=400, timeout_s=0.02),
    "defect on the device": _defect_on_the_device,
}


@pytest.mark.parametrize("call", CALLS.values(), ids=CALLS.keys())
def test_nothing_of_a_call_waits_for_the_garbage_collector(genie: Running, call: Callable[[Running], None]) -> None:
    gc.collect()
    gc.disable()
    try:
        for _ in range(2):
            with suppress(grpc.RpcError):
                call(genie)
        genie.wait_until_idle()
        gc.set_debug(gc.DEBUG_SAVEALL)
        gc.collect()
        left = [_name(thing) for thing in gc.garbage if _is_ours(thing)]
    finally:
        gc.set_debug(0)
        gc.garbage.clear()
        gc.enable()
    assert left == []


@pytest.mark.parametrize("call", ["good clip", "wrong clip", "wrong in the middle"])
def test_nothing_that_a_call_brought_is_left_at_all(genie: Running, call: str) -> None:
    tracemalloc.start()
    try:
        for _ in range(3):
            with suppress(grpc.RpcError):
                _brings(genie, call, 8 << 20)
        genie.wait_until_idle()

        def few_are_left() -> bool:
            gc.collect()
            return tracemalloc.get_traced_memory()[0] < 4 << 20

        wait_until(few_are_left, "what the calls brought is freed")
    finally:
        tracemalloc.stop()


def _brings(genie: Running, call: str, size: int) -> None:
    """A call that brings so many bytes."""
    frames = video(size // (512 * 512 * 3), 512, 512)
    clip = Clip(options=Options(fps=10), frames=raw(frames, height=511 if call == "wrong clip" else 512))
    if call == "wrong in the middle":
        requests = [*episode(video(2, 512, 512)), labelling_pb2.LabelEpisodeRequest(frames=raw(frames, height=511))]
        list(genie.labelling.LabelEpisode(iter(requests)))
    else:
        genie.labelling.LabelClip(clip)


def _is_ours(thing: object) -> bool:
    if isinstance(thing, types.FrameType):
        return "genie_service" in thing.f_code.co_filename
    module = type(thing).__module__  # not a string for every class: some define a slot or property of that name
    return isinstance(module, str) and module.startswith(("genie_service", "genie_core"))


def _name(thing: object) -> str:
    return f"frame of {thing.f_code.co_qualname}" if isinstance(thing, types.FrameType) else type(thing).__name__
