"""SimulationService through real channels: the frames are the Simulator's own, and every bad input is named."""

from __future__ import annotations

import queue
import threading
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import grpc
import numpy as np
import pytest

from genie_api.v1 import frames_pb2, simulation_pb2
from genie_core.data.frames.images import decode_image, encode_image
from genie_core.inference import Sampling, Simulator
from genie_core.models.bundle import load_bundle
from tests.support.service_messages import Episode, assert_invalid, details, pixels, raw, rollout, video
from tests.support.service_server import Running
from tests.support.waiting import WITHIN_S

PlayRequest = simulation_pb2.PlayRequest
SAMPLING = simulation_pb2.SamplingOptions(maskgit_steps=4, seed=7)


@pytest.fixture(scope="module")
def simulator(models: Path) -> Simulator:
    return Simulator(load_bundle(models / "alpha"))


def _start(prompt: Episode | None = None, **fields: Any) -> simulation_pb2.SimulationStart:
    return simulation_pb2.SimulationStart(
        **{"prompt": raw(video(2) if prompt is None else prompt), "sampling": SAMPLING, **fields}
    )


def _play(*codes: int, **start: Any) -> list[PlayRequest]:
    return [PlayRequest(start=_start(**start)), *(PlayRequest(action=code) for code in codes)]


def _latents(count: int, dim: int = 8, seed: int = 3) -> np.ndarray:
    return np.random.default_rng(seed).normal(size=(count, dim)).astype("<f4")


def _by_latents(latents: np.ndarray, **fields: Any) -> simulation_pb2.RolloutRequest:
    actions = simulation_pb2.ActionSequence(latents=latents.tobytes(), **fields)
    return simulation_pb2.RolloutRequest(start=_start(), actions=actions)


def _branches(*branches: list[int], **start: Any) -> simulation_pb2.BranchRequest:
    sequences = [simulation_pb2.ActionSequence(codes=codes) for codes in branches]
    return simulation_pb2.BranchRequest(start=_start(**start), branches=sequences)


@pytest.mark.parametrize("prompt_frames", [1, 4])
def test_a_rollout_has_the_simulators_own_frames(genie: Running, simulator: Simulator, prompt_frames: int) -> None:
    prompt = video(prompt_frames)
    responses = list(genie.simulation.Rollout(rollout(prompt, [1, 2, 7], sampling=SAMPLING)))
    wanted = simulator.rollout(prompt, [1, 2, 7], Sampling(maskgit_steps=4, seed=7))
    np.testing.assert_array_equal(np.concatenate([pixels(r.frame) for r in responses]), wanted)
    assert [r.index for r in responses] == [0, 1, 2]
    assert all(r.timing.total_ms >= r.timing.device_ms > 0 for r in responses)


def test_defaults_are_25_steps_or_all_tokens_and_the_bundles_temperature(genie: Running, simulator: Simulator) -> None:
    (response,) = genie.simulation.Rollout(rollout(video(2), [3]))
    tokens = simulator.bundle.config.tokens_per_frame
    wanted = simulator.rollout(video(2), [3], Sampling(min(25, tokens), simulator.bundle.config.temperature))
    np.testing.assert_array_equal(pixels(response.frame), wanted)


def test_options_reach_the_sampler(genie: Running, simulator: Simulator) -> None:
    options = simulation_pb2.SamplingOptions(maskgit_steps=3, temperature=0.2, seed=2**64 - 1)
    (response,) = genie.simulation.Rollout(rollout(video(2), [3], sampling=options))
    wanted = simulator.rollout(video(2), [3], Sampling(3, 0.2, 2**64 - 1))
    np.testing.assert_array_equal(pixels(response.frame), wanted)


def test_branches_are_the_rollouts_of_their_actions(genie: Running, simulator: Simulator) -> None:
    branches = [[0, 1], [5, 5], [0, 7]]
    responses = list(genie.simulation.Branch(_branches(*branches)))
    assert [r.index for r in responses] == [0, 1]
    for i, codes in enumerate(branches):
        wanted = simulator.rollout(video(2), codes, Sampling(maskgit_steps=4, seed=7))
        np.testing.assert_array_equal(np.stack([pixels(r.frames)[i] for r in responses]), wanted)


