"""LabellingService through real channels: the labels are the Labeller's own, and every bad input is named."""

from __future__ import annotations

import threading
import time
from collections.abc import Callable, Iterable, Iterator
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from typing import Any

import grpc
import numpy as np
import pytest

from genie_api.v1 import labelling_pb2
from genie_core.data.labelled.labels import Labels
from genie_core.inference import Labeller
from genie_core.models.bundle import load_bundle
from tests.support.service_messages import Episode, assert_invalid, details, episode, labels_of, raw, video
from tests.support.service_server import Running

LATENT_DIM = 8
Request = labelling_pb2.LabelEpisodeRequest


@pytest.fixture(scope="module")
def labeller(models: Path) -> Labeller:
    return Labeller(load_bundle(models / "alpha"))


def _assert_same(got: Labels, wanted: Labels) -> None:
    assert got.start == wanted.start
    for name in ("code", "latent", "confidence", "valid"):
        np.testing.assert_array_equal(getattr(got, name), getattr(wanted, name), err_msg=name)


def _label(genie: Running, requests: Iterable[Request], **how: Any) -> tuple[Any, Labels, Any]:
    """Header, labels and summary of one episode."""
    responses = list(genie.labelling.LabelEpisode(iter(requests), **how))
    assert [r.WhichOneof("part") for r in responses[:1]] == ["header"]
    assert {r.WhichOneof("part") for r in responses[1:-1]} == {"labels"}
    assert responses[-1].WhichOneof("part") == "summary"
    labels = labels_of([r.labels for r in responses[1:-1]], LATENT_DIM)
    return responses[0].header, labels, responses[-1].summary


def _clip(frames: Episode, **options: Any) -> labelling_pb2.LabelClipRequest:
    return labelling_pb2.LabelClipRequest(options=labelling_pb2.LabelOptions(**options), frames=raw(frames))


@pytest.mark.parametrize("chunk", [1, 7, 200])
@pytest.mark.parametrize(
    ("options", "step", "density"),
    [({"fps": 10}, 1, "dense"), ({"fps": 30}, 3, "dense"), ({"step": 3, "density": 2}, 3, "strided")],
)
def test_an_episode_has_the_labellers_own_labels(
    genie: Running, labeller: Labeller, chunk: int, options: dict[str, Any], step: int, density: Any
) -> None:
    frames = video(101)
    header, labels, summary = _label(genie, episode(frames, chunk, **{"fps": 0, **options}))
    wanted = labeller.label(frames, step, density)
    _assert_same(labels, wanted)
    assert (header.model, header.bundle_id) == ("models/alpha", labeller.bundle.bundle_id)
    assert (header.step, header.model_fps, header.effective_fps) == (step, 10, 10 if "fps" in options else 0)
    assert (header.latent_dim, header.num_codes) == (LATENT_DIM, 8)
    assert header.density == (2 if density == "strided" else 1)
    assert (summary.frames, summary.transitions) == (101, int(wanted.valid.sum()))
    assert summary.timing.total_ms > summary.timing.device_ms > 0


def test_a_clip_has_the_same_labels(genie: Running, labeller: Labeller) -> None:
    frames = video(150)
    response = genie.labelling.LabelClip(_clip(frames, fps=20))
    _assert_same(labels_of([response.labels], LATENT_DIM), labeller.label(frames, 2))
    assert response.provenance.step == 2
    assert response.timing.total_ms > response.timing.device_ms > 0


def test_clients_do_not_change_each_others_labels(genie: Running, labeller: Labeller) -> None:
    episodes = [video(60 + i, seed=i) for i in range(8)]
    with ThreadPoolExecutor(8) as pool:
        results = list(pool.map(lambda frames: _label(genie, episode(frames, 5))[1], episodes))
    for frames, labels in zip(episodes, results, strict=True):
        _assert_same(labels, labeller.label(frames, 1))


