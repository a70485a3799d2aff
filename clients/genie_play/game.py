"""One browser's game: its requests over the WebSocket and their answers. Knows no web framework.

The browser sends JSON, ``{"type": "start"}`` (with ``episode`` and ``frame`` for a moment of the dataset) or ``{"type":
"step", "from": 3, "code": 1}``, or the bytes of a PNG or JPEG to start from. It is answered in JSON: ``started``,
``frame``, ``previews`` and ``error``, pictures as PNG in base64.
"""

from __future__ import annotations

import asyncio
import base64
import json
from collections.abc import Awaitable, Callable, Mapping
from typing import Any

from genie_client.aio import AsyncClient
from genie_client.arguments import Simulating
from genie_client.records import ModelInfo
from genie_core.data import Frames, encode_image
from genie_core.errors import GenieError, RequestError
from genie_play.player import Player
from genie_play.saving import Played
from genie_play.starts import Starts

Send = Callable[[Mapping[str, Any]], Awaitable[None]]


class Game:
    """One game at a time for one browser; `close` ends what it holds on the server."""

    def __init__(self, client: AsyncClient, info: ModelInfo, starts: Starts, options: Simulating, send: Send) -> None:
        self._client = client
        self._info = info
        self._starts = starts
        self._options = options
        self._send = send
        self._player: Player | None = None
        self._previews: asyncio.Task[None] | None = None

    async def handle(self, message: str | bytes) -> None:
        """Carry out what the browser asks and answer it; an error is an answer too, and leaves the game as it was."""
        try:
            if isinstance(message, bytes):
                await self._start({}, message)
                return
            asked = _read(message)
            if asked["type"] == "start":
                await self._start(asked, None)
            elif asked["type"] == "step":
                await self._step(_whole(asked, "from"), _whole(asked, "code"))
            else:
                raise RequestError("type", f"got {asked['type']!r}, expected start or step")
        except GenieError as error:
            await self._send({"type": "error", "message": str(error)})

    def played(self, number: int) -> Played:
        """Return the line that leads to a frame. Raises RequestError if there is none yet."""
        if self._player is None:
            raise RequestError("node", "got a game that has not begun, expected one that has")
        tree = self._player.tree
        return Played(self._info, tree.prompt_PHWC, tree.frames(number), tree.path(number), self._options)

    async def close(self) -> None:
        """End the game; the server forgets it."""
        if self._previews is not None:
            self._previews.cancel()
            await asyncio.wait([self._previews])  # what it raised is its own affair, and must not stop what follows
            self._previews = None
        if self._player is not None:
            await self._player.__aexit__()
            self._player = None

    async def _start(self, wanted: Mapping[str, Any], picture: bytes | None) -> None:
        prompt = await asyncio.to_thread(self._starts.prompt, wanted, picture, self._info)
        await self.close()
        self._player = Player(self._client, self._info, prompt, self._options)
        await self._send({"type": "started", "node": 0, "png": _png(self._player.tree.node(0).frame_HWC)})
        self._previews = asyncio.create_task(self._show_previews(self._player))

    async def _step(self, number: int, code: int) -> None:
        if self._player is None:
            raise RequestError("action", "got one before a start, expected a picture to start from first")
        move = await self._player.step(number, code)
        await self._send(
            {
                "type": "frame",
                "node": move.node.number,
                "parent": number,
                "code": code,
                "drawn": move.drawn,
                "device_ms": round(move.timing.device_ms, 1),
                "queue_ms": round(move.timing.queue_ms + move.timing.batch_ms, 1),
                "png": _png(move.node.frame_HWC),
            }
        )

    async def _show_previews(self, player: Player) -> None:
        """Send what each code does from the start; a server that cannot now leaves the buttons without pictures."""
        try:
            frames_NTHWC = await player.previews(0)
        except GenieError as error:
            await self._send({"type": "error", "message": f"no pictures of what the codes do: {error}"})
            return
        pictures = [[_png(frame_HWC) for frame_HWC in frames_THWC] for frames_THWC in frames_NTHWC]
        await self._send({"type": "previews", "png": pictures})


def _png(frame_HWC: Frames) -> str:
    return base64.b64encode(encode_image(frame_HWC)).decode("ascii")


def _read(message: str) -> Mapping[str, Any]:
    try:
        asked = json.loads(message)
    except (ValueError, RecursionError):
        asked = None
    if not isinstance(asked, dict) or not isinstance(asked.get("type"), str):
        raise RequestError("message", 'got no JSON object with a type, expected {"type": "start"} or a step')
    return asked


def _whole(asked: Mapping[str, Any], name: str) -> int:
    value = asked.get(name)
    if not isinstance(value, int) or isinstance(value, bool):
        raise RequestError(name, f"got {value!r}, expected a whole number")
    return value


__all__ = ["Game", "Send"]
