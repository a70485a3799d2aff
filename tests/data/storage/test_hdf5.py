import fcntl
import resource
import signal
from collections.abc import Callable, Iterator
from contextlib import contextmanager, suppress
from pathlib import Path

import h5py
import numpy as np
import pytest

from genie_core.data.storage.atomic import failures_named, write_bytes
from genie_core.data.storage.hdf5 import check_sources, read_hdf5, write_hdf5
from genie_core.errors import DatasetError
from tests.factories.data import make_robomimic


@contextmanager
def disk_of(num_bytes: int) -> Iterator[None]:
    """Let no file grow beyond `num_bytes`, so that writing fails as on a full disk."""
    soft, hard = resource.getrlimit(resource.RLIMIT_FSIZE)
    resource.setrlimit(resource.RLIMIT_FSIZE, (num_bytes, hard))
    try:
        yield
    finally:
        resource.setrlimit(resource.RLIMIT_FSIZE, (soft, hard))


def test_what_is_written_is_there_and_nothing_else(tmp_path: Path) -> None:
    path = tmp_path / "a.hdf5"
    with write_hdf5(path) as atomic:
        with atomic.writing() as file:
            file["x"] = np.arange(10)
        assert not path.exists()
    with read_hdf5(path) as file:
        assert file["x"][3] == 3
    assert list(tmp_path.iterdir()) == [path]


def write_file(path: Path, write: Callable[[h5py.File], None], *, update: bool = False) -> None:
    with write_hdf5(path, update=update) as atomic, atomic.writing() as file:
        write(file)


def open_file(path: Path) -> None:
    with read_hdf5(path):
        pytest.fail("opened")


@pytest.mark.parametrize("error", [RuntimeError, KeyboardInterrupt])
def test_a_failed_block_leaves_the_old_file(tmp_path: Path, error: type[BaseException]) -> None:
    path = make_robomimic(tmp_path / "a.hdf5")
    before = path.read_bytes()

    def fail(file: h5py.File) -> None:
        file["data/demo_0/more"] = np.arange(10)
        raise error

    with pytest.raises(error):
        write_file(path, fail, update=True)
    assert path.read_bytes() == before
    assert list(tmp_path.iterdir()) == [path]


def test_an_update_keeps_what_was_there(tmp_path: Path) -> None:
    path = make_robomimic(tmp_path / "a.hdf5")
    path.chmod(0o640)
    with write_hdf5(path, update=True) as atomic, atomic.writing() as file:
        file["more"] = 1
    with h5py.File(path) as file:
        assert set(file) == {"data", "mask", "more"}
    assert path.stat().st_mode & 0o777 == 0o640


def write_chunks(file: h5py.File) -> None:
    noise = np.random.default_rng(0).integers(0, 256, (16, 64, 64, 3), dtype=np.uint8)
    frames = file.create_dataset("x", (0, 64, 64, 3), maxshape=(None, 64, 64, 3), chunks=(16, 64, 64, 3), dtype="u1")
    for _ in range(20):
        frames.resize(len(frames) + 16, axis=0)
        frames[-16:] = noise


def write_groups(file: h5py.File) -> None:
    for index in range(1500):
        file.create_group(f"g{index}/h").attrs["x"] = "y" * 200


@pytest.mark.parametrize("write", [write_chunks, write_groups])
@pytest.mark.parametrize("limit", [3_000, 300_000, 1_000_000])
def test_a_full_disk_is_an_error_and_not_a_crash(
    tmp_path: Path, write: Callable[[h5py.File], None], limit: int
) -> None:
    path = tmp_path / "a.hdf5"
    with disk_of(limit), pytest.raises(DatasetError, match=r"a\.hdf5: cannot be written: File too large.*make room"):
        write_file(path, write)
    assert list(tmp_path.iterdir()) == []
    write_file(path, write)
    with read_hdf5(path) as file:
        assert len(file)


def test_a_full_disk_is_told_at_the_first_write_that_fails(tmp_path: Path) -> None:
    with disk_of(1000), suppress(DatasetError), write_hdf5(tmp_path / "a.hdf5") as atomic:
        with pytest.raises(DatasetError, match="cannot be written"), atomic.writing() as file:
            write_chunks(file)
        with pytest.raises(DatasetError, match="cannot be written"), atomic.writing():
            pass


@pytest.mark.parametrize("number", [signal.SIGINT, signal.SIGTERM])
def test_ctrl_c_waits_until_hdf5_has_written(tmp_path: Path, number: signal.Signals) -> None:
    def interrupt(*_: object) -> None:
        raise KeyboardInterrupt

    def write(file: h5py.File) -> None:
        signal.raise_signal(number)
        write_chunks(file)
        written.append("everything")

    written: list[str] = []
    before = signal.signal(number, interrupt)
    try:
        with pytest.raises(KeyboardInterrupt):
            write_file(tmp_path / "a.hdf5", write)
        assert signal.getsignal(number) is interrupt
    finally:
        signal.signal(number, before)
    assert written == ["everything"]
    assert list(tmp_path.iterdir()) == []


def test_small_files_are_written_whole(tmp_path: Path) -> None:
    path = tmp_path / "a.json"
    write_bytes(path, b"old")
    with (
        disk_of(10),
        pytest.raises(DatasetError, match=r"a\.json: cannot be written: File too large; what"),
        failures_named(path),
    ):
        write_bytes(path, b"n" * 100)
    assert path.read_bytes() == b"old"
    assert list(tmp_path.iterdir()) == [path]


