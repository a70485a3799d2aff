"""Whatever a dataset is called, holds or lacks: it is read as it was made, or refused in words; never a Python error.

Datasets are drawn by layout, names, types of arrays and damage. An episode that is read must be the one that was
written; one that was damaged, or is of another type than 8-bit RGB, must be refused, or be read to the bit.

`GENIE_DATASETS=500` draws 500 of each layout, others every time; without it the same 20 of each are drawn.
"""

from __future__ import annotations

import os
import re
import shutil
import tempfile
from collections.abc import Callable
from dataclasses import dataclass, field
from pathlib import Path

import h5py
import numpy as np
import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st
from numpy.typing import NDArray

from genie_core.data import ReadOptions, encode_image, inspect_dataset, open_dataset
from genie_core.errors import GenieError
from tests.factories.data import make_frames, make_video
from tests.factories.folders import SIZE as FOLDER_SIZE
from tests.factories.folders import write_calvin, write_pictures, write_replay, write_tar
from tests.factories.lerobot import make_lerobot_v21, make_lerobot_v30
from tests.factories.rlds import frames_of, make_rlds
from tests.factories.ros import CAMERA, FRAME_NS, START_NS, entries, robot_frames, write_mcap

Frames = NDArray[np.uint8]

_PYTHON = re.compile(r"Traceback|Error\(|\w+Error:|'NoneType'|object at 0x|list index|invalid literal")
"""What no message for a user holds."""

_VIDEO_MAY_LACK = 3
"""Frames at its end that a cut video may lack: headers promise seconds, to a few frames."""

_WANTED = os.environ.get("GENIE_DATASETS")
_SIZE = 16
_NAMES = st.text("ab7 .-_#%[]{}:é杯", min_size=1, max_size=8).filter(lambda name: name.strip(" .") == name)
_LENGTHS = st.lists(st.integers(1, 5), min_size=1, max_size=3)
_KINDS = st.sampled_from(["uint8", "float32", "uint16", "grey", "rgba", "first", "int8", "empty"])
_DAMAGE = st.sampled_from(["none", "none", "cut", "empty", "text", "pointer", "gone", "folder", "stray"])


@dataclass
class Made:
    """A dataset: where it is, how it is to be read, and what each episode must be; `refused`: none may be read."""

    path: Path
    truth: list[Frames]
    options: ReadOptions = field(default_factory=lambda: ReadOptions(fps=10))
    refused: bool = False
    files: list[Path] = field(default_factory=list)


def as_kind(frames: Frames, kind: str) -> NDArray[np.generic]:
    """The same pictures as an array of another type."""
    made: dict[str, Callable[[], NDArray[np.generic]]] = {
        "uint8": lambda: frames,
        "float32": lambda: (frames / 255).astype(np.float32),
        "uint16": lambda: frames.astype(np.uint16) * 257,
        "grey": lambda: frames[..., :1],
        "rgba": lambda: np.concatenate([frames, frames[..., :1]], axis=-1),
        "first": lambda: frames.transpose(0, 3, 1, 2),
        "int8": lambda: frames.astype(np.int8),
        "empty": lambda: frames[:, :0],
    }
    return made[kind]()


def pictures(lengths: list[int]) -> list[Frames]:
    return [make_frames(length, _SIZE, _SIZE, seed=number) for number, length in enumerate(lengths)]


def robomimic(folder: Path, name: str, lengths: list[int], kind: str) -> Made:
    path, truth = folder / f"{name}.hdf5", pictures(lengths)
    camera = name.replace("/", "") if name not in (".", "..") else "camera"
    with h5py.File(path, "w") as file:
        for number, frames in enumerate(truth):
            file[f"data/demo_{number * 3}/obs/{camera}"] = as_kind(frames, kind)
            file[f"data/demo_{number * 3}/actions"] = np.zeros((len(frames), 2))
    return Made(path, truth, refused=kind != "uint8", files=[path])


def aloha(folder: Path, name: str, lengths: list[int], kind: str) -> Made:
    place, truth = folder / name, pictures(lengths)
    place.mkdir()
    files = []
    for number, frames in enumerate(truth):
        files.append(place / f"episode_{number * 4}.hdf5")
        with h5py.File(files[-1], "w") as file:
            held = as_kind(frames, kind)
            if kind == "uint8":  # a PNG a row
                coded = [encode_image(frame[..., ::-1]) for frame in frames]
                held = np.array([np.frombuffer(data.ljust(max(map(len, coded)), b"\0"), np.uint8) for data in coded])
            file["observations/images/top"] = held
            file["action"] = np.zeros((len(frames), 2))
    return Made(place, truth, refused=kind != "uint8", files=files)


