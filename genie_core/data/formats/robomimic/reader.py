"""Reads robot video in robomimic's HDF5 layout, ``data/demo_N/obs/<camera>``; also LIBERO's and Genie's.

Nothing is kept open between calls: opening takes a third of a millisecond, and workers may be forked at any time.
"""

from __future__ import annotations

import re
from collections.abc import Iterator, Mapping
from contextlib import contextmanager, suppress
from dataclasses import dataclass
from functools import cached_property
from typing import Any

import h5py
from numpy.typing import NDArray

from genie_core.data.frames.resize import Frames, frames_problem
from genie_core.data.frames.timing import is_rate
from genie_core.data.robot import Proprioception, first_known
from genie_core.data.storage.hdf5 import check_sources, check_stored, read_array, read_hdf5
from genie_core.data.storage.json_text import parse_json
from genie_core.data.storage.location import SourcePath
from genie_core.errors import DatasetError, SourceGoneError

LABEL_GROUP = "latent_actions"
"""Group in a demo that holds Genie's labels; see `genie_core.data.labelled.schema`."""

_IMAGE_CONVENTION = "macros_image_convention"
_LIBERO = (_IMAGE_CONVENTION, "bddl_file_name", "problem_info")
"""Attributes of ``data`` that LIBERO writes and robomimic does not."""

_LIBERO_CAMERAS = ("agentview_rgb", "eye_in_hand_rgb")
"""Names of LIBERO's cameras; robomimic's and robosuite's end in ``_image``."""

PROPRIOCEPTION = (
    ("obs/observation.state",),
    ("obs/robot0_eef_pos", "obs/robot0_eef_quat", "obs/robot0_gripper_qpos"),
    ("obs/ee_pos", "obs/ee_ori", "obs/gripper_states"),
    ("obs/robot0_eef_pos",),
)
"""Places of proprioception: in our own exports of other formats, robomimic's, LIBERO's."""

_DEMO_NAME = re.compile(r"demo_([0-9]{1,18})")


@dataclass(frozen=True)
class RobomimicFile:
    """Contents of a robomimic file, according to its first demo, attributes and names.

    Attributes:
        path: the file.
        demos: names ``demo_N`` in the order of N.
        ignored: keys of ``data`` that are not demos.
        cameras: observations of shape (T, H, W, 3) uint8, of the first demo that has any.
        refused: other observations of that demo that look like images, and why they are not cameras.
        fps: frames a second; None if the file does not say.
        fps_source: where `fps` was found, in words.
        masks: names of demos by filter key (``train``, ``valid``).
        rate_problem: description of an invalid frame rate in the file; None if there is none.
        is_libero: whether it has the attributes that LIBERO adds, or its cameras.
        is_regenerated: whether it has only those: OpenVLA's script and others play LIBERO's demos again, and store
            pictures as its simulator gives them, upside down.
        image_convention: its attribute ``macros_image_convention``: ``opengl`` (upside down) or ``opencv``.

    """

    path: SourcePath
    demos: tuple[str, ...]
    ignored: tuple[str, ...]
    cameras: tuple[str, ...]
    refused: Mapping[str, str]
    fps: float | None
    fps_source: str | None
    masks: Mapping[str, tuple[str, ...]]
    rate_problem: str | None
    is_libero: bool
    is_regenerated: bool
    image_convention: str | None

    def reader(self, demo: str, camera: str) -> RobomimicReader:
        """Return the reader of one of `demos`; nothing is read yet."""
        return _reader(self.path, demo, camera, self.fps, self.rate_problem)


def read_robomimic(path: SourcePath) -> RobomimicFile:
    """Survey a robomimic file. Raises DatasetError if `path` is not one or holds no demo."""
    with read_hdf5(path) as file:
        data = file.get("data")
        if not isinstance(data, h5py.Group):
            raise DatasetError(
                f"{path}: got a file that holds {_names(file)}, expected robomimic's layout (data/demo_0/obs/<camera>)"
            )
        demos = demo_names(file)
        if not demos:
            raise DatasetError(f"{path}: the group `data` holds {_names(data)}, expected demo_0, demo_1, ...")
        cameras, refused = _find_cameras(path, data, demos)
        fps, fps_source, rate_problem = _find_fps(data)
        return RobomimicFile(
            path=path,
            demos=demos,
            ignored=tuple(sorted(set(data) - set(demos))),
            cameras=cameras,
            refused=refused,
            fps=fps,
            fps_source=fps_source,
            masks=_read_masks(file),
            rate_problem=rate_problem,
            is_libero=is_libero(data),
            is_regenerated=is_libero(data) and not has_libero_attributes(data),
            image_convention=_text(data.attrs.get(_IMAGE_CONVENTION)),
        )


