"""A model that is replaced between a client's question for it and the call that it then makes."""

from __future__ import annotations

import asyncio
from collections.abc import Iterator
from typing import Any

import numpy as np
import pytest

from genie_client import AsyncClient, Client, ModelError
from genie_client.simulation_messages import MOST_REPLACED
from genie_core.data import Frames
from tests.factories.data import make_frames
from tests.support.swapping_server import Swapping

PROMPT = make_frames(1, 8, 8)
CODES = [3, 1, 2]


@pytest.fixture
def swapping() -> Swapping:
    return Swapping()


@pytest.fixture
def address(swapping: Swapping) -> Iterator[str]:
    with swapping.listening() as address:
        yield address


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


def test_an_environment_is_not_stepped_with_another_bundle_than_it_was_made_for(
    address: str, swapping: Swapping
) -> None:
    pytest.importorskip("gymnasium")
    from genie_client.gym import GenieEnv

    with GenieEnv(address, prompt=PROMPT) as env:
        env.reset()
        assert env.step(1)[0].shape == (8, 8, 3)
        swapping.bundle += 1
        assert env.step(1)[0].max() == 0  # the session that has begun ends with its own bundle
        env.reset()
        with pytest.raises(ModelError, match=r"bundle 01e+, expected 00e+: .* make the environment anew"):
            env.step(1)