def described(folder: Path, name: str, lengths: list[int], kind: str) -> Made:
    path, truth = folder / f"{name}.h5", pictures(lengths)
    with h5py.File(path, "w") as file:
        for number, frames in enumerate(truth):
            file[f"runs/r{number}/rgb"] = as_kind(frames, kind)
    options = ReadOptions(fps=10, frames_path="runs/*/rgb")
    return Made(path, truth, options, kind not in ("uint8", "first"), [path])


def videos(folder: Path, name: str, lengths: list[int], kind: str) -> Made:
    place = folder / name
    place.mkdir()
    files = [place / f"{number}.mkv" for number in range(len(lengths))]
    for number, (file, length) in enumerate(zip(files, lengths, strict=True)):
        make_video(file, length, _SIZE, codec="ffv1", seed=number)
    return Made(place, pictures(lengths), files=files)


def lerobot(folder: Path, name: str, lengths: list[int], kind: str) -> Made:
    make = make_lerobot_v30 if kind in ("float32", "grey", "first") else make_lerobot_v21
    path = make(folder / name, lengths, size=(_SIZE, _SIZE), dtype="image")
    truth = [episode.frames() for episode in open_dataset(path).episodes]
    files = sorted(file for file in path.rglob("*") if file.suffix in (".parquet", ".json", ".jsonl"))
    return Made(path, truth, files=files)


def lerobot_videos(folder: Path, name: str, lengths: list[int], kind: str) -> Made:
    make = make_lerobot_v30 if kind in ("float32", "grey", "first") else make_lerobot_v21
    path = make(folder / name, lengths, size=(_SIZE, _SIZE))
    truth = [episode.frames() for episode in open_dataset(path).episodes]
    for number, frames in enumerate(truth):  # which episode it is can be told, whatever the codec loses
        shown = make_frames(lengths[number], _SIZE, _SIZE, seed=number)
        assert np.abs(frames.astype(int) - shown).mean() < 20
    return Made(path, truth, files=sorted(file for file in path.rglob("*") if file.is_file()))


def images(folder: Path, name: str, lengths: list[int], kind: str) -> Made:
    places = [write_pictures(folder / name / f"run{'abc'[at]}", n, seed=at) for at, n in enumerate(lengths)]
    truth = [make_frames(length, *FOLDER_SIZE, seed=at) for at, length in enumerate(lengths)]
    return Made(folder / name, truth, files=sorted(file for place in places for file in place.iterdir()))


def calvin(folder: Path, name: str, lengths: list[int], kind: str) -> Made:
    starts = [10 * at for at in range(len(lengths))]
    path = write_calvin(folder / name, [(at, at + length - 1) for at, length in zip(starts, lengths, strict=True)])
    truth = [make_frames(length, *FOLDER_SIZE, seed=at) for at, length in zip(starts, lengths, strict=True)]
    files = sorted(path.glob("episode_*.npz"))
    for file in files if kind != "uint8" else []:
        held = dict(np.load(file))
        np.savez(file, **{**held, "rgb_static": as_kind(held["rgb_static"][None], kind)[0]})
    return Made(path, truth, ReadOptions(fps=10, camera="rgb_static"), kind != "uint8", files)


def replay(folder: Path, name: str, lengths: list[int], kind: str) -> Made:
    pictures, channels = "unit" if kind == "float32" else "uint8", "first" if kind == "first" else "last"
    made = write_replay(folder / "made.zarr", lengths, 2 + len(name) % 2, pictures, channels)
    path = made.rename(folder / f"{name}.zarr")  # the library takes `::` in a name for a chain of stores
    truth = [make_frames(length, *FOLDER_SIZE, seed=at) for at, length in enumerate(lengths)]
    return Made(path, truth, files=sorted(file for file in path.rglob("*") if file.is_file()))


def rlds(folder: Path, name: str, lengths: list[int], kind: str) -> Made:
    path = make_rlds(folder / name / "1.0.0", {"train": [lengths]}, (_SIZE, _SIZE))
    truth = [frames_of(at, length, (_SIZE, _SIZE)) for at, length in enumerate(lengths)]
    options = ReadOptions(fps=10, camera="image")
    return Made(path, truth, options, files=sorted(file for file in path.iterdir() if file.is_file()))