def read_demo(path: SourcePath, data: h5py.Group, demo: str, camera: str) -> RobomimicReader:
    """Return the reader of one demo in an open file's group `data`, without looking at the others.

    Raises DatasetError if its observations are a broken link.
    """
    require_link(data[demo], "obs", f"{path}: {demo}")
    fps, _, rate_problem = _find_fps(data)
    return _reader(path, demo, camera, fps, rate_problem)


def demo_names(file: h5py.File) -> tuple[str, ...]:
    """Return the names ``demo_N`` in the group ``data``, in the order of N."""
    names = [key for key in file.get("data", ()) if _DEMO_NAME.fullmatch(key)]
    return tuple(sorted(names, key=lambda name: int(name.removeprefix("demo_"))))


def is_libero(data: h5py.Group) -> bool:
    """Return whether the group ``data`` has attributes that only LIBERO writes, or its cameras."""
    return has_libero_attributes(data) or _has_libero_cameras(data)


def has_libero_attributes(data: h5py.Group) -> bool:
    """Return whether the group ``data`` has attributes that only LIBERO writes; files made anew from it lack them."""
    return any(key in data.attrs for key in _LIBERO)


def _has_libero_cameras(data: h5py.Group) -> bool:
    first = next((data[key] for key in data if _DEMO_NAME.fullmatch(key)), None)
    observations = first.get("obs") if isinstance(first, h5py.Group) else None
    return isinstance(observations, h5py.Group) and all(camera in observations for camera in _LIBERO_CAMERAS)


@dataclass(frozen=True)
class _DemoFacts:
    num_frames: int
    frame_size: tuple[int, int]
    fps: Any


@dataclass(frozen=True)
class RobomimicReader:
    """Reads one demo through one camera; the `FrameReader` of robomimic files."""

    path: SourcePath
    demo: str
    camera: str
    file_fps: float | None
    rate_problem: str | None = None

    @property
    def num_frames(self) -> int:
        """Number of frames in the camera's array."""
        return self._facts.num_frames

    @property
    def frame_size(self) -> tuple[int, int]:
        """Height and width in pixels."""
        return self._facts.frame_size

    @property
    def fps(self) -> float | None:
        """Frames a second: the demo's attribute ``fps``, else the file's, else None. Raises DatasetError if invalid."""
        own = self._facts.fps
        if own is None:
            fps, problem = self.file_fps, self.rate_problem
        else:
            fps, problem = _rate(own), f"attribute fps of the demo: got {own}, expected frames a second above 0"
        if fps is None and problem is not None:
            raise DatasetError(f"{self._where}: {problem}; give the frame rate that is true (fps)")
        return fps

    @cached_property
    def _facts(self) -> _DemoFacts:
        with self._open() as demo:
            num_frames, height, width, _ = self._frames_of(demo).shape
            fps = demo.attrs.get("fps")
        return _DemoFacts(num_frames, (height, width), fps)

    def read(self, start: int, stop: int) -> Frames:
        """Return frames start .. stop - 1, (n, H, W, 3) uint8; reads only the HDF5 chunks that hold them."""
        with self._open() as demo:
            frames: Frames = self._frames_of(demo)[start:stop]
        return frames

    def chunks(self, size: int) -> Iterator[Frames]:
        """Yield all frames, `size` at a time."""
        with self._open() as demo:
            dataset = self._frames_of(demo)
            for start in range(0, len(dataset), size):
                yield dataset[start : start + size]

    def array(self, key: str) -> NDArray[Any] | None:
        """Return the array at ``data/<demo>/<key>``; None if there is none."""
        with self._open() as demo:
            dataset = demo.get(key)
            if isinstance(dataset, h5py.Dataset):
                check_sources(dataset, self._where)
                return read_array(dataset)
            require_link(demo, key, self._where)
        return None

    @property
    def actions(self) -> NDArray[Any] | None:
        """The demo's ``actions``."""
        return self.array("actions")

    @property
    def proprioception(self) -> Proprioception | None:
        """Proprioception of our own exports, robomimic or LIBERO: the first that exists."""
        return first_known(self.array, PROPRIOCEPTION, "obs/", self._where)

    @property
    def task(self) -> None:
        """None: these formats have no standard place for it."""

    @property
    def group(self) -> str:
        """The demo."""
        return f"data/{self.demo}"

    @property
    def _where(self) -> str:
        return f"{self.path}: {self.demo}"

    @contextmanager
    def _open(self) -> Iterator[h5py.Group]:
        with read_hdf5(self.path) as file:
            demo = file.get(f"data/{self.demo}")
            if not isinstance(demo, h5py.Group):
                require_path(file, f"data/{self.demo}", self._where)
                raise DatasetError(f"{self._where} is missing, or is not a group")
            yield demo

    def _frames_of(self, demo: h5py.Group) -> h5py.Dataset:
        observations = _observations(demo, self._where)
        dataset = observations.get(self.camera)
        if not isinstance(dataset, h5py.Dataset):
            require_link(observations, self.camera, self._where)
            raise DatasetError(
                f"{self._where} has no camera `{self.camera}`, its observations are {_names(observations)}"
            )
        problem = frames_problem(dataset.shape, dataset.dtype)
        if problem:
            raise DatasetError(f"{self._where}: obs/{self.camera}: {problem}")
        check_sources(dataset, self._where)
        check_stored(dataset, in_parts=True)
        return dataset