def test_labels_come_back_before_the_episode_ends(genie: Running) -> None:
    got_labels = threading.Event()

    def requests() -> Iterator[Request]:
        yield from episode(video(40))
        assert got_labels.wait(10), "no label came before the last frame was sent"
        yield Request(frames=raw(video(3)))

    parts = []
    for response in genie.labelling.LabelEpisode(requests()):
        parts.append(response.WhichOneof("part"))
        if parts[-1] == "labels":
            got_labels.set()
    assert parts[0] == "header"


def test_an_episode_shorter_than_a_step_has_no_transition(genie: Running) -> None:
    _, labels, summary = _label(genie, episode(video(3), step=5))
    assert len(labels) == 3
    assert not labels.valid.any()
    assert (summary.frames, summary.transitions) == (3, 0)


@pytest.mark.parametrize(
    ("requests", "field", "words"),
    [
        ([], "header", ["ended"]),
        ([Request(frames=raw(video(2)))], "header", ["`frames`"]),
        ([Request()], "header", ["nothing"]),
        ([*episode(video(2)), *episode(video(2))], "frames", ["`header`"]),
        ([*episode(video(2)), Request()], "frames", ["nothing"]),
        (list(episode(video(0))), "frames", ["at least 2 frames, got 0"]),
        (list(episode(video(1))), "frames", ["at least 2 frames, got 1"]),
        (list(episode(video(2), fps=0)), "header.fps", ["neither fps nor step"]),
        (list(episode(video(2), fps=-1)), "header.fps", ["-1"]),
        (list(episode(video(2), fps=float("nan"))), "header.fps", ["nan"]),
        (list(episode(video(2), fps=float("inf"))), "header.fps", ["inf"]),
        (list(episode(video(2), fps=1e6)), "header.fps", ["100000 frames a step", "at most 1024"]),
        (list(episode(video(2), step=1025)), "header.step", ["1025", "1 to 1024"]),
        (list(episode(video(2), density=7)), "header.density", ["7"]),
        (list(episode(video(2), model="alpha")), "header.model", ["'alpha'", "models/"]),
        (list(episode(video(2), model="models/../alpha")), "header.model", ["wanted"]),
        (list(episode([video(2), video(2, 48, 48)])), "frames.height", ["48 x 48", "40 x 48"]),
        (list(episode([video(2), video(2, 40, 40)])), "frames.width", ["40 x 40", "40 x 48"]),
        ([*episode(video(40)), Request(frames=raw(video(2), raw=b"short"))], "frames.raw", ["5 bytes", "11520"]),
        ([*episode(video(2)), Request(frames=raw(video(2), channels=4))], "frames.channels", ["got 4"]),
    ],
)
def test_a_wrong_episode_is_refused_by_field(
    genie: Running, requests: list[Request], field: str, words: list[str]
) -> None:
    with pytest.raises(grpc.RpcError) as caught:
        list(genie.labelling.LabelEpisode(iter(requests)))
    assert_invalid(caught.value, field, *words)


@pytest.mark.parametrize(
    ("request_", "field", "words"),
    [
        (labelling_pb2.LabelClipRequest(), "options.fps", ["neither"]),
        (_clip(video(1), fps=10), "frames.count", ["at least 2 frames, got 1"]),
        (labelling_pb2.LabelClipRequest(options=labelling_pb2.LabelOptions(fps=10)), "frames.count", ["got 0"]),
        (_clip(video(2), step=2000), "options.step", ["2000"]),
        (_clip(video(2), model="models/", fps=10), "options.model", ["'models/'"]),
    ],
)
def test_a_wrong_clip_is_refused_by_field(
    genie: Running, request_: labelling_pb2.LabelClipRequest, field: str, words: list[str]
) -> None:
    with pytest.raises(grpc.RpcError) as caught:
        genie.labelling.LabelClip(request_)
    assert_invalid(caught.value, field, *words)


def test_a_model_that_cannot_be_used_is_said_to_be_so(genie: Running) -> None:
    for model, code, words in (
        ("models/gamma", grpc.StatusCode.NOT_FOUND, "there are: alpha, beta, broken"),
        ("models/beta", grpc.StatusCode.FAILED_PRECONDITION, "not loaded"),
        ("models/broken", grpc.StatusCode.FAILED_PRECONDITION, "could not be loaded"),
    ):
        with pytest.raises(grpc.RpcError) as caught:
            list(genie.labelling.LabelEpisode(episode(video(2), model=model)))
        assert caught.value.code() is code
        assert words in caught.value.details()


