"""CALVIN's format: how its folders are recognised, and which of their files are an episode."""

from __future__ import annotations

import re
from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from itertools import groupby

import numpy as np

from genie_core.data.dataset import Dataset, Format, ReadOptions, Sources, Survey, choose_camera
from genie_core.data.episode import Episode, FrameReader, Unreadable
from genie_core.data.formats.calvin.reader import CalvinReader
from genie_core.data.frames.convention import Convention
from genie_core.data.storage.location import SourcePath
from genie_core.data.storage.npy import open_npz, read_npy
from genie_core.errors import DatasetError

BOUNDS = "ep_start_end_ids.npy"
_SPLITS = ("training", "validation")
_FILE = re.compile(r"episode_(\d+)\.npz")
_RATE = "files of CALVIN state no frame rate; it was recorded at 30 frames a second"
_WORDS = "instructions are not read: CALVIN has them in a pickle, which runs code when read"


class CalvinLayout:
    """A folder of ``episode_0000000.npz``, one a frame, and where the episodes begin and end."""

    name: Format = "calvin"
    looks_for = f"episode_0000000.npz, one a frame, and {BOUNDS}"

    def recognise(self, path: SourcePath) -> str | None:
        """Recognise it by its list of episodes, or by the name of its first file."""
        if any((folder / BOUNDS).is_file() for folder in _candidates(path)):
            return f"it holds {BOUNDS}"
        found: Iterator[SourcePath] = iter(path.glob("episode_[0-9]*.npz"))
        first = next(found, None)
        return None if first is None else f"it holds {first.name}"

    def survey(self, sources: Sources, options: ReadOptions) -> Survey:
        """List files and episodes, and look into the first file for its cameras."""
        cameras: tuple[str, ...] = ()
        try:
            splits = [split for split in map(_split, _candidates(sources.path)) if split.files]
            if not splits:
                raise DatasetError(f"{sources.path}: holds no episode_0000000.npz")
            first = splits[0]
            cameras = _cameras(first.folder / next(iter(first.files.values())))
            camera = choose_camera(sources.path, cameras, options.camera, "rgb_static")
            convention = options.convention(Convention())
            episodes: list[Episode] = []
            masks: dict[str, tuple[str, ...]] = {}
            for split in splits:
                prefix = "" if split.folder == sources.path else f"{split.folder.name}/"
                found = [
                    Episode(prefix + title, split.folder, camera, reader, options.fps, convention, options.actions_path)
                    for title, reader in split.readers(camera)
                ]
                masks |= {split.folder.name: tuple(episode.name for episode in found)} if prefix else {}
                episodes += found
        except DatasetError as error:
            return Survey(None, cameras, obstacles=(str(error),))
        dataset = Dataset("calvin", sources.path, cameras, camera, tuple(episodes), options, masks)
        files = sum(len(split.files) for split in splits)
        return Survey(dataset, cameras, files, facts=(_WORDS, *(() if options.fps else (_RATE,))))


@dataclass(frozen=True)
class _Split:
    """A folder of steps: file by number, and the first and last number of each episode."""

    folder: SourcePath
    files: Mapping[int, str]
    bounds: tuple[tuple[int, int], ...]

    def readers(self, camera: str) -> Iterator[tuple[str, FrameReader]]:
        for start, end in self.bounds:
            title = f"episode_{start:07d}"
            missing = _first_missing(self.files, start, end)
            if missing is None:
                yield title, CalvinReader(self.folder, tuple(self.files[at] for at in range(start, end + 1)), camera)
            else:
                problem = f"has no episode_{missing:07d}.npz, which {BOUNDS} counts to the episode {start} to {end}"
                yield title, Unreadable(f"{self.folder}: {problem}")


def _candidates(path: SourcePath) -> list[SourcePath]:
    return [path, *(path / split for split in _SPLITS)]


def _split(folder: SourcePath) -> _Split:
    named = ((_FILE.fullmatch(file.name), file.name) for file in folder.glob("episode_*.npz"))
    files = {int(match[1]): name for match, name in named if match}
    files = dict(sorted(files.items()))
    path = folder / BOUNDS
    if not path.is_file():
        runs = (list(run) for _, run in groupby(enumerate(files), lambda pair: pair[1] - pair[0]))
        return _Split(folder, files, tuple((run[0][1], run[-1][1]) for run in runs))
    bounds = read_npy(path)
    if bounds.ndim != 2 or bounds.shape[1] != 2 or bounds.dtype.kind not in "iu":
        raise DatasetError(f"{path}: got {bounds.dtype} of shape {bounds.shape}, expected whole numbers (N, 2)")
    if np.any(bounds[:, 0] > bounds[:, 1]) or np.any(bounds < 0):
        raise DatasetError(f"{path}: got an episode that ends before it starts")
    return _Split(folder, files, tuple((int(start), int(end)) for start, end in sorted(bounds.tolist())))


def _first_missing(files: Mapping[int, str], start: int, end: int) -> int | None:
    return next((at for at in range(start, end + 1) if at not in files), None)


def _cameras(path: SourcePath) -> tuple[str, ...]:
    """Return the keys of a step whose arrays are pictures: (H, W, 3) uint8."""
    with open_npz(path) as archive:
        headers = {key: archive.header(key) for key in archive.keys}
    return tuple(
        key for key, (shape, dtype) in headers.items() if len(shape) == 3 and shape[-1] == 3 and dtype == np.uint8
    )


__all__ = ["BOUNDS", "CalvinLayout"]
