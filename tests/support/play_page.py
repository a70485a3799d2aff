"""`genie play` as users start it, and a browser's side of a game without a browser."""

from __future__ import annotations

import base64
import json
import re
import signal
import subprocess
import urllib.request
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Any
from urllib.parse import urlsplit

import numpy as np
from websockets.sync.client import ClientConnection, connect

from genie_core.data import Frames, decode_image
from tests.support.processes import WITHIN_S, Genie


@dataclass
class PlayPage:
    url: str
    process: subprocess.Popen[str]

    @property
    def host(self) -> str:
        return urlsplit(self.url).netloc

    def get(self, path: str, **headers: str) -> bytes:
        with urllib.request.urlopen(urllib.request.Request(self.url + path, headers=headers), timeout=30) as answer:
            content: bytes = answer.read()
        return content

    @contextmanager
    def game(self, origin: str | None = None) -> Iterator[PlayedGame]:
        address = f"ws{self.url.removeprefix('http')}game"
        with connect(address, origin=origin or f"http://{self.host}", max_size=None) as socket:  # type: ignore[arg-type]
            yield PlayedGame(socket)


class PlayedGame:
    def __init__(self, socket: ClientConnection) -> None:
        self.socket = socket
        self.name = self.receive("game")["name"]

    def send(self, **message: Any) -> None:
        self.socket.send(json.dumps(message))

    def receive(self, *kinds: str) -> dict[str, Any]:
        """The next answer of a kind; others before it are passed over, but errors."""
        while True:
            answer: dict[str, Any] = json.loads(self.socket.recv(timeout=60))
            if answer["type"] in kinds:
                return answer
            assert answer["type"] != "error", answer

    def step(self, origin: int, code: int) -> dict[str, Any]:
        self.send(type="step", **{"from": origin}, code=code)
        return self.receive("frame")


def picture_of(answer: dict[str, Any]) -> Frames:
    return np.asarray(decode_image(base64.b64decode(answer["png"])))


@contextmanager
def playing(genie: Genie, *words: str | Path) -> Iterator[PlayPage]:
    """The page, until Ctrl-C, on which it has to end well."""
    process = genie.start("play", "--no-browse", "--port", "0", *words)
    assert process.stdout is not None
    line = process.stdout.readline()
    found = re.search(r"http\S+", line)
    if found is None:
        process.kill()
        raise AssertionError(line + "".join(process.communicate()))
    try:
        yield PlayPage(found[0], process)
        process.send_signal(signal.SIGINT)
        _, err = process.communicate(timeout=WITHIN_S)
        assert "Traceback" not in err, err
    finally:
        process.kill()
        process.wait()


__all__ = ["PlayPage", "PlayedGame", "picture_of", "playing"]
