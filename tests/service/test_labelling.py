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
from numpy.typing import NDArray

from genie_api.v1 import frames_pb2, labelling_pb2
from genie_core.data.frames.images import encode_image
from genie_core.data.labelled.labels import Labels
from genie_core.errors import RequestError
from genie_core.inference import Labeller
from genie_core.models.bundle import load_bundle
from genie_service import frames as frames_module
from tests.support.service_messages import Episode, assert_invalid, details, episode, labels_of, raw, video
from tests.support.service_server import Running
from tests.support.waiting import WITHIN_S, wait_until

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
        assert got_labels.wait(WITHIN_S), "no label came before the last frame was sent"
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
        (list(episode(video(0))), "frames", ["got 0, expected at least 2 frames"]),
        (list(episode(video(1))), "frames", ["got 1, expected at least 2 frames"]),
        (list(episode(video(2), fps=0)), "header.fps", ["neither fps nor step"]),
        (list(episode(video(2), fps=-1)), "header.fps", ["-1"]),
        (list(episode(video(2), fps=float("nan"))), "header.fps", ["nan"]),
        (list(episode(video(2), fps=float("inf"))), "header.fps", ["inf"]),
        (list(episode(video(2), fps=1e6)), "header.fps", ["100000 frames a step", "at most 1024"]),
        (list(episode(video(2), step=1025)), "header.step", ["1025", "1 to 1024"]),
        (list(episode(video(2), density=7)), "header.density", ["7"]),
        (list(episode(video(2), model="alpha")), "header.model", ["'alpha'", "models/"]),
        (list(episode(video(2), model="models/../alpha")), "header.model", ["expected"]),
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
        (_clip(video(1), fps=10), "frames.count", ["got 1, expected at least 2 frames"]),
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
    """A clip is told before its deadline that it will be late, if the machine has time to tell it."""
    with genie.busy_device():
        with pytest.raises(grpc.RpcError) as caught:
            genie.labelling.LabelClip(_clip(video(20), fps=10), timeout=1.0)
        assert caught.value.code() in (grpc.StatusCode.RESOURCE_EXHAUSTED, grpc.StatusCode.DEADLINE_EXCEEDED)
        wait_until(lambda: genie.server.engine.pending == genie.server.engine.lanes)


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
    genie.wait_until_idle()
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


def test_a_call_that_others_would_keep_waiting_too_long_is_refused_with_a_hint(start: Callable[..., Running]) -> None:
    genie = start(max_wait_seconds=0.001)
    with genie.busy_device(), genie.waiting_work(50), pytest.raises(grpc.RpcError, match="max_wait_seconds") as caught:
        genie.labelling.LabelClip(_clip(video(20), fps=10))
    assert caught.value.code() is grpc.StatusCode.RESOURCE_EXHAUSTED
    assert details(caught.value)["RetryInfo"].retry_delay.ToMilliseconds() >= 100
    assert int(dict(caught.value.trailing_metadata())["grpc-retry-pushback-ms"]) >= 100


def test_an_episode_is_refused_before_its_header_is_accepted_or_not_at_all(start: Callable[..., Running]) -> None:
    genie = start(max_wait_seconds=0.001)
    with genie.busy_device(), genie.waiting_work(50):
        call = genie.labelling.LabelEpisode(episode(video(40)))
        with pytest.raises(grpc.RpcError, match="max_wait_seconds"):
            next(call)


def test_a_client_that_is_alone_is_never_refused_for_its_own_size(start: Callable[..., Running]) -> None:
    genie = start(max_wait_seconds=0.001, memory_mib=1)  # room for two of the largest messages, as there always is
    with ThreadPoolExecutor(16) as pool:
        frames = video(300, 32, 32)
        calls = [pool.submit(lambda: list(genie.labelling.LabelEpisode(episode(frames, step=30)))) for _ in range(16)]
        ends = [call.result(60)[-1].summary.transitions for call in calls]
    assert ends == [270] * 16
    assert genie.server.budget.used == 0


def test_a_header_costs_nothing_and_a_phase_its_state_once_its_frames_come(genie: Running) -> None:
    genie.wait_until_idle()
    budget = genie.server.budget
    done = threading.Event()

    def requests(frames: Episode) -> Iterator[Request]:
        yield from episode(frames, step=1024)
        done.wait(WITHIN_S)

    calls = [genie.labelling.LabelEpisode(requests(video(0))) for _ in range(4)]
    for call in calls:
        assert next(call).header.step == 1024
    assert budget.work.used == 0
    call = genie.labelling.LabelEpisode(requests(video(4, 32, 32)))
    wait_until(lambda: budget.work.used >= genie.model("alpha").labeller.stream_bytes(1024, "dense"))
    done.set()
    assert [r.WhichOneof("part") for r in call][-1] == "summary"
    wait_until(lambda: budget.used == 0)


def test_silent_streams_give_their_places_to_those_who_come_new(start: Callable[..., Running]) -> None:
    genie = start(max_calls=8, pressure_seconds=0.3)
    done = threading.Event()

    def silent() -> Iterator[Request]:
        yield from episode(video(0))
        done.wait(WITHIN_S)

    with genie.other_clients(6) as others:
        held = [other.LabelEpisode(silent()) for other in others for _ in range(2)]
        for call in held[:4]:
            next(call)
        summary = list(genie.labelling.LabelEpisode(episode(video(20))))[-1].summary
    done.set()
    assert summary.frames == 20


