"""Formats robomimic and LIBERO: how their files are recognised, and survey of their contents. Reads no frames."""

from __future__ import annotations

from collections.abc import Sequence
from contextlib import suppress
from dataclasses import replace

import h5py

from genie_core.data.dataset import (
    ROBOMIMIC_LAYOUT,
    Dataset,
    Format,
    ReadOptions,
    Sources,
    Survey,
    choose_camera,
    file_names,
)
from genie_core.data.episode import Episode, Unreadable
from genie_core.data.formats.robomimic.reader import RobomimicFile, demo_names, is_libero, read_robomimic
from genie_core.data.frames.convention import Convention
from genie_core.data.storage.hdf5 import read_hdf5
from genie_core.data.storage.location import SourcePath
from genie_core.errors import DatasetError

DEFAULT_CAMERAS: dict[Format, str] = {"robomimic": "agentview_image", "libero": "agentview_rgb"}
"""Default camera if a file has several and the user names none."""


class RobomimicLayout:
    """HDF5 with ``data/demo_N/obs/<camera>``; with ``libero=True``, only files that LIBERO has written."""

    def __init__(self, *, libero: bool) -> None:
        self.name: Format = "libero" if libero else "robomimic"
        self._libero = libero
        self.looks_for = "`data/demo_0/obs/<camera>`" + (
            " and an attribute `macros_image_convention` of `data`" if libero else ""
        )

    def recognise(self, path: SourcePath) -> str | None:
        """Recognise it by its demos, LIBERO by its attributes too."""
        with suppress(DatasetError), read_hdf5(path) as file:
            data = file.get("data")
            if isinstance(data, h5py.Group) and demo_names(file) and is_libero(data) == self._libero:
                of_libero = ", and its attributes are LIBERO's" if self._libero else ""
                return f"it holds data/demo_N{of_libero}"
        return None

    def survey(self, sources: Sources, options: ReadOptions) -> Survey:
        """Survey all files: names and shapes in their first demos, attributes."""
        sources, files, left_out = _with_pictures(sources, [_read(path) for path in sources.files])
        good = [file for file in files if isinstance(file, RobomimicFile)]
        bad = [file for file in files if isinstance(file, str)]
        if not good:
            return Survey(None, files=len(files), obstacles=tuple(bad))
        cameras = tuple(name for name in good[0].cameras if all(name in file.cameras for file in good))
        try:
            camera = _choose_camera(sources, good, cameras, options.camera)
        except DatasetError as error:
            return Survey(None, cameras, len(files), obstacles=(*bad, str(error)))
        warnings = [f"{path}: left out, it has no camera images" for path in left_out]
        warnings += [f"{file.path}: ignored, not a demo: {', '.join(file.ignored)}" for file in good if file.ignored]
        warnings += [f"{file.path}: obs/{key}: {why}" for file in good for key, why in file.refused.items()]
        warnings += [f"{file.path}: {file.rate_problem}" for file in good if file.rate_problem]
        facts = _upside_down_facts(good, options)
        warnings += [fact for fact in facts if fact.startswith("it is not known")]
        return Survey(
            _dataset(sources, files, cameras, camera, options),
            cameras,
            len(files),
            fps_source=good[0].fps_source,
            facts=tuple(fact for fact in facts if fact not in warnings),
            warnings=tuple(warnings),
        )


def _read(path: SourcePath) -> RobomimicFile | str:
    """Return the contents of a file, or a description of what is wrong with it."""
    try:
        return read_robomimic(path)
    except DatasetError as error:
        return str(error)


def _with_pictures(
    sources: Sources, files: list[RobomimicFile | str]
) -> tuple[Sources, list[RobomimicFile | str], list[SourcePath]]:
    """Leave out files without any picture, if others have some: robomimic's low-dimensional file lies beside."""
    poor = [file.path for file in files if isinstance(file, RobomimicFile) and not file.cameras and not file.refused]
    if not poor or not any(isinstance(file, RobomimicFile) and file.cameras for file in files):
        return sources, files, []
    kept = [file for file in files if isinstance(file, str) or file.path not in poor]
    return replace(sources, files=tuple(path for path in sources.files if path not in poor)), kept, poor


def _choose_camera(
    sources: Sources, files: Sequence[RobomimicFile], cameras: tuple[str, ...], camera: str | None
) -> str:
    refused = {key: problem for file in files for key, problem in file.refused.items()}
    if camera in refused and camera not in cameras:
        exist = ", ".join(cameras) or "none"
        raise DatasetError(
            f"{sources.path}: no camera `{camera}` (obs/{camera}: {refused[camera]}); the cameras are: {exist}"
        )
    if cameras or camera is not None:
        return choose_camera(sources.path, cameras, camera, DEFAULT_CAMERAS[sources.format])
    if refused:
        details = "; ".join(f"obs/{key}: {problem}" for key, problem in refused.items())
        raise DatasetError(f"{sources.path}: no camera that can be read: {details}")
    raise DatasetError(
        f"{sources.path}: no camera images in {'obs' if len(files) == 1 else 'the observations that all files share'}, "
        "expected (T, H, W, 3) uint8; for a low-dimensional dataset render them (robomimic's dataset_states_to_obs.py)"
    )


def _dataset(
    sources: Sources,
    files: Sequence[RobomimicFile | str],
    cameras: tuple[str, ...],
    camera: str,
    options: ReadOptions,
) -> Dataset:
    """Return the dataset of the files, without looking into their demos.

    An episode is named after its demo; in a folder, with the file's path (without suffix) before it: ``lift/demo_3``. A
    file that cannot be read becomes one episode named after its path.
    """
    episodes: list[Episode] = []
    masks: dict[str, tuple[str, ...]] = {}
    for name, path, file in zip(file_names(sources), sources.files, files, strict=True):
        if isinstance(file, str):
            episodes.append(Episode(name, path, camera, Unreadable(file)))
            continue
        prefix = "" if file.path == sources.path else f"{name}/"
        convention = options.convention(_convention(file))
        for demo in file.demos:
            reader = file.reader(demo, camera)
            episodes.append(Episode(prefix + demo, path, camera, reader, options.fps, convention))
        for key, names in file.masks.items():
            masks[key] = (*masks.get(key, ()), *(prefix + name for name in names))
    return Dataset(sources.format, sources.path, cameras, camera, tuple(episodes), options, masks)


def _convention(file: RobomimicFile) -> Convention:
    return Convention(upside_down=file.image_convention == "opengl" or file.is_regenerated)


def _upside_down_facts(files: Sequence[RobomimicFile], options: ReadOptions) -> list[str]:
    """Return whether pictures are upside down according to the files, and how they are read; only for LIBERO."""
    said = {"regenerated" if file.is_regenerated else file.image_convention for file in files if file.is_libero}
    if not said or options.flip is not None:
        return []
    facts = {
        "opengl": "macros_image_convention is opengl: pictures are stored upside down and turned over when read",
        "regenerated": "LIBERO's cameras without its attributes, as scripts write that play its demos again: pictures "
        "are taken to be upside down, as its simulator gives them, and turned over when read: say no flip if not",
        "opencv": "macros_image_convention is opencv: pictures are stored the right way up and read as they are",
    }
    unknown = (
        "it is not known which way up the pictures are (macros_image_convention: {}): they are read as they are "
        "stored; say flip or no flip"
    )
    return [facts.get(str(text), unknown.format(text or "none")) for text in sorted(said, key=str)]


assert set(DEFAULT_CAMERAS) == ROBOMIMIC_LAYOUT

__all__ = ["RobomimicLayout"]
