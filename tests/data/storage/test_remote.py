"""Data behind URLs: the same episodes as from the disk, fetched once, kept within bounds; errors name the URL."""

from __future__ import annotations

import multiprocessing
import socket
import threading
from collections.abc import Callable, Iterator
from concurrent.futures import ProcessPoolExecutor
from functools import partial
from http import HTTPStatus
from http.server import SimpleHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path
from typing import Any

import fsspec
import numpy as np
import pytest
from fsspec.implementations.memory import MemoryFileSystem

from genie_core.data import (
    Episode,
    LabelWriter,
    ReadOptions,
    RemotePath,
    inspect_dataset,
    open_dataset,
    open_labelled,
    source_path,
)
from genie_core.data.labelled.output import default_output
from genie_core.data.storage.file_cache import cache_folder
from genie_core.data.storage.location import local_file
from genie_core.errors import DatasetError
from tests.factories.data import (
    make_aloha,
    make_label_model,
    make_labels,
    make_libero,
    make_nested,
    make_robomimic,
    make_video,
)
from tests.factories.lerobot import make_lerobot_v21, make_lerobot_v30

NESTED = ReadOptions(frames_path="trajectories/*/images/front", fps=10)


@pytest.fixture(autouse=True)
def _own_cache(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("GENIE_CACHE", str(tmp_path / "cache"))


@pytest.fixture
def memory() -> Iterator[Any]:
    """Fsspec's store in memory, empty before and after."""
    store = fsspec.filesystem("memory")
    store.store.clear()
    yield store
    store.store.clear()
    store.pseudo_dirs[:] = [""]


def upload(store: Any, folder: Path) -> str:
    for file in folder.rglob("*"):
        if file.is_file():
            store.pipe(f"/bucket/{file.relative_to(folder).as_posix()}", file.read_bytes())
    return "memory://bucket"


def make_two(make: Callable[..., Path], suffix: str, folder: Path) -> None:
    folder.mkdir()
    for number in range(2):
        make(folder / f"episode_{number}{suffix}")


MAKERS: dict[str, tuple[Callable[[Path], object], ReadOptions]] = {
    "robomimic": (partial(make_two, make_robomimic, ".hdf5"), ReadOptions()),
    "libero": (partial(make_two, make_libero, ".hdf5"), ReadOptions()),
    "aloha": (partial(make_two, make_aloha, ".hdf5"), ReadOptions(fps=50)),
    "hdf5": (partial(make_two, make_nested, ".h5"), NESTED),
    "video": (partial(make_two, make_video, ".mp4"), ReadOptions()),
    "lerobot v2.1": (make_lerobot_v21, ReadOptions()),
    "lerobot v3.0": (make_lerobot_v30, ReadOptions()),
}


@pytest.mark.parametrize("name", MAKERS)
def test_a_url_gives_the_episodes_that_the_disk_gives(tmp_path: Path, memory: Any, name: str) -> None:
    make, options = MAKERS[name]
    make(tmp_path / "set")
    here = open_dataset(tmp_path / "set", options=options)
    there = open_dataset(f"{upload(memory, tmp_path / 'set')}/", options=options)
    assert there.format == here.format == name.partition(" ")[0]
    assert [episode.name for episode in there.episodes] == [episode.name for episode in here.episodes]
    for one, other in zip(here.episodes, there.episodes, strict=True):
        np.testing.assert_array_equal(other.frames(), one.frames())
        assert other.fps == one.fps
        assert str(other.source).startswith("memory://bucket/")
    assert inspect_dataset("memory://bucket", options=options).can_label


def test_opening_a_folder_of_episodes_fetches_no_more_than_it_needs(tmp_path: Path, memory: Any) -> None:
    make_two(make_aloha, ".hdf5", tmp_path / "set")
    dataset = open_dataset(upload(memory, tmp_path / "set"), fps=50)
    assert len(list(cache_folder().glob("*.hdf5"))) == 1
    dataset.episodes[1].frames()
    assert len(list(cache_folder().glob("*.hdf5"))) == 2


def test_a_file_is_fetched_once_and_anew_when_it_changes(tmp_path: Path, memory: Any) -> None:
    make_robomimic(tmp_path / "set.hdf5", episodes=1, size=8)
    memory.pipe("/bucket/set.hdf5", (tmp_path / "set.hdf5").read_bytes())
    episode = open_dataset("memory://bucket/set.hdf5").episodes[0]
    copy = local_file(RemotePath("memory://bucket/set.hdf5"))
    inode = copy.stat().st_ino
    episode.frames()
    assert local_file(RemotePath("memory://bucket/set.hdf5")).stat().st_ino == inode
    make_robomimic(tmp_path / "set.hdf5", episodes=3, size=8)
    memory.pipe("/bucket/set.hdf5", (tmp_path / "set.hdf5").read_bytes())
    assert len(open_dataset("memory://bucket/set.hdf5").episodes) == 3
    assert local_file(RemotePath("memory://bucket/set.hdf5")) != copy


def test_the_cache_keeps_to_its_bound(tmp_path: Path, memory: Any, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("genie_core.data.storage.file_cache._IN_USE_S", -1.0)
    monkeypatch.setenv("GENIE_CACHE_GIB", str(2500 / 2**30))
    for number in range(5):
        memory.pipe(f"/bucket/{number}.hdf5", bytes(1000))
        local_file(RemotePath(f"memory://bucket/{number}.hdf5"))
    assert len(list(cache_folder().glob("*.hdf5"))) == 2
    assert not list(cache_folder().glob("*.tmp-*"))
    monkeypatch.setenv("GENIE_CACHE_GIB", "none")
    memory.pipe("/bucket/5.hdf5", bytes(1000))
    with pytest.raises(DatasetError, match="GENIE_CACHE_GIB: got none"):
        local_file(RemotePath("memory://bucket/5.hdf5"))


@pytest.mark.parametrize(
    ("url", "message"),
    [
        ("memory://bucket/gone.hdf5", "memory://bucket/gone.hdf5: no such file or folder"),
        ("memory://bucket", "memory://bucket: got a folder without robot video"),
        ("memory://", "memory://: got a URL without a bucket, host or folder"),
        ("nowhere://bucket/set", "nowhere://bucket/set: cannot be read: Protocol not known"),
    ],
)
def test_what_is_not_there_is_named(memory: Any, url: str, message: str) -> None:
    memory.pipe("/bucket/readme.txt", b"nothing")
    with pytest.raises(DatasetError, match=message):
        open_dataset(url)


class RefusingFileSystem(MemoryFileSystem):  # type: ignore[misc]
    """A store that lists what it holds and lets nobody open it, as a bucket does whose policy says so."""

    protocol = "refusing"

    def info(self, path: str, **kwargs: Any) -> Any:
        raise PermissionError("Forbidden")


@pytest.mark.parametrize("place", ["set.hdf5", "set", "gone"])
def test_refused_access_is_not_taken_for_a_missing_file(memory: Any, place: str) -> None:
    memory.pipe("/bucket/set.hdf5", b"secret")
    memory.pipe("/bucket/set/0.hdf5", b"secret")
    fsspec.register_implementation("refusing", RefusingFileSystem, clobber=True)
    with pytest.raises(DatasetError, match=rf"refusing://bucket/{place}: cannot be read: Forbidden"):
        open_dataset(f"refusing://bucket/{place}")


def test_a_missing_package_is_named(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setitem(__import__("sys").modules, "s3fs", None)
    with pytest.raises(DatasetError, match=r"s3://bucket/set: reading s3:// needs `pip install s3fs`"):
        open_dataset("s3://bucket/set")


def test_a_file_that_goes_before_it_is_read_stops_its_own_episode_only(tmp_path: Path, memory: Any) -> None:
    make_two(make_aloha, ".hdf5", tmp_path / "set")
    dataset = open_dataset(upload(memory, tmp_path / "set"), fps=50)
    memory.rm("/bucket/episode_1.hdf5")
    assert dataset.episodes[0].num_frames == 8
    with pytest.raises(DatasetError, match=r"memory://bucket/episode_1\.hdf5: no such file"):
        _ = dataset.episodes[1].num_frames


def test_file_urls_are_local_paths(tmp_path: Path) -> None:
    path = make_robomimic(tmp_path / "a b.hdf5", size=8)
    assert source_path(f"file://{tmp_path}/a%20b.hdf5") == path
    assert open_dataset(f"file://{path}").episodes[0].source == path


def test_labels_of_remote_data_bear_their_url_and_are_resumed(tmp_path: Path, memory: Any) -> None:
    make_robomimic(tmp_path / "set.hdf5", size=8)
    memory.pipe("/bucket/set.hdf5", (tmp_path / "set.hdf5").read_bytes())
    dataset = open_dataset("memory://bucket/set.hdf5")
    assert default_output(dataset.path) == Path("set.labelled.hdf5")
    output = tmp_path / "out.hdf5"
    with pytest.raises(
        DatasetError, match="frames: got link, expected one of copy, none for a remote robomimic source"
    ):
        LabelWriter(output, dataset, make_label_model(), frames="link")
    writer = LabelWriter(output, dataset, make_label_model())
    writer.add(dataset.episodes[0], make_labels(12))
    writer.close()
    writer = LabelWriter(output, open_dataset("memory://bucket/set.hdf5"), make_label_model())
    (pending,) = writer.pending()
    writer.add(pending, make_labels(12))
    labelled = open_labelled(writer.finish())
    assert labelled.labels("demo_0")[1].source == "memory://bucket/set.hdf5"
    found = labelled.episode("demo_1")
    assert found is not None
    np.testing.assert_array_equal(found.frames(), dataset.episodes[1].frames())


def test_a_remote_source_that_changes_is_never_labelled_half_and_half(tmp_path: Path, memory: Any) -> None:
    make_robomimic(tmp_path / "set.hdf5", size=8)
    memory.pipe("/bucket/set.hdf5", (tmp_path / "set.hdf5").read_bytes())
    dataset = open_dataset("memory://bucket/set.hdf5")
    writer = LabelWriter(tmp_path / "out.hdf5", dataset, make_label_model())
    for episode in dataset.episodes:
        writer.add(episode, make_labels(12))
    memory.pipe("/bucket/set.hdf5", (tmp_path / "set.hdf5").read_bytes())
    with pytest.raises(DatasetError, match="changed while it was being labelled"):
        writer.finish()


@pytest.fixture
def web(tmp_path: Path) -> Iterator[str]:
    """A web server over a folder, which lists its folders as pages of links, and refuses what is in ``refused``."""
    pytest.importorskip("aiohttp")

    class Quiet(SimpleHTTPRequestHandler):
        def log_message(self, *_: object) -> None:
            return

        def send_head(self) -> Any:
            if self.path.startswith("/refused/"):
                return self.send_error(HTTPStatus.FORBIDDEN)
            return super().send_head()

    (tmp_path / "web").mkdir()
    with ThreadingHTTPServer(("127.0.0.1", 0), partial(Quiet, directory=str(tmp_path / "web"))) as server:
        server.daemon_threads = True
        thread = threading.Thread(target=server.serve_forever, daemon=True)
        thread.start()
        yield f"http://127.0.0.1:{server.server_address[1]}"
        server.shutdown()


def test_a_server_that_does_not_answer_or_refuses_is_not_a_missing_file(tmp_path: Path, web: str) -> None:
    make_robomimic(tmp_path / "web" / "set.hdf5", size=8)
    assert len(open_dataset(f"{web}/set.hdf5").episodes) == 2
    with pytest.raises(DatasetError, match=rf"{web}/gone\.hdf5: no such file or folder"):
        open_dataset(f"{web}/gone.hdf5")
    with pytest.raises(DatasetError, match=r"set\.hdf5: cannot be read: ClientResponseError: 403"):
        open_dataset(f"{web}/refused/set.hdf5")
    with socket.socket() as unused:
        unused.bind(("127.0.0.1", 0))  # and does not listen
        nobody = f"http://127.0.0.1:{unused.getsockname()[1]}/set.hdf5"
        with pytest.raises(DatasetError, match=rf"{nobody}: cannot be read: ClientConnectorError: Cannot connect"):
            open_dataset(nobody)


def checksums(episode: Episode) -> tuple[str, list[int]]:
    return episode.name, [int(chunk.astype(np.int64).sum()) for chunk in episode.chunks(5)]


@pytest.mark.parametrize("name", ["robomimic", "aloha", "lerobot v2.1", "lerobot v3.0"])
def test_spawned_workers_read_the_same_from_the_web(tmp_path: Path, web: str, name: str) -> None:
    make, options = MAKERS[name]
    make(tmp_path / "web" / "set")
    here = open_dataset(tmp_path / "web" / "set", options=options)
    there = open_dataset(f"{web}/set", options=options)
    with ProcessPoolExecutor(2, mp_context=multiprocessing.get_context("spawn")) as pool:
        found = list(pool.map(checksums, there.episodes))
    assert found == [checksums(episode) for episode in here.episodes]
    with pytest.raises(DatasetError, match="no such file or folder"):
        open_dataset(f"{web}/gone")
