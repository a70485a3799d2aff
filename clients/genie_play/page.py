"""The page as a web application (ASGI): its files, frames of the dataset, what was played, and the game's WebSocket."""

from __future__ import annotations

import asyncio
import secrets
import tempfile
from collections.abc import AsyncIterator, Mapping, Sequence
from contextlib import asynccontextmanager, suppress
from importlib.resources import files
from pathlib import Path
from typing import Any, cast

from starlette.applications import Starlette
from starlette.background import BackgroundTask
from starlette.middleware import Middleware
from starlette.middleware.trustedhost import TrustedHostMiddleware
from starlette.requests import Request
from starlette.responses import FileResponse, JSONResponse, PlainTextResponse, Response
from starlette.routing import Mount, Route, WebSocketRoute
from starlette.websockets import WebSocket, WebSocketDisconnect

from genie_client.aio import AsyncClient
from genie_client.arguments import Simulating
from genie_client.records import ModelInfo
from genie_core.data import encode_image
from genie_core.errors import GenieError, RequestError
from genie_play.game import Game
from genie_play.guard import allowed_hosts, response_headers, same_origin
from genie_play.saving import KINDS, Kind, save
from genie_play.starts import Starts

MAX_GAMES = 16
"""Games at once; more are refused, because each holds sessions on the server."""

_WAITING = 8
"""Messages of one browser that wait for their turn; a browser that sends more is told, and they are dropped."""

_FILES = {
    "": ("index.html", "text/html"),
    "play.js": ("play.js", "text/javascript"),
    "play.css": ("play.css", "text/css"),
}

_TRY_AGAIN_LATER = 1013
_NOT_ALLOWED = 1008


class Page:
    """The page's routes and their answers.

    Args:
        client: a connection to the server that simulates.
        info: the model that is played.
        starts: what a game may start from.
        options: sampling options, among them the model's name.
        words: what each code does, in the robot's words; empty if unknown.
        secret: part of the address without which nothing is answered.
        host: the address that it is served on.

    """

    def __init__(
        self,
        client: AsyncClient,
        info: ModelInfo,
        starts: Starts,
        options: Simulating,
        words: Sequence[str],
        secret: str,
        host: str,
    ) -> None:
        self._client, self._info, self._starts, self._options = client, info, starts, options
        self._words = words
        self._games: dict[str, Game] = {}
        self.app = Starlette(
            routes=[Mount(f"/{secret}", routes=self._routes())],
            middleware=[Middleware(TrustedHostMiddleware, allowed_hosts=allowed_hosts(host), www_redirect=False)],
            exception_handlers={GenieError: _explain, RequestError: _explain},
            lifespan=self._lifespan,
        )

    def _routes(self) -> list[Route | WebSocketRoute]:
        return [
            Route("/", self._file),
            Route("/about", self._about),
            Route("/thumbnail/{episode:int}/{frame:int}", self._thumbnail),
            Route("/save/{game}/{node:int}.{kind}", self._save),
            WebSocketRoute("/game", self._play),
            Route("/{name}", self._file),
        ]

    @asynccontextmanager
    async def _lifespan(self, _app: Starlette) -> AsyncIterator[None]:
        yield
        for game in list(self._games.values()):
            await game.close()

    async def _file(self, request: Request) -> Response:
        known = _FILES.get(request.path_params.get("name", ""))
        if known is None:
            return PlainTextResponse("no such file", 404)
        name, media_type = known
        content = (files("genie_play") / "static" / name).read_bytes()
        return Response(content, media_type=media_type, headers=response_headers())

    async def _about(self, _request: Request) -> Response:
        """Return what the page shows of the model and of the data."""
        episodes = [{"name": episode.name, "frames": episode.num_frames} for episode in self._starts.episodes]
        about = {
            "model": self._info.name,
            "bundle_id": self._info.bundle_id,
            "fps": self._info.fps,
            "height": self._info.frame_height,
            "width": self._info.frame_width,
            "palette": [f"#{colour:06x}" for colour in self._info.palette],
            "words": list(self._words),
            "has_prompt": self._starts.path is not None,
            "episodes": episodes,
        }
        return JSONResponse(about, headers=response_headers())

    async def _thumbnail(self, request: Request) -> Response:
        episode, frame = request.path_params["episode"], request.path_params["frame"]
        picture = await asyncio.to_thread(lambda: encode_image(self._starts.thumbnail(episode, frame), "jpeg"))
        return Response(picture, media_type="image/jpeg", headers=response_headers())

    async def _save(self, request: Request) -> Response:
        game, kind = self._games.get(request.path_params["game"]), request.path_params["kind"]
        if game is None or kind not in KINDS:
            return PlainTextResponse("no such game, or no such kind of file", 404, headers=response_headers())
        played = game.played(request.path_params["node"])
        folder = tempfile.TemporaryDirectory(prefix="genie-play-")
        path = Path(folder.name) / f"played.{kind}"
        try:
            await asyncio.to_thread(save, path, cast(Kind, kind), played)
        except BaseException:
            folder.cleanup()
            raise
        return FileResponse(
            path, filename=path.name, headers=dict(response_headers()), background=BackgroundTask(folder.cleanup)
        )

    async def _play(self, socket: WebSocket) -> None:
        """Play with one browser until it disconnects."""
        if not same_origin(socket.headers.get("origin"), socket.headers.get("host")):
            await socket.close(_NOT_ALLOWED)
            return
        await socket.accept()
        if len(self._games) >= MAX_GAMES:
            await socket.close(_TRY_AGAIN_LATER, f"{MAX_GAMES} games are being played")
            return

        async def send(answer: Mapping[str, Any]) -> None:
            with suppress(WebSocketDisconnect, RuntimeError):  # gone while its frame was drawn
                await socket.send_json(answer)

        name = secrets.token_urlsafe(9)
        game = self._games[name] = Game(self._client, self._info, self._starts, self._options, send)
        waiting: asyncio.Queue[str | bytes] = asyncio.Queue(_WAITING)
        worker = asyncio.create_task(_work(game, waiting))
        try:
            await send({"type": "game", "name": name})
            await _receive(socket, waiting, send)
        finally:
            del self._games[name]
            worker.cancel()
            await asyncio.wait([worker])  # whatever it ended with, what the game holds on the server is given back
            await game.close()


async def _work(game: Game, waiting: asyncio.Queue[str | bytes]) -> None:
    """Carry out a browser's messages, one after the other."""
    while True:
        await game.handle(await waiting.get())


async def _receive(socket: WebSocket, waiting: asyncio.Queue[str | bytes], send: Any) -> None:
    """Take a browser's messages until it disconnects."""
    while True:
        received = await socket.receive()
        if received["type"] == "websocket.disconnect":
            return
        message = received.get("text")
        message = received.get("bytes") if message is None else message
        try:
            waiting.put_nowait(message or b"")
        except asyncio.QueueFull:
            await send({"type": "error", "message": f"got more than {_WAITING} actions ahead, expected fewer: wait"})


async def _explain(_request: Request, error: Exception) -> Response:
    return PlainTextResponse(str(error), 400, headers=response_headers())


__all__ = ["MAX_GAMES", "Page"]
