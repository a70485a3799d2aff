"""Both clients against a real server: what they give, that they agree, and how they fail."""

from __future__ import annotations

import asyncio
import threading
import time
from collections.abc import AsyncIterator, Iterator
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

import numpy as np
import pytest

from genie_client import (
    AsyncClient,
    Client,
    ModelError,
    RequestError,
    ServerTimeoutError,
    ServerUnavailableError,
)
from tests.factories.bundles import make_nano_bundle
from tests.factories.data import make_frames
from tests.support.processes import server_process
from tests.support.waiting import wait_until

FRAMES = make_frames(70, 48, 64)
NOBODY = "127.0.0.1:1"


@pytest.fixture
def client(server: str) -> Iterator[Client]:
    with Client(server) as client:
        yield client


def test_label_gives_one_label_a_frame_and_says_what_made_it(client: Client) -> None:
    labels = client.label(FRAMES, fps=20)
    assert (len(labels), labels.latent.shape, labels.valid.sum()) == (70, (70, 8), 68)
    assert (labels.provenance.model, labels.provenance.step, labels.provenance.effective_fps) == ("nano", 2, 10)
    assert (labels.summary.frames, labels.summary.transitions) == (70, 68)


def test_labels_do_not_depend_on_who_resizes_or_how_frames_arrive(client: Client) -> None:
    labels = client.label(FRAMES, fps=10)
    by_server = client.label(FRAMES, fps=10, resize=False)
    streamed = list(client.label_stream((FRAMES[start : start + 9] for start in range(0, 70, 9)), fps=10))
    np.testing.assert_array_equal(by_server.latent, labels.latent)
    np.testing.assert_array_equal(np.concatenate([part.latent for part in streamed]), labels.latent)


def test_a_rollout_a_branch_and_a_session_show_the_same_frames(client: Client) -> None:
    rollout = client.rollout(FRAMES[0], [1, 2, 3], seed=5)
    branches = client.branch(FRAMES[:1], [[1, 2, 3], [0, 0, 0]], seed=5)
    with client.play(FRAMES[0], seed=5) as session:
        played = np.stack([session.step(code) for code in (1, 2, 3)])
    assert rollout.shape == (3, 32, 32, 3)
    assert branches.shape == (2, 3, 32, 32, 3)
    np.testing.assert_array_equal(branches[0], rollout)
    np.testing.assert_array_equal(played, rollout)
    assert not np.array_equal(client.rollout(FRAMES[0], [1, 2, 3], seed=6), rollout)


def test_models_are_listed_loaded_and_unloaded(client: Client) -> None:
    (listed,) = client.models()
    info = client.model("nano")
    assert (listed.name, listed.state, listed.is_default, listed.frame_size) == ("nano", "ready", True, (32, 32))
    assert info.codebook.shape == (8, 8)
    assert len(info.palette) == info.num_codes == 8
    assert client.load_model("nano").state == "ready"
    with pytest.raises(ModelError, match="the server's default"):
        client.unload_model("nano")


def test_the_asyncio_client_gives_the_same(server: str, client: Client) -> None:
    async def chunks() -> AsyncIterator[np.ndarray]:
        for start in range(0, 70, 9):
            yield FRAMES[start : start + 9]

    async def everything() -> tuple[np.ndarray, ...]:
        async with AsyncClient(server) as peer:
            several = await asyncio.gather(*(peer.label(FRAMES, fps=10) for _ in range(3)))
            stream = await peer.label_stream(chunks(), fps=10)
            streamed = np.concatenate([labels.latent async for labels in stream])
            assert stream.summary.frames == 70
            rollout = await peer.rollout(FRAMES[0], [1, 2])
            branch = await peer.branch(FRAMES[0], [[1, 2]])
            async with await peer.play(FRAMES[0]) as session:
                played = np.stack([await session.step(1), await session.step(2)])
            assert [info.name for info in await peer.models()] == ["nano"]
            assert (await peer.model()).name == (await peer.load_model("nano")).name == "nano"
            return (*(labels.latent for labels in several), streamed, rollout, branch[0], played)

    *latents, rollout, branch, played = asyncio.run(everything())
    for latent in latents:
        np.testing.assert_array_equal(latent, client.label(FRAMES, fps=10).latent)
    for video in (rollout, branch, played):
        np.testing.assert_array_equal(video, client.rollout(FRAMES[0], [1, 2]))


BAD_FRAMES = [
    (FRAMES / 255.0, "float64"),
    (FRAMES.astype(np.uint16) * 256, "uint16"),
    (FRAMES[..., 0], "grey"),
    (np.concatenate([FRAMES, FRAMES[..., :1]], axis=-1), "RGBA"),
    (FRAMES[:1], "at least 2 frames"),
]


@pytest.mark.parametrize(("frames", "words"), BAD_FRAMES, ids=[words for _, words in BAD_FRAMES])
def test_frames_that_cannot_be_labelled_are_refused(client: Client, frames: np.ndarray, words: str) -> None:
    with pytest.raises(RequestError, match=words) as refused:
        client.label(frames, fps=10)
    assert refused.value.field == "frames"


def test_frames_that_cannot_be_labelled_are_refused_asynchronously(server: str) -> None:
    async def label(frames: np.ndarray) -> None:
        async with AsyncClient(server) as peer:
            await peer.label(frames, fps=10)

    for frames, words in BAD_FRAMES:
        with pytest.raises(RequestError, match=words):
            asyncio.run(label(frames))


