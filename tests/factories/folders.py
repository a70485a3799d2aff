"""Small datasets that are folders of many files, for tests: pictures, CALVIN's steps, Zarr replay buffers."""

from __future__ import annotations

import io
import tarfile
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from genie_core.data import encode_image
from tests.factories.data import make_frames

SIZE = (24, 32)


def write_pictures(folder: Path, frames: int = 6, seed: int = 0, name: str = "im_{}.png", first: int = 0) -> Path:
    """Picture files of a folder, lossless; `name` has the number's place."""
    folder.mkdir(parents=True, exist_ok=True)
    for number, frame in enumerate(make_frames(frames, *SIZE, seed=seed), first):
        (folder / name.format(number)).write_bytes(encode_image(frame))
    return folder


def write_tar(path: Path, members: Mapping[str, bytes]) -> Path:
    """A tar file of `members` by their names, in that order."""
    with tarfile.open(path, "w") as tar:
        for name, data in members.items():
            member = tarfile.TarInfo(name)
            member.size = len(data)
            tar.addfile(member, io.BytesIO(data))
    return path


def write_calvin(folder: Path, episodes: Sequence[tuple[int, int]] = ((3, 8), (9, 12))) -> Path:
    """A split of CALVIN: consecutive steps, with `episodes` (first, last) listed."""
    folder.mkdir(parents=True)
    for start, end in episodes:
        count = end - start + 1
        frames, gripper = make_frames(count, *SIZE, seed=start), make_frames(count, 12, 12, seed=start)
        for at in range(count):
            np.savez(
                folder / f"episode_{start + at:07d}.npz",
                rgb_static=frames[at],
                rgb_gripper=gripper[at],
                depth_static=np.zeros(SIZE, np.float32),
                actions=np.full(7, start + at, np.float64),
                rel_actions=np.full(7, at, np.float64),
                robot_obs=np.full(15, at / 2, np.float64),
            )
    np.save(folder / "ep_start_end_ids.npy", np.array(episodes))
    return folder


def write_replay(
    path: Path,
    lengths: Sequence[int] = (5, 3, 6),
    version: int = 2,
    pictures: str = "uint8",
    channels: str = "last",
    **arrays: NDArray[Any],
) -> Path:
    """A replay buffer; `pictures` is ``uint8``, ``unit`` (float, 0 to 1) or ``bytes`` (float, 0 to 255)."""
    import zarr

    frames: NDArray[Any] = np.concatenate([make_frames(length, *SIZE, seed=at) for at, length in enumerate(lengths)])
    frames = {"uint8": frames, "unit": (frames / 255).astype("f4"), "bytes": frames.astype("f4")}[pictures]
    frames = frames.transpose(0, 3, 1, 2) if channels == "first" else frames
    total = sum(lengths)
    given = {
        "data/img": frames,
        "data/action": np.arange(total * 2, dtype="f4").reshape(total, 2),
        "data/state": np.arange(total * 5, dtype="f4").reshape(total, 5),
        "meta/episode_ends": np.cumsum(lengths),
        **{f"data/{key}": value for key, value in arrays.items()},
    }
    store = zarr.storage.ZipStore(path, mode="w") if path.suffix == ".zip" else str(path)
    group = zarr.open_group(store, mode="w", zarr_format=version)  # type: ignore[arg-type]
    for key, value in given.items():
        group.create_array(key, data=value, chunks=(4, *value.shape[1:]) if value.ndim > 1 else "auto")
    if path.suffix == ".zip":
        store.close()  # type: ignore[union-attr]
    return path