def recordings(folder: Path, name: str, lengths: list[int], kind: str) -> Made:
    place = folder / name
    place.mkdir()
    for at, length in enumerate(lengths):
        said = [one for one in entries(at) if one.log_ns < START_NS + length * FRAME_NS - FRAME_NS // 2]
        write_mcap(place / f"{at}.mcap", said)
    truth = [robot_frames(at)[:length] for at, length in enumerate(lengths)]
    return Made(place, truth, ReadOptions(fps=10, camera=CAMERA), files=sorted(place.iterdir()))


def tars(folder: Path, name: str, lengths: list[int], kind: str) -> Made:
    place = folder / name
    place.mkdir()
    coded = [make_video(folder / f"{at}.mkv", n, _SIZE, codec="ffv1", seed=at) for at, n in enumerate(lengths)]
    shards = [coded[:2], coded[2:]] if kind == "rgba" else [coded]
    files = [place / f"{at}.tar" for at, shard in enumerate(shards) if shard]
    for file, shard in zip(files, shards, strict=False):
        write_tar(file, {f"{name.replace('.', '')}/{one.stem}.mkv": one.read_bytes() for one in shard})
    return Made(place, pictures(lengths), files=files)


_MADE = (tars, robomimic, aloha, described, videos, lerobot, lerobot_videos, images, calvin, replay, rlds, recordings)
LAYOUTS = {layout.__name__: layout for layout in _MADE}


def damage(made: Made, how: str, which: int) -> None:
    """Do to one file, or beside it, what happens to files."""
    file = made.files[which % len(made.files)]
    data = file.read_bytes()
    if how == "cut":
        file.write_bytes(data[: len(data) * 2 // 3])
    elif how == "empty":
        file.write_bytes(b"")
    elif how == "text":
        file.write_text("<html>404 not found</html>")
    elif how == "pointer":
        file.write_text("version https://git-lfs.github.com/spec/v1\noid sha256:0\nsize 1\n")
    elif how == "gone":
        file.unlink()
    elif how == "folder":
        file.unlink()
        file.mkdir()
    elif how == "stray" and made.path.is_dir():
        (made.path / "notes.txt").write_text("x")
        (made.path / "._x.mp4").write_bytes(b"\0\5\x16\7")
        (made.path / "link").symlink_to(made.path)


def _is(truth: Frames, frames: Frames, may_lack: int) -> bool:
    lost = len(truth) - len(frames)
    return 0 <= lost <= may_lack and np.array_equal(truth[: len(frames)], frames) and len(frames) > 0


def check(made: Made, how: str) -> None:
    """Read the dataset in every way; see the module."""
    said: list[str] = []
    try:
        report = inspect_dataset(made.path, options=made.options)
        said += [*report.obstacles, *report.warnings, *report.facts]
        said += [episode.problem or "" for episode in report.episodes]
        dataset = open_dataset(made.path, options=made.options, check=False)
    except GenieError as error:
        if not made.refused and how in ("none", "stray"):
            raise
        said.append(str(error))
        dataset = None
    whole = how in ("none", "stray") and not made.refused
    for number, episode in enumerate([] if dataset is None else dataset.episodes):
        try:
            frames = episode.frames()
        except GenieError as error:
            if whole:
                raise
            said.append(str(error))
            continue
        assert not made.refused
        if whole or how in ("cut", "pointer", "text", "empty"):
            known = any(_is(truth, frames, may_lack=_VIDEO_MAY_LACK * (how == "cut")) for truth in made.truth)
            assert known, f"episode {episode.name} is none of those that were written"
        if whole:
            np.testing.assert_array_equal(frames, made.truth[number])
    if whole:
        assert dataset is not None
        assert len(dataset.episodes) == len(made.truth)
    for text in said:
        assert not _PYTHON.search(text), text


@pytest.mark.parametrize("layout", LAYOUTS)
@settings(
    max_examples=int(_WANTED or 20),
    suppress_health_check=list(HealthCheck),
    derandomize=_WANTED is None,
)
@given(name=_NAMES, lengths=_LENGTHS, kind=_KINDS, how=_DAMAGE, which=st.integers(0, 20))
def test_any_dataset_is_read_as_it_was_made_or_refused_in_words(
    layout: str, name: str, lengths: list[int], kind: str, how: str, which: int
) -> None:
    folder = Path(tempfile.mkdtemp())
    try:
        made = LAYOUTS[layout](folder, name, lengths, kind)
        damage(made, how, which)
        check(made, how)
    finally:
        shutil.rmtree(folder)