def test_bytes_that_are_no_message_are_refused(genie: Running) -> None:
    for method in ("LabelClip", "LabelEpisode"):
        multicallable = genie.channel.stream_stream(f"/genie_api.v1.LabellingService/{method}")
        with pytest.raises(grpc.RpcError) as caught:
            list(multicallable(iter([b"\xff\xff"])))
        assert_invalid(caught.value, "request")


def test_a_message_past_the_limit_fails_the_call(start: Callable[..., Running]) -> None:
    genie = start(max_message_mib=1)
    big = [*episode(video(40)), Request(frames=raw(video(4, 320, 320)))]
    with pytest.raises(grpc.RpcError) as caught:
        list(genie.labelling.LabelEpisode(iter(big)))
    assert caught.value.code() is grpc.StatusCode.RESOURCE_EXHAUSTED
    assert "1048576" in caught.value.details()
    assert _label(genie, episode(video(4)))[2].frames == 4


def test_a_deadline_drops_the_work_before_it_runs(genie: Running) -> None:
    with genie.busy_device():
        began = time.monotonic()
        with pytest.raises(grpc.RpcError) as caught:
            genie.labelling.LabelClip(_clip(video(20), fps=10), timeout=0.3)
        assert caught.value.code() is grpc.StatusCode.DEADLINE_EXCEEDED
        assert time.monotonic() - began < 5
        _wait_until(lambda: genie.server.engine.pending == genie.server.engine.lanes)


def test_a_cancelled_stream_stops_and_gives_back_what_it_holds(genie: Running) -> None:
    sent = 0

    def endless() -> Iterator[Request]:
        nonlocal sent
        yield from episode(video(40))
        while True:
            sent += 1
            yield Request(frames=raw(video(16)))

    call = genie.labelling.LabelEpisode(endless())
    for response in call:
        if response.WhichOneof("part") == "labels":
            call.cancel()
            break
    _wait_until(lambda: genie.server.engine.pending == 0 and genie.server.calls_under_way == 0)
    after = sent
    time.sleep(0.1)
    assert sent <= after + 1


def test_a_client_is_held_back_while_the_device_is_busy(genie: Running) -> None:
    sent = 0

    def requests() -> Iterator[Request]:
        nonlocal sent
        for request in episode([video(8, 200, 240)] * 40, chunk=8):  # 1.1 MiB a message
            sent += 1
            yield request

    with genie.busy_device():
        call = genie.labelling.LabelEpisode(requests())
        time.sleep(1)
        assert sent < 20
    assert [r.WhichOneof("part") for r in call][-1] == "summary"
    assert sent == 41


def test_a_call_that_begins_when_the_queue_is_full_is_refused_with_a_hint(start: Callable[..., Running]) -> None:
    genie = start(queue_limit=1)
    with genie.busy_device(), pytest.raises(grpc.RpcError) as caught:
        genie.labelling.LabelClip(_clip(video(20), fps=10))
    assert caught.value.code() is grpc.StatusCode.RESOURCE_EXHAUSTED
    assert details(caught.value)["RetryInfo"].retry_delay.ToMilliseconds() >= 100
    assert int(dict(caught.value.trailing_metadata())["grpc-retry-pushback-ms"]) >= 100


def test_an_idle_episode_is_ended(start: Callable[..., Running]) -> None:
    genie = start(idle_seconds=0.2)
    done = threading.Event()

    def requests() -> Iterator[Request]:
        yield from episode(video(4))
        done.wait(10)

    with pytest.raises(grpc.RpcError) as caught:
        list(genie.labelling.LabelEpisode(requests()))
    done.set()
    assert caught.value.code() is grpc.StatusCode.DEADLINE_EXCEEDED
    assert "0.2 s" in caught.value.details()


def _wait_until(condition: Callable[[], bool]) -> None:
    deadline = time.monotonic() + 10
    while not condition():
        assert time.monotonic() < deadline
        time.sleep(0.005)
