"""One player: a tree of frames, and the sessions on the server that draw new ones."""

from __future__ import annotations

import asyncio
from collections.abc import Sequence
from dataclasses import dataclass

from genie_client.aio import AsyncClient
from genie_client.aio_streams import AsyncPlaySession
from genie_client.arguments import Simulating
from genie_client.errors import ServerError
from genie_client.patience import CALL_PATIENCE_S, Patience, Tries
from genie_client.records import ModelInfo, Timing
from genie_client.simulation_messages import simulated_size
from genie_core.data import Frames, check_code, resize_frames
from genie_core.errors import RequestError
from genie_play.tree import Node, Tree

_SESSIONS = 2
"""Sessions that a player keeps on the server: going back and forth between two branches draws nothing twice."""

MOST_PIXELS = 320 * 240
"""Of a frame that has the size of its prompt: a browser and a tree are to take many."""

_PREVIEW_PIXELS = 96 * 96

PREVIEW_FRAMES = 2
"""Times that each latent action is taken to show what it does."""


@dataclass(frozen=True)
class Move:
    """The frame that one action led to, and what it cost.

    Attributes:
        node: the frame.
        drawn: frames that were computed for it: 0 where it was known, more than 1 after a jump to another branch.
        timing: where the time of the last one went, as the server saw it.

    """

    node: Node
    drawn: int
    timing: Timing


@dataclass
class _Live:
    """A session on the server, and the actions it has taken."""

    session: AsyncPlaySession
    path: tuple[int, ...]


class Player:
    """Plays from one prompt with one model. For one task only; an async context manager, which ends its sessions."""

    def __init__(self, client: AsyncClient, info: ModelInfo, prompt_PHWC: Frames, options: Simulating) -> None:
        """Begin at a prompt of 1 to `info.context_frames` frames, (P, H, W, 3) uint8 of any size."""
        self._client = client
        self._info = info
        self._live: list[_Live] = []
        self._patience = Patience(CALL_PATIENCE_S)
        wanted, steps = options.get("frame_size"), options.get("maskgit_steps")
        size = simulated_size(info, prompt_PHWC, wanted, steps, MOST_PIXELS)
        small = simulated_size(info, prompt_PHWC, wanted, steps, _PREVIEW_PIXELS)
        self.tree = Tree(resize_frames(prompt_PHWC, *size))
        self._options = Simulating(**options)
        self._options["frame_size"] = size
        self._previewed = Simulating(**options)
        self._previewed["frame_size"] = small

    async def __aenter__(self) -> Player:
        return self

    async def __aexit__(self, *_error: object) -> None:
        for live in self._live:
            await live.session.close()
        self._live.clear()

    async def step(self, number: int, code: int) -> Move:
        """Take one latent action from a frame of the tree, and return where it led.

        Raises:
            RequestError: there is no such frame or code, or the tree is full.
            ModelError: the server has replaced the model.
            ServerError: the server failed; nothing is lost, and the same step may be tried again.

        """
        check_code(code, self._info.num_codes, "action")
        known = self.tree.child(number, code)
        if known is not None:
            return Move(known, 0, Timing())
        path = (*self.tree.path(number), code)
        frame, drawn, timing = await self._patiently(path)
        return Move(self.tree.add(number, code, frame), drawn, timing)

    async def previews(self, number: int) -> Frames:
        """Return what each code would lead to from a frame, (codes, PREVIEW_FRAMES, h, w, 3) uint8; the tree stays."""
        path = self.tree.path(number)
        branches = [[*path, *[code] * PREVIEW_FRAMES] for code in range(self._info.num_codes)]
        frames_NTHWC = await self._client.branch(self.tree.prompt_PHWC, branches, **self._previewed)
        return frames_NTHWC[:, -PREVIEW_FRAMES:]

    async def _patiently(self, path: Sequence[int]) -> tuple[Frames, int, Timing]:
        """Draw as `_draw` does, again where an idle session was lost, and while the server has no room."""
        tries = Tries(self._patience)
        while True:
            kept = len(self._live)
            try:
                return await self._draw(path)
            except ServerError as error:
                if len(self._live) < kept:
                    continue  # ended by the server since the last move: a new one is played to the same place
                wait_s = tries.wait_s(error)
                if wait_s is None:
                    raise
            await asyncio.sleep(wait_s)

    async def _draw(self, path: Sequence[int]) -> tuple[Frames, int, Timing]:
        """Return the last frame of a path, the number of frames drawn for it, and the timing of the last."""
        live = await self._session_on(tuple(path[:-1]))
        drawn = 0
        frame: Frames | None = None
        try:
            for code in path[len(live.path) :]:
                frame = await live.session.step(code)
                live.session.check_model(self._info, "start `genie play` again")
                live.path = (*live.path, code)
                drawn += 1
        except BaseException:
            self._live.remove(live)
            await live.session.close()
            raise
        if frame is None:
            raise RequestError("action", "got none, expected one")
        return frame, drawn, live.session.timing

    async def _session_on(self, path: tuple[int, ...]) -> _Live:
        """Return the session that has gone farthest on `path` and nowhere else, or a new one; it is the newest now."""
        able = [live for live in self._live if live.path == path[: len(live.path)]]
        if able:
            live = max(able, key=lambda live: len(live.path))
            self._live.remove(live)
        else:
            if len(self._live) == _SESSIONS:
                await self._live.pop(0).session.close()
            live = _Live(await self._client.play(self.tree.prompt_PHWC, **self._options), ())
        self._live.append(live)
        return live


__all__ = ["MOST_PIXELS", "PREVIEW_FRAMES", "Move", "Player"]