def test_one_client_cannot_keep_another_out(start: Callable[..., Running]) -> None:
    genie = start(max_calls=8)
    done = threading.Event()

    def silent() -> Iterator[Request]:
        yield from episode(video(0))
        done.wait(WITHIN_S)

    with genie.other_clients(1) as (greedy,):
        held = [greedy.LabelEpisode(silent()) for _ in range(40)]
        began = time.monotonic()
        assert list(genie.labelling.LabelEpisode(episode(video(20))))[-1].summary.frames == 20
        assert time.monotonic() - began < WITHIN_S / 2
        wait_until(lambda: sum(call.done() for call in held) >= 32)
        refused = {call.code() for call in held if call.done()}
    done.set()
    assert refused == {grpc.StatusCode.RESOURCE_EXHAUSTED}


def test_images_are_decoded_a_few_at_a_time(genie: Running, monkeypatch: pytest.MonkeyPatch) -> None:
    """A small message of large images never has all of them in memory."""
    decoded: list[int] = []
    scratch = genie.server.budget.work
    plain = frames_module.decode_image

    def watched(data: bytes, field: str) -> NDArray[np.uint8]:
        decoded.append(scratch.used)
        return plain(data, field)

    monkeypatch.setattr(frames_module, "decode_image", watched)
    image = encode_image(np.zeros((2048, 2048, 3), np.uint8))
    frames = raw(video(1), encoding=frames_pb2.FRAME_ENCODING_PNG, raw=b"", count=8, height=2048, width=2048)
    frames.images.extend([image] * 8)
    response = genie.labelling.LabelClip(
        labelling_pb2.LabelClipRequest(options=labelling_pb2.LabelOptions(fps=10), frames=frames)
    )
    assert len(response.labels.code) == 8
    assert len(decoded) == 8
    assert max(decoded) < 8 * 2048 * 2048 * 3  # what all of them would take


def test_images_that_wait_for_their_turn_take_no_memory_from_others(
    start: Callable[..., Running], labeller: Labeller, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Many clients' large images, more than there is memory to decode at once: a newcomer works meanwhile."""
    genie = start(max_wait_seconds=600.0)
    done = threading.Event()

    def slow(data: bytes, field: str) -> tuple[int, int]:
        done.wait(WITHIN_S)
        raise RequestError(field, "got no image")

    monkeypatch.setattr(frames_module, "image_size", slow)
    frames = raw(video(1), encoding=frames_pb2.FRAME_ENCODING_PNG, raw=b"", count=2, height=4096, width=4096)
    frames.images.extend([b"\x89PNG\r\n\x1a\n"] * 2)
    request = labelling_pb2.LabelClipRequest(options=labelling_pb2.LabelOptions(fps=10), frames=frames)
    work = genie.server.budget.work
    with genie.other_clients(work.total // frames_module.scratch_bytes(frames) + 2) as clients:
        calls = [client.LabelClip.future(request) for client in clients]
        wait_until(lambda: work.used > 0)
        time.sleep(0.2)
        try:
            clip = _clip(video(20, labeller.height, labeller.width), fps=10)
            assert len(genie.labelling.LabelClip(clip, timeout=WITHIN_S / 2).labels.code) == 20
            assert not any(call.done() for call in calls)
        finally:
            done.set()
        assert {call.code() for call in calls} == {grpc.StatusCode.INVALID_ARGUMENT}


def test_whose_images_would_wait_too_long_is_told_when_to_return(
    start: Callable[..., Running], labeller: Labeller, monkeypatch: pytest.MonkeyPatch
) -> None:
    genie = start(max_wait_seconds=2.0)
    done = threading.Event()

    def slow(data: bytes, field: str) -> tuple[int, int]:
        done.wait(WITHIN_S)
        raise RequestError(field, "got no image")

    monkeypatch.setattr(frames_module, "image_size", slow)
    frames = raw(video(1), encoding=frames_pb2.FRAME_ENCODING_PNG, raw=b"", count=8, height=2048, width=2048)
    frames.images.extend([b"\x89PNG\r\n\x1a\n"] * 8)
    request = labelling_pb2.LabelClipRequest(options=labelling_pb2.LabelOptions(fps=10), frames=frames)
    with genie.other_clients(6) as clients:
        calls = [client.LabelClip.future(request) for client in clients]
        try:
            wait_until(lambda: any(call.done() for call in calls))
            with pytest.raises(grpc.RpcError, match="to decode first; the server's limit is 2 s"):
                genie.labelling.LabelClip(request)
            clip = _clip(video(20, labeller.height, labeller.width), fps=10)  # which no thread must resize
            assert len(genie.labelling.LabelClip(clip, timeout=WITHIN_S / 2).labels.code) == 20
        finally:
            done.set()
        codes = {call.code() for call in calls}
    assert codes == {grpc.StatusCode.RESOURCE_EXHAUSTED, grpc.StatusCode.INVALID_ARGUMENT}


def test_an_idle_episode_is_ended(start: Callable[..., Running]) -> None:
    genie = start(idle_seconds=0.2)
    done = threading.Event()

    def requests() -> Iterator[Request]:
        yield from episode(video(4))
        done.wait(WITHIN_S)

    with pytest.raises(grpc.RpcError) as caught:
        list(genie.labelling.LabelEpisode(requests()))
    done.set()
    assert caught.value.code() is grpc.StatusCode.DEADLINE_EXCEEDED
    assert "0.2 s" in caught.value.details()
