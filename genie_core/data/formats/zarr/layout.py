"""Zarr's format: how replay buffers are recognised, their cameras, and where their episodes end."""

from __future__ import annotations

from typing import Any

import numpy as np

from genie_core.data.dataset import Dataset, Format, ReadOptions, Sources, Survey, choose_camera
from genie_core.data.episode import Episode
from genie_core.data.formats.zarr.reader import DATA, Camera, ChannelAxis, ZarrReader
from genie_core.data.formats.zarr.store import check_chunks, open_group, zarr_mark
from genie_core.data.frames.convention import Convention
from genie_core.data.storage.location import SourcePath
from genie_core.errors import DatasetError

ENDS = "meta/episode_ends"
_RATE = "replay buffers state no frame rate, unless they have data/timestamp; Diffusion Policy's are of 10 a second"


class ZarrLayout:
    """A Zarr group with ``data/<camera>`` and ``meta/episode_ends``, a folder or a zip file."""

    name: Format = "zarr"
    looks_for = f"a Zarr group with {DATA}/<camera> and {ENDS}"

    def recognise(self, path: SourcePath) -> str | None:
        """Recognise it by the file that marks a group."""
        return zarr_mark(path)

    def survey(self, sources: Sources, options: ReadOptions) -> Survey:
        """Read the names, shapes and types of the arrays, and the ends of the episodes."""
        cameras: dict[str, Camera] = {}
        warnings: list[str] = []
        try:
            with open_group(sources.path) as group:
                cameras, odd = _cameras(sources.path, group, options)
                warnings += odd
                camera = cameras[choose_camera(sources.path, tuple(cameras), options.camera)]
                rows = int(group[DATA][camera.key].shape[0])
                ends = _ends(sources.path, group, rows)
                warnings += _missing(camera, group)
                is_timed = any(key in group[DATA] for key in ("timestamp", "timestamps"))
            facts = [_float_fact(camera)] if camera.is_float else []
        except DatasetError as error:
            return Survey(None, tuple(cameras), obstacles=(str(error),), warnings=tuple(warnings))
        if len(ends) and ends[-1] < rows:
            warnings.append(f"{sources.path}: {rows - ends[-1]} rows after the last of {ENDS} are of no episode")
        convention = options.convention(Convention())
        starts = [0, *ends[:-1]]
        episodes = tuple(
            Episode(
                f"episode_{number:06d}",
                sources.path,
                camera.key,
                ZarrReader(sources.path, camera, start, stop),
                options.fps,
                convention,
                options.actions_path,
            )
            for number, (start, stop) in enumerate(zip(starts, ends, strict=True))
        )
        facts += [] if options.fps or is_timed else [_RATE]
        dataset = Dataset("zarr", sources.path, tuple(cameras), camera.key, episodes, options)
        source = "data/timestamp" if is_timed else "attribute fps"
        return Survey(dataset, dataset.cameras, 1, source, tuple(facts), warnings=tuple(warnings))


def _cameras(path: SourcePath, group: Any, options: ReadOptions) -> tuple[dict[str, Camera], list[str]]:
    """Return the arrays of ``data`` that hold pictures, and those that look so and cannot be read, in words."""
    data = group.get(DATA)
    if data is None or not hasattr(data, "arrays"):
        raise DatasetError(f"{path}: a Zarr group without `{DATA}`, expected {DATA}/<camera> and {ENDS}")
    cameras, odd = {}, []
    for key, array in sorted(data.arrays()):
        if len(array.shape) != 4 or 3 not in (array.shape[1], array.shape[3]):
            continue
        if array.dtype != np.uint8 and array.dtype.kind != "f":
            odd.append(f"{path}: {DATA}/{key}: no camera: got {array.dtype}, expected uint8 or floating-point numbers")
            continue
        cameras[key] = Camera(path, key, _channel_axis(path, key, array.shape, options), array.dtype.kind == "f")
    if not cameras:
        raise DatasetError(f"{path}: no camera, expected an array (N, H, W, 3) or (N, 3, H, W) in `{DATA}`")
    return cameras, odd


def _channel_axis(path: SourcePath, key: str, shape: tuple[int, ...], options: ReadOptions) -> ChannelAxis:
    may_be = {"last": shape[3] == 3, "first": shape[1] == 3}
    if options.channels is not None:
        if not may_be[options.channels]:
            raise DatasetError(f"{path}: {DATA}/{key}: got shape {shape}, expected channels {options.channels}")
        return options.channels
    if all(may_be.values()):
        raise DatasetError(f"{path}: {DATA}/{key}: shape {shape} may be (N, H, W, 3) or (N, 3, H, W): say channels")
    return "last" if may_be["last"] else "first"


def _ends(path: SourcePath, group: Any, rows: int) -> list[int]:
    array = group.get(ENDS)
    if array is None or not hasattr(array, "chunks"):
        raise DatasetError(f"{path}: has no {ENDS}, expected the row after the last of each episode")
    if len(array.shape) != 1 or array.dtype.kind not in "iu" or array.shape[0] > rows:
        raise DatasetError(
            f"{path}: {ENDS}: got {array.dtype} of shape {array.shape} for {rows} rows, expected whole numbers (N,)"
        )
    check_chunks(array, f"{path}: {ENDS}")
    ends: list[int] = np.asarray(array[:]).tolist()
    previous = 0
    for number, end in enumerate(ends):
        if not previous < end <= rows:
            raise DatasetError(f"{path}: {ENDS}: episode {number} ends at row {end}, expected {previous + 1} to {rows}")
        previous = end
    if not ends:
        raise DatasetError(f"{path}: {ENDS} lists no episode")
    return ends


def _missing(camera: Camera, group: Any) -> list[str]:
    """Say how many chunks of the pictures are not stored: writers leave out black ones, and copies lose some."""
    array = group[DATA][camera.key]
    lacking = int(array.nchunks) - int(array.nchunks_initialized)
    if not lacking:
        return []
    return [f"{camera.where}: {lacking} of {array.nchunks} chunks are not there and read as black: left out, or lost"]


def _float_fact(camera: Camera) -> str:
    return f"pictures are floating-point numbers, 0 to {camera.highest:g} by their values, rounded to 8 bits"


__all__ = ["ENDS", "ZarrLayout"]