def test_play_answers_each_action_with_its_frame(genie: Running, simulator: Simulator) -> None:
    requests: queue.SimpleQueue[PlayRequest | None] = queue.SimpleQueue()
    requests.put(PlayRequest(start=_start()))
    call = genie.simulation.Play(iter(requests.get, None))
    frames = []
    for index, code in enumerate([4, 2, 2]):
        requests.put(PlayRequest(action=code))
        response = next(call)
        assert response.index == index
        frames.append(pixels(response.frame))
    requests.put(None)
    assert list(call) == []
    wanted = simulator.rollout(video(2), [4, 2, 2], Sampling(maskgit_steps=4, seed=7))
    np.testing.assert_array_equal(np.concatenate(frames), wanted)


def test_latents_simulate_as_codes_do(genie: Running, simulator: Simulator) -> None:
    latents, sampling = _latents(3), Sampling(maskgit_steps=4, seed=7)
    wanted = simulator.rollout(video(2), list(latents), sampling)
    rolled = list(genie.simulation.Rollout(_by_latents(latents)))
    np.testing.assert_array_equal(np.concatenate([pixels(r.frame) for r in rolled]), wanted)
    played = list(genie.simulation.Play(iter([*_play(), *(PlayRequest(latent=row.tobytes()) for row in latents)])))
    np.testing.assert_array_equal(np.concatenate([pixels(r.frame) for r in played]), wanted)
    codes = [5, 1, 2]
    coded = list(genie.simulation.Rollout(_by_latents(simulator.bundle.codebook[codes])))
    plain = simulator.rollout(video(2), codes, sampling)
    np.testing.assert_array_equal(np.concatenate([pixels(r.frame) for r in coded]), plain)
    both = [simulation_pb2.ActionSequence(codes=codes), simulation_pb2.ActionSequence(latents=latents.tobytes())]
    branched = list(genie.simulation.Branch(simulation_pb2.BranchRequest(start=_start(), branches=both)))
    np.testing.assert_array_equal(np.stack([pixels(r.frames) for r in branched], 1), np.stack([plain, wanted]))


def test_frames_can_come_and_go_as_png(genie: Running) -> None:
    prompt = video(2)
    plain = list(genie.simulation.Rollout(rollout(prompt, [1], sampling=SAMPLING)))
    images = [encode_image(frame) for frame in prompt]
    png = frames_pb2.FRAME_ENCODING_PNG
    sent = raw(prompt, raw=b"", encoding=png, images=images)
    (response,) = genie.simulation.Rollout(rollout(prompt, [1], prompt=sent, sampling=SAMPLING, response_encoding=png))
    assert response.frame.encoding == png
    assert not response.frame.raw
    np.testing.assert_array_equal(decode_image(response.frame.images[0]), pixels(plain[0].frame)[0])


@pytest.mark.parametrize(
    ("request_", "field", "words"),
    [
        (simulation_pb2.RolloutRequest(), "actions.codes", ["got 0"]),
        (rollout(video(2), []), "actions.codes", ["got 0", "1 to 1024"]),
        (rollout(video(2), [0] * 1025), "actions.codes", ["got 1025"]),
        (rollout(video(2), [0, 1, 9]), "actions.codes[2]", ["latent action 9 is out of range", "0 to 7"]),
        (_by_latents(_latents(1, 7)), "actions.latents", ["28 bytes", "latents of 32 bytes"]),
        (_by_latents(np.full((1, 8), np.nan, "<f4")), "actions.latents[0]", ["not finite", "8 finite numbers"]),
        (_by_latents(_latents(1025)), "actions.latents", ["1 to 1024"]),
        (_by_latents(_latents(1), codes=[1]), "actions", ["codes and latents"]),
        (rollout(video(2), [0], prompt=None), "start.prompt", ["missing", "1 to 4"]),
        (rollout(video(5), [0]), "start.prompt.count", ["got 5", "1 to 4"]),
        (rollout(video(2), [0], prompt=raw(video(2), count=0)), "start.prompt.count", ["got 0"]),
        (rollout(video(2), [0], prompt=raw(video(2), raw=b"")), "start.prompt.raw", ["0 bytes"]),
        (rollout(video(2), [0], response_encoding=2), "start.response_encoding", ["FRAME_ENCODING_PNG"]),
        (rollout(video(2), [0], response_encoding=9), "start.response_encoding", ["9"]),
        (rollout(video(2), [0], model="x"), "start.model", ["'x'"]),
        (rollout(video(2), [0], sampling={"maskgit_steps": 17}), "start.sampling.maskgit_steps", ["17", "1 to 16"]),
        (rollout(video(2), [0], sampling={"maskgit_steps": 0}), "start.sampling.maskgit_steps", ["0", "1 to 16"]),
        (rollout(video(2), [0], sampling={"temperature": 0}), "start.sampling.temperature", ["got 0"]),
        (rollout(video(2), [0], sampling={"temperature": float("nan")}), "start.sampling.temperature", ["nan"]),
    ],
)
def test_a_wrong_rollout_is_refused_by_field(
    genie: Running, request_: simulation_pb2.RolloutRequest, field: str, words: list[str]
) -> None:
    with pytest.raises(grpc.RpcError) as caught:
        list(genie.simulation.Rollout(request_))
    assert_invalid(caught.value, field, *words)