def test_a_folder_that_is_not_there(tmp_path: Path) -> None:
    with pytest.raises(DatasetError, match="cannot be written: No such file or directory"):
        write_file(tmp_path / "gone" / "a.hdf5", write_groups)


@pytest.mark.parametrize(
    ("content", "message"),
    [(b"", "expected an HDF5 file"), (b"hello", "expected an HDF5 file"), (None, "No such file")],
)
def test_names_what_cannot_be_read(tmp_path: Path, content: bytes | None, message: str) -> None:
    path = tmp_path / "a.hdf5"
    if content is not None:
        path.write_bytes(content)
    with pytest.raises(DatasetError, match=f"a.hdf5: .*{message}"):
        open_file(path)


def test_says_that_a_file_is_truncated(tmp_path: Path) -> None:
    path = make_robomimic(tmp_path / "a.hdf5")
    data = path.read_bytes()
    path.write_bytes(data[: len(data) // 2])
    with pytest.raises(DatasetError, match=f"truncated: got {len(data) // 2} bytes, expected {len(data)}"):
        open_file(path)


def test_says_that_another_program_writes(tmp_path: Path) -> None:
    path = make_robomimic(tmp_path / "a.hdf5")
    with path.open("rb") as other:
        fcntl.flock(other, fcntl.LOCK_EX)
        with pytest.raises(DatasetError, match="another program has the file open for writing"):
            open_file(path)


def make_virtual(path: Path, source: str = "parts.h5", inner: str = "rgb") -> Path:
    """A file whose `frames` are a virtual dataset, made of `inner` in `source` beside it."""
    with h5py.File(path, "w") as file:
        layout = h5py.VirtualLayout((4, 8), np.uint8)
        layout[:] = h5py.VirtualSource(source, inner, (4, 8))
        file.create_virtual_dataset("frames", layout)
    return path


def check_frames(path: Path) -> None:
    with read_hdf5(path) as file:
        check_sources(file["frames"], str(path))


def test_virtual_datasets_must_have_their_sources(tmp_path: Path) -> None:
    path = make_virtual(tmp_path / "all.hdf5")
    with pytest.raises(DatasetError, match=r"made of `rgb` in parts.h5, which is not there \(looked in .*read zeros"):
        check_frames(path)
    with h5py.File(tmp_path / "parts.h5", "w") as file:
        file["other"] = np.ones((4, 8), np.uint8)
    with pytest.raises(DatasetError, match=r"which holds no such dataset"):
        check_frames(path)
    with h5py.File(tmp_path / "parts.h5", "a") as file:
        file["rgb"] = np.ones((4, 8), np.uint8)
    check_frames(path)
    (tmp_path / "parts.h5").write_text("version https://git-lfs.github.com/spec/v1\noid sha256:0\nsize 1\n")
    with pytest.raises(DatasetError, match="cannot be opened: a Git LFS pointer"):
        check_frames(path)


def test_external_data_must_be_there(tmp_path: Path) -> None:
    path = tmp_path / "a.hdf5"
    raw = tmp_path / "frames.raw"
    raw.write_bytes(bytes(32))
    with h5py.File(path, "w") as file:
        file.create_dataset("frames", (4, 8), np.uint8, external=[(str(raw), 0, 32)])
    check_frames(path)
    raw.unlink()
    with pytest.raises(DatasetError, match=r"frames.raw, which is not there"):
        check_frames(path)


def test_data_behind_an_unknown_filter_are_not_called_damaged(tmp_path: Path) -> None:
    path = tmp_path / "a.hdf5"
    with h5py.File(path, "w") as file:
        plan = h5py.h5p.create(h5py.h5p.DATASET_CREATE)
        plan.set_chunk((4, 4))
        plan.set_filter(511, h5py.h5z.FLAG_OPTIONAL, (1,))  # a number kept for tests
        space = h5py.h5s.create_simple((4, 4))
        dataset = h5py.Dataset(h5py.h5d.create(file.id, b"x", h5py.h5t.NATIVE_UINT8, space, plan))
        dataset.id.write_direct_chunk((0, 0), b"abcd")
    with (
        pytest.raises(DatasetError, match=r"filter that is not installed here.*pip install hdf5plugin"),
        read_hdf5(path) as file,
    ):
        file["x"][()]


def test_a_file_that_is_being_written_is_not_called_damaged(tmp_path: Path) -> None:
    open_for_writing = tmp_path / "open.hdf5"
    with h5py.File(tmp_path / "a.hdf5", "w", libver="latest") as file:
        file["x"] = np.zeros(8)
        file.flush()
        open_for_writing.write_bytes((tmp_path / "a.hdf5").read_bytes())
    with pytest.raises(DatasetError, match=r"has the file open for writing, or was killed.*h5clear -s"):
        open_file(open_for_writing)
    (tmp_path / "new.hdf5").write_bytes(b"")
    with pytest.raises(DatasetError, match=r"is empty.*or another program is still writing it"):
        open_file(tmp_path / "new.hdf5")


def test_a_git_lfs_pointer_is_called_one(tmp_path: Path) -> None:
    path = tmp_path / "a.hdf5"
    path.write_text("version https://git-lfs.github.com/spec/v1\noid sha256:0\nsize 1\n")
    with pytest.raises(DatasetError, match=r"a Git LFS pointer, not the file itself: .*`git lfs pull`"):
        open_file(path)