def _reader(path: SourcePath, demo: str, camera: str, fps: float | None, problem: str | None) -> RobomimicReader:
    return RobomimicReader(path, demo, camera, fps, None if fps is not None else problem)


def _observations(demo: h5py.Group, where: str) -> h5py.Group:
    observations = demo.get("obs")
    if isinstance(observations, h5py.Group):
        return observations
    require_link(demo, "obs", where)
    raise DatasetError(f"{where} has no group `obs` with camera images")


def require_link(group: h5py.Group, key: str, where: str) -> None:
    """Raise SourceGoneError if `key` is a broken link."""
    link = group.get(key, getlink=True) if key in group else None
    if isinstance(link, h5py.ExternalLink) and group.get(key) is None:
        raise SourceGoneError(f"{where}: `{key}` is a link to {link.filename}, where {link.path} cannot be opened")
    if isinstance(link, h5py.SoftLink) and group.get(key) is None:
        raise SourceGoneError(f"{where}: `{key}` is a link to {link.path}, which is not there")


def require_path(file: h5py.Group, path: str, where: str) -> None:
    """Raise SourceGoneError if a part of `path` is a broken link."""
    group = file
    for part in filter(None, path.split("/")):
        require_link(group, part, where)
        inner = group.get(part)
        if not isinstance(inner, h5py.Group):
            return
        group = inner


def _find_cameras(path: SourcePath, data: h5py.Group, demos: tuple[str, ...]) -> tuple[tuple[str, ...], dict[str, str]]:
    """Return cameras, and refused images, of the first demo that has either."""
    for name in demos:
        if "obs" not in data[name]:
            continue
        cameras, refused = [], {}
        for key, dataset in _observations(data[name], f"{path}: {name}").items():
            if not isinstance(dataset, h5py.Dataset):
                continue
            problem = frames_problem(dataset.shape, dataset.dtype)
            if problem is None:
                cameras.append(key)
            elif len(dataset.shape) >= 3:
                refused[key] = problem
        if cameras or refused:
            return tuple(cameras), refused
    return (), {}


def _find_fps(data: h5py.Group) -> tuple[float | None, str | None, str | None]:
    """Return the frame rate of a file, where it was found, and what is wrong with an invalid one."""
    places = {"attribute fps of the group data": data.attrs.get("fps")}
    with suppress(KeyError, TypeError, ValueError):
        freq = parse_json(data.attrs["env_args"])["env_kwargs"]["control_freq"]
        places["control_freq in the attribute env_args"] = freq
    problem = None
    for place, value in places.items():
        fps = _rate(value)
        if fps is not None:
            return fps, place, problem
        if value is not None:
            problem = f"{place}: got {value}, expected frames a second above 0"
    return None, None, problem


def _text(value: Any) -> str | None:
    if isinstance(value, bytes):
        value = value.decode(errors="replace")
    return None if value is None else str(value)


def _rate(value: Any) -> float | None:
    try:
        fps = float(value)
    except (TypeError, ValueError):
        return None
    return fps if is_rate(fps) else None


def _read_masks(file: h5py.File) -> dict[str, tuple[str, ...]]:
    masks = file.get("mask")
    if not isinstance(masks, h5py.Group):
        return {}
    return {key: tuple(map(_known_text, read_array(names).ravel().tolist())) for key, names in _datasets(masks)}


def _datasets(group: h5py.Group) -> Iterator[tuple[str, h5py.Dataset]]:
    return ((key, item) for key, item in group.items() if isinstance(item, h5py.Dataset))


def _known_text(value: Any) -> str:
    return _text(value) or ""


def _names(group: h5py.Group) -> str:
    """Return the first keys of a group, for an error message."""
    keys = list(group)
    return (", ".join(f"`{key}`" for key in keys[:8]) + (", ..." if len(keys) > 8 else "")) or "nothing"


__all__ = [
    "LABEL_GROUP",
    "PROPRIOCEPTION",
    "RobomimicFile",
    "RobomimicReader",
    "demo_names",
    "is_libero",
    "read_demo",
    "read_robomimic",
    "require_link",
    "require_path",
]