@pytest.mark.parametrize(
    ("request_", "field", "words"),
    [
        (_branches(), "branches", ["got 0", "1 to 64"]),
        (_branches(*([[0]] * 65)), "branches", ["got 65"]),
        (_branches([]), "branches[0].codes", ["got 0"]),
        (_branches([0, 1], [0]), "branches[1].codes", ["got 1", "expected 2 as in branches[0]"]),
        (_branches([0, 1], [0, 8]), "branches[1].codes[1]", ["8"]),
    ],
)
def test_wrong_branches_are_refused_by_field(
    genie: Running, request_: simulation_pb2.BranchRequest, field: str, words: list[str]
) -> None:
    with pytest.raises(grpc.RpcError) as caught:
        list(genie.simulation.Branch(request_))
    assert_invalid(caught.value, field, *words)


@pytest.mark.parametrize(
    ("requests", "field", "words"),
    [
        ([], "start", ["ended"]),
        ([PlayRequest(action=1)], "start", ["`action`"]),
        ([PlayRequest()], "start", ["nothing"]),
        ([*_play(1), PlayRequest(start=_start())], "action", ["`start`"]),
        (_play(1, 8), "action", ["latent action 8", "0 to 7"]),
        ([*_play(1), PlayRequest(latent=b"12345")], "latent", ["8 finite numbers"]),
        (_play(1, prompt=video(5)), "start.prompt.count", ["got 5"]),
    ],
)
def test_wrong_play_is_refused_by_field(
    genie: Running, requests: list[PlayRequest], field: str, words: list[str]
) -> None:
    with pytest.raises(grpc.RpcError) as caught:
        list(genie.simulation.Play(iter(requests)))
    assert_invalid(caught.value, field, *words)


@contextmanager
def _idle_player(genie: Running) -> Iterator[Any]:
    """A player who takes one step and then does nothing, until the block ends."""
    done = threading.Event()

    def idle() -> Iterator[PlayRequest]:
        yield from _play(1)
        done.wait(WITHIN_S)

    call = genie.simulation.Play(idle())
    assert next(call).index == 0
    try:
        yield call
    finally:
        done.set()


def test_a_player_for_whom_there_is_no_room_is_told_to_come_again(start: Callable[..., Running]) -> None:
    genie = start(max_play_streams=1)
    with _idle_player(genie), pytest.raises(grpc.RpcError) as refused:
        list(genie.simulation.Play(iter(_play(1))))
    assert refused.value.code() is grpc.StatusCode.RESOURCE_EXHAUSTED
    assert "max_play_streams" in refused.value.details()
    assert "RetryInfo" in details(refused.value)


def test_an_idle_player_is_sent_home_and_another_gets_in(start: Callable[..., Running]) -> None:
    genie = start(idle_seconds=0.4, max_play_streams=1)
    with _idle_player(genie) as call, pytest.raises(grpc.RpcError) as caught:
        next(call)
    assert caught.value.code() is grpc.StatusCode.DEADLINE_EXCEEDED
    assert "nothing came for 0.4 s" in caught.value.details()
    assert len(list(genie.simulation.Play(iter(_play(1, 2))))) == 2


def test_a_cancelled_rollout_stops_between_frames(genie: Running) -> None:
    call = genie.simulation.Rollout(rollout(video(2), [0] * 1000, sampling=SAMPLING))
    next(call)
    call.cancel()
    genie.wait_until_idle()
