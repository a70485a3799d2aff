"""Simulated frames of another size than the model's, through real channels: bounded, charged, and the same bits."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path

import grpc
import numpy as np
import pytest

from genie_api.v1 import models_pb2, simulation_pb2
from genie_client import Client
from genie_core.errors import RequestError
from genie_core.inference import Simulator
from genie_core.models.bundle import load_bundle
from genie_core.models.config import MendingConfig, MoverConfig
from tests.factories.bundles import make_motion_bundle, make_nano_bundle
from tests.support.service_messages import assert_invalid, pixels, raw, rollout, video
from tests.support.service_server import Running, serving

SIZE = (50, 70)
MOST = 1 << 14


@pytest.fixture(scope="module")
def folder(tmp_path_factory: pytest.TempPathFactory) -> Path:
    models = tmp_path_factory.mktemp("models")
    make_nano_bundle(models / "draws")
    mending = MendingConfig(doubt_px=1e-6)  # by three steps, unless a call asks for none
    make_motion_bundle(models / "mends", mover=MoverConfig(width=8, blocks=1, mending=mending))
    make_motion_bundle(models / "moves", mover=MoverConfig(width=8, blocks=1, steady_px=1.0))
    return models


@pytest.fixture(scope="module")
def running(folder: Path) -> Iterator[Running]:
    with serving(folder, default_model="moves", preload="all", max_simulated_pixels=MOST, max_message_mib=1) as found:
        yield found


def sized(height: int, width: int, **start: object) -> simulation_pb2.SimulationStart:
    return simulation_pb2.SimulationStart(prompt=raw(video(3)), frame_height=height, frame_width=width, **start)


def test_every_call_draws_the_size_that_is_asked_for(running: Running, folder: Path) -> None:
    wanted = Simulator(load_bundle(folder / "moves")).rollout(video(3), [1, 3], frame_size=SIZE)
    actions = simulation_pb2.ActionSequence(codes=[1, 3])
    request = simulation_pb2.RolloutRequest(start=sized(*SIZE), actions=actions)
    rolled = [pixels(answer.frame)[0] for answer in running.simulation.Rollout(request)]
    both = simulation_pb2.BranchRequest(start=sized(*SIZE), branches=[actions, actions])
    branched = [pixels(answer.frames) for answer in running.simulation.Branch(both)]
    start = simulation_pb2.PlayRequest(start=sized(*SIZE))
    moves = [start, *(simulation_pb2.PlayRequest(action=code) for code in (1, 3))]
    played = [pixels(answer.frame)[0] for answer in running.simulation.Play(iter(moves))]
    # The prompt is resized to the frames first, and from there to the model's size: codes then mean almost the same.
    assert np.abs(np.stack(rolled).astype(int) - wanted).max() <= 2
    np.testing.assert_array_equal(played, rolled)
    np.testing.assert_array_equal(np.stack(branched, axis=1), [rolled, rolled])


def test_models_tell_how_large_their_frames_may_be(running: Running) -> None:
    models = running.models.ListModels(models_pb2.ListModelsRequest()).models
    most = {model.name: model.max_simulated_pixels for model in models}
    assert most == {"models/draws": 0, "models/mends": 0, "models/moves": MOST}


@pytest.mark.parametrize(
    ("size", "model", "field", "words"),
    [
        ((50, 0), "moves", "start.frame_width", "got 0 pixels, expected 1 to 4096, or both 0"),
        ((4097, 1), "moves", "start.frame_height", "got 4097 pixels"),
        ((7, 50), "moves", "start.frame_height", "at least 8 pixels a side"),
        ((128, 129), "moves", "start.frame_height", "got 128 x 129 = 16512 pixels, expected at most 16384"),
        (SIZE, "draws", "start.frame_height", "draws frames of its own size alone"),
    ],
)
def test_what_cannot_be_simulated_is_refused_by_name(
    running: Running, size: tuple[int, int], model: str, field: str, words: str
) -> None:
    request = rollout(video(1), [1], frame_height=size[0], frame_width=size[1], model=f"models/{model}")
    with pytest.raises(grpc.RpcError) as error:
        list(running.simulation.Rollout(request))
    assert_invalid(error.value, field, words)


def test_a_step_of_all_branches_must_fit_into_a_message(running: Running) -> None:
    actions = simulation_pb2.ActionSequence(codes=[1])
    most = (1 << 20) // (3 * 128 * 128)
    fits = simulation_pb2.BranchRequest(start=sized(128, 128), branches=[actions] * most)
    assert len(list(running.simulation.Branch(fits))) == 1
    large = simulation_pb2.BranchRequest(start=sized(128, 128), branches=[actions] * (most + 1))
    with pytest.raises(grpc.RpcError) as error:
        list(running.simulation.Branch(large))
    assert_invalid(error.value, "start.frame_height", "got 22 branches of 128 x 128, 1081344 bytes a step")


def test_large_frames_are_charged_before_they_are_allocated(folder: Path) -> None:
    with serving(
        folder, default_model="moves", memory_mib=256, max_simulated_pixels=1 << 20, max_wait_seconds=0.5
    ) as tight:
        actions = simulation_pb2.ActionSequence(codes=[1])
        large = simulation_pb2.BranchRequest(start=sized(1024, 1024), branches=[actions] * 8)
        with pytest.raises(grpc.RpcError) as error:
            list(tight.simulation.Branch(large))
        assert error.value.code() == grpc.StatusCode.RESOURCE_EXHAUSTED
        small = simulation_pb2.BranchRequest(start=sized(64, 64), branches=[actions] * 8)
        assert len(list(tight.simulation.Branch(small))) == 1


def test_a_client_asks_for_a_size_or_for_that_of_its_prompt(running: Running) -> None:
    prompt = video(3, 60, 100)
    with Client(running.server.address) as client:
        moves, draws = client.model("moves"), client.model("draws")
        assert (moves.max_simulated_pixels, draws.max_simulated_pixels) == (MOST, 0)
        assert client.rollout(prompt, [1, 2]).shape == (2, 32, 32, 3)
        assert client.rollout(prompt, [1, 2], frame_size=SIZE).shape == (2, *SIZE, 3)
        assert client.rollout(prompt, [1, 2], frame_size="prompt").shape == (2, 60, 100, 3)
        large = client.rollout(video(1, 300, 500), [1], frame_size="prompt")
        assert large.shape == (1, 98, 164, 3)  # as large as the server allows
        mended = client.rollout(prompt, [1], frame_size="prompt", model="mends")
        assert mended.shape == (1, 32, 32, 3)
        drawn = client.rollout(prompt, [1], frame_size="prompt", model="draws", maskgit_steps=2)
        assert drawn.shape == (1, 32, 32, 3)
        still = client.rollout(prompt, latents=np.zeros((1, 6), np.float32), frame_size="prompt")
        np.testing.assert_array_equal(still, prompt[-1:])
        with pytest.raises(RequestError, match="got 50 x 70, expected 32 x 32, the only size that draws simulates"):
            client.rollout(prompt, [1], frame_size=SIZE, model="draws")
        with pytest.raises(RequestError, match="expected at most 16384 pixels"):
            client.rollout(prompt, [1], frame_size=(200, 100))
        with pytest.raises(RequestError, match="at least 8 pixels each"):
            client.rollout(prompt, [1], frame_size=(4, 100))
