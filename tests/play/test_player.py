"""A game whose server replaces the model: its tree holds frames of one bundle, and a failure ends no game."""

from __future__ import annotations

import asyncio
from collections.abc import Iterator, Mapping
from typing import Any

import numpy as np
import pytest

from genie_client import AsyncClient, ModelError
from genie_client.simulation_messages import MOST_REPLACED
from genie_play.game import Game
from genie_play.player import Player
from tests.factories.data import make_frames
from tests.support.swapping_server import Swapping

PROMPT = make_frames(1, 8, 8)


@pytest.fixture
def swapping() -> Swapping:
    return Swapping()


@pytest.fixture
def address(swapping: Swapping) -> Iterator[str]:
    with swapping.listening() as address:
        yield address


def test_a_tree_never_mixes_the_frames_of_two_bundles(swapping: Swapping, address: str) -> None:
    async def play() -> None:
        async with AsyncClient(address) as client, Player(client, await client.model(), PROMPT, {}) as player:
            first = await player.step(0, 1)
            swapping.bundle += 1
            with pytest.raises(ModelError, match=r"bundle 01e+, expected 00e+: .* start `genie play` again"):
                await player.step(0, 2)  # from the start: the session that is at the first frame will not do
            second = await player.step(first.node.number, 3)  # that session goes on with its own bundle
            np.testing.assert_array_equal(second.node.frame_HWC, first.node.frame_HWC)
            assert len(player.tree) == 3

    asyncio.run(play())


class OnePrompt:
    def prompt(self, *_: object) -> Any:
        return PROMPT


def test_previews_that_fail_are_told_and_stop_no_later_start(swapping: Swapping, address: str) -> None:
    async def play() -> list[Mapping[str, Any]]:
        said: list[Mapping[str, Any]] = []
        shown = asyncio.Event()

        async def send(message: Mapping[str, Any]) -> None:
            said.append(message)
            if message["type"] in ("previews", "error"):
                shown.set()

        async with AsyncClient(address) as client:
            game = Game(client, await client.model(), OnePrompt(), {}, send)  # type: ignore[arg-type]
            swapping.swaps = MOST_REPLACED + 1
            for _ in range(2):
                await game.handle('{"type": "start"}')
                await asyncio.wait_for(shown.wait(), 60)
                shown.clear()
            await game.close()
        return said

    said = asyncio.run(play())
    assert [message["type"] for message in said] == ["started", "error", "started", "previews"]
    assert "no pictures of what the codes do: one: got frames of bundle" in said[1]["message"]