def test_an_error_of_the_source_of_frames_reaches_the_caller_as_it_is(server: str, client: Client) -> None:
    def chunks() -> Iterator[np.ndarray]:
        yield FRAMES[:5]
        raise ZeroDivisionError("the source")

    async def label() -> None:
        async with AsyncClient(server) as peer, await peer.label_stream(chunks(), fps=10) as stream:
            await stream.read_all()

    with pytest.raises(ZeroDivisionError, match="the source"), client.label_stream(chunks(), fps=10) as stream:
        stream.read_all()
    with pytest.raises(ZeroDivisionError, match="the source"):
        asyncio.run(label())


@pytest.mark.parametrize(
    ("call", "error", "words"),
    [
        (lambda c: c.label(FRAMES, fps=10, model="nobody"), ModelError, "nobody.*nano"),
        (lambda c: c.label(FRAMES), RequestError, "^fps: "),
        (
            lambda c: c.rollout(FRAMES[0], [9]),
            RequestError,
            "actions: latent action 9 is out of range, expected 0 to 7",
        ),
        (lambda c: c.branch(FRAMES[0], [[1], [1, 2]]), RequestError, "one length"),
        (lambda c: c.rollout(FRAMES[0], [1], maskgit_steps=99), RequestError, "99"),
        (lambda c: c.rollout(FRAMES[0], [1], temperature=-1.0), RequestError, "temperature"),
        (lambda c: c.rollout(FRAMES[:50], [1]), RequestError, "50 frames"),
        (lambda c: c.unload_model("nobody"), ModelError, "nobody"),
        (lambda c: c.label(FRAMES, fps=10, timeout_s=0.001), ServerTimeoutError, "timed out"),
    ],
)
def test_what_the_server_or_client_refuses_is_said_plainly(client: Client, call, error, words) -> None:  # type: ignore[no-untyped-def]
    client.models()
    with pytest.raises(error, match=words):
        call(client)


def test_no_server_is_said_plainly_and_soon() -> None:
    async def ask() -> None:
        async with AsyncClient(NOBODY) as peer:
            await peer.models()

    with Client(NOBODY) as nobody, pytest.raises(ServerUnavailableError, match=f"no server at {NOBODY}.*genie serve"):
        nobody.models()
    with pytest.raises(ServerUnavailableError, match=f"no server at {NOBODY}"):
        asyncio.run(ask())
    with Client(NOBODY, wait_for_ready=True, timeout_s=0.2) as waiting, pytest.raises(ServerTimeoutError):
        waiting.models()


def test_calls_that_find_no_room_wait_for_it(models_folder: Path) -> None:
    def slowly() -> Iterator[np.ndarray]:
        yield FRAMES
        time.sleep(0.7)
        yield FRAMES

    async def label(address: str) -> np.ndarray:
        async with AsyncClient(address) as peer:
            return (await peer.label(FRAMES, fps=10, resize=False)).latent

    with server_process(models_folder, 0, "--max-calls", "1") as (_, address), Client(address) as client:
        stream = client.label_stream(slowly(), fps=10)
        with ThreadPoolExecutor() as pool:
            first = pool.submit(stream.read_all)
            waiting = [
                pool.submit(lambda: client.label(FRAMES, fps=10, resize=False).latent),
                pool.submit(asyncio.run, label(address)),
            ]
            assert len(first.result()) == 140
            for labels in waiting:
                np.testing.assert_array_equal(labels.result(), client.label(FRAMES, fps=10, resize=False).latent)


def test_leaving_a_stream_stops_reading_its_source(client: Client) -> None:
    closed = []

    def endless() -> Iterator[np.ndarray]:
        try:
            while True:
                yield FRAMES
        finally:
            closed.append(True)

    with client.label_stream(endless(), fps=10) as stream:
        assert next(stream).start == 0
    wait_until(lambda: closed)  # the stream waits for that itself, though not for long
    with pytest.raises(ModelError):
        client.label_stream(endless(), fps=10, model="nobody", resize=False)
    wait_until(lambda: "genie-feed" not in {thread.name for thread in threading.enumerate()})
    assert len(client.label(FRAMES, fps=10)) == 70


def test_a_client_notices_that_a_model_was_replaced(tmp_path: Path) -> None:
    make_nano_bundle(tmp_path / "nano")
    bundle = make_nano_bundle(tmp_path / "other", seed=1)

    def replace(client: Client, seed: int) -> None:
        client.unload_model("other")
        make_nano_bundle(bundle, seed=seed)
        client.load_model("other")

    def ask(client: Client) -> list[np.ndarray]:
        return [
            client.rollout(FRAMES[0], [1], model="other"),
            client.label(FRAMES, fps=10, model="other").latent,
            client.label(FRAMES, fps=10, model="other", resize=False).latent,
        ]

    async def ask_before_and_after(address: str, other: Client) -> np.ndarray:
        async with AsyncClient(address) as peer:
            await peer.rollout(FRAMES[0], [1], model="other")
            await asyncio.to_thread(replace, other, 3)
            return await peer.rollout(FRAMES[0], [1], model="other")

    with (
        server_process(tmp_path, 0, "--default-model", "nano", "--preload", "all") as (_, address),
        Client(address) as client,
        Client(address) as other,
    ):
        before = ask(client)
        replace(other, 2)
        after = ask(client)
        with Client(address) as fresh:
            for mine, right, old in zip(after, ask(fresh), before, strict=True):
                np.testing.assert_array_equal(mine, right)
                assert not np.array_equal(mine, old)
        after_that = asyncio.run(ask_before_and_after(address, other))
        np.testing.assert_array_equal(after_that, ask(other)[0])
