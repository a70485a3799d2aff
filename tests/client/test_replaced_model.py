"""A model that is replaced between a client's question for it and the call that it then makes."""

from __future__ import annotations

import asyncio
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from typing import Any

import grpc
import numpy as np
import pytest

from genie_api.v1 import models_pb2, models_pb2_grpc, simulation_pb2, simulation_pb2_grpc
from genie_client import AsyncClient, Client, ModelError
from genie_client.messages import frames_message
from genie_client.simulation_messages import MOST_REPLACED
from genie_core.data import Frames
from tests.factories.data import make_frames

PROMPT = make_frames(1, 8, 8)
CODES = [3, 1, 2]


class Swapping(models_pb2_grpc.ModelServiceServicer, simulation_pb2_grpc.SimulationServiceServicer):
    """A server whose model is replaced `swaps` times, each time after it was asked for and before the call arrives.

    A frame's brightness is the bundle's number; `acted` has the actions of every call of Play.
    """

    def __init__(self) -> None:
        self.swaps = self.bundle = self.asked = 0
        self.acted: list[list[int]] = []

    def GetModel(self, request: Any, context: grpc.ServicerContext) -> models_pb2.GetModelResponse:
        self.asked += 1
        model = models_pb2.Model(
            name="models/one",
            bundle_id=self._identity(),
            frame_height=8,
            frame_width=8,
            num_codes=8,
            precision="float32",
        )
        return models_pb2.GetModelResponse(model=model)

    def _identity(self) -> str:
        return f"{self.bundle:02x}".ljust(64, "e")

    def _swap(self) -> tuple[str, Frames]:
        if self.swaps:
            self.swaps, self.bundle = self.swaps - 1, self.bundle + 1
        return self._identity(), np.full((1, 8, 8, 3), self.bundle, np.uint8)

    def Rollout(self, request: Any, context: grpc.ServicerContext) -> Iterator[simulation_pb2.RolloutResponse]:
        bundle_id, frames = self._swap()
        for i, _ in enumerate(request.actions.codes):
            yield simulation_pb2.RolloutResponse(
                index=i, frame=frames_message(frames), bundle_id="" if i else bundle_id
            )

    def Branch(self, request: Any, context: grpc.ServicerContext) -> Iterator[simulation_pb2.BranchResponse]:
        bundle_id, frames = self._swap()
        several = frames_message(np.concatenate([frames] * len(request.branches)))
        for i, _ in enumerate(request.branches[0].codes):
            yield simulation_pb2.BranchResponse(index=i, frames=several, bundle_id="" if i else bundle_id)

    def Play(self, requests: Iterator[Any], context: grpc.ServicerContext) -> Iterator[simulation_pb2.PlayResponse]:
        assert next(requests).HasField("start")
        bundle_id, frames = self._swap()
        self.acted.append(acted := [])
        for i, request in enumerate(requests):
            acted.append(request.action)
            yield simulation_pb2.PlayResponse(index=i, frame=frames_message(frames), bundle_id="" if i else bundle_id)


@pytest.fixture
def swapping() -> Swapping:
    return Swapping()


@pytest.fixture
def address(swapping: Swapping) -> Iterator[str]:
    server = grpc.server(ThreadPoolExecutor(2 * MOST_REPLACED + 4))
    models_pb2_grpc.add_ModelServiceServicer_to_server(swapping, server)
    simulation_pb2_grpc.add_SimulationServiceServicer_to_server(swapping, server)
    port = server.add_insecure_port("127.0.0.1:0")
    server.start()
    yield f"127.0.0.1:{port}"
    server.stop(None).wait()


def sync_simulation(address: str, kind: str) -> Frames:
    """What the client draws of `CODES`, (T, h, w, 3); none of it may come from two bundles."""
    with Client(address, patience_s=0) as client:
        if kind == "branch":
            return client.branch(PROMPT, [CODES, CODES])[1]
        if kind == "rollout":
            return client.rollout(PROMPT, CODES)
        with client.play(PROMPT) as session:
            return np.stack([session.step(code) for code in CODES])


def async_simulation(address: str, kind: str) -> Frames:
    async def simulate() -> Frames:
        async with AsyncClient(address, patience_s=0) as client:
            if kind == "branch":
                return (await client.branch(PROMPT, [CODES, CODES]))[1]
            if kind == "rollout":
                return await client.rollout(PROMPT, CODES)
            async with await client.play(PROMPT) as session:
                await session.send(CODES[0])
                await session.send(CODES[1])  # both on their way when the first answer names another bundle
                frames = [await session.receive(), await session.receive(), await session.step(CODES[2])]
                return np.stack(frames)

    return asyncio.run(simulate())


SIMULATIONS = pytest.mark.parametrize("simulation", [sync_simulation, async_simulation])
KINDS = pytest.mark.parametrize("kind", ["rollout", "branch", "play"])


@SIMULATIONS
@KINDS
def test_a_call_that_lost_to_several_swaps_is_wholly_of_the_last_bundle(
    simulation: Any, kind: str, address: str, swapping: Swapping
) -> None:
    swapping.swaps = MOST_REPLACED
    frames = simulation(address, kind)
    np.testing.assert_array_equal(frames, np.full((len(CODES), 8, 8, 3), MOST_REPLACED, np.uint8))
    assert swapping.asked == MOST_REPLACED + 1
    assert kind != "play" or swapping.acted[-1] == CODES


@SIMULATIONS
@KINDS
def test_a_model_that_never_stays_ends_the_call_with_what_happened(
    simulation: Any, kind: str, address: str, swapping: Swapping
) -> None:
    swapping.swaps = MOST_REPLACED + 1
    words = rf"one: got frames of bundle 04e+, expected 03e+: .* replaced .*begun {MOST_REPLACED + 1} times"
    with pytest.raises(ModelError, match=words):
        simulation(address, kind)
    assert swapping.asked == MOST_REPLACED + 1
