"""Opens datasets: recognises the format of a file or folder by asking every layout.

To add a format, write a module with a `Layout` (see `dataset`) and add it to `LAYOUTS`.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import replace
from fnmatch import fnmatchcase
from pathlib import Path

import h5py

from genie_core.data.dataset import (
    BAG_SUFFIXES,
    HDF5_SUFFIXES,
    IMAGE_SUFFIXES,
    LABELLED_FOLDER,
    LABELLED_SUFFIX,
    MCAP_SUFFIXES,
    NAMED_ACTIONS,
    ROBOMIMIC_LAYOUT,
    VIDEO_SUFFIXES,
    Dataset,
    Format,
    Layout,
    ReadOptions,
    Sources,
    Survey,
)
from genie_core.data.formats.advice import advice_on
from genie_core.data.formats.calvin.layout import CalvinLayout
from genie_core.data.formats.hdf5.finding import (
    CANNOT_BE_OPENED,
    HDF5_LAYOUTS,
    MAPPED,
    ROBOMIMIC,
    common_layout,
    layout_of,
    opens,
)
from genie_core.data.formats.hdf5.layout import proposals
from genie_core.data.formats.images.layout import ImagesLayout
from genie_core.data.formats.lerobot.layout import LeRobotLayout
from genie_core.data.formats.rlds.layout import RldsLayout
from genie_core.data.formats.ros.layout import McapLayout, RosbagLayout
from genie_core.data.formats.video.layout import VideoLayout
from genie_core.data.formats.video.recordings import robot_file
from genie_core.data.formats.webdataset.layout import TAR_SUFFIXES, WebDatasetLayout
from genie_core.data.formats.zarr.layout import ZarrLayout
from genie_core.data.storage.location import (
    RemotePath,
    SourcePath,
    files_below,
    lies_within,
    local_file,
    path_within,
    source_path,
)
from genie_core.errors import DatasetError

_VIDEO: Layout = VideoLayout()
_MCAP: Layout = McapLayout()
_ROSBAG: Layout = RosbagLayout()
_IMAGES: Layout = ImagesLayout()
_WEBDATASET: Layout = WebDatasetLayout()
_ZARR: Layout = ZarrLayout()

FOLDER_LAYOUTS: tuple[Layout, ...] = (LeRobotLayout(), RldsLayout(), _ZARR, CalvinLayout(), _MCAP, _ROSBAG)
"""Layouts of folders that are one dataset as a whole."""

_DEEPEST = 6
"""Number of folders around a file that are searched for the dataset it belongs to."""

_METADATA = frozenset(
    {".zgroup", "dataset_info.json", "ep_start_end_ids.npy", "features.json", "info.json", "zarr.json"}
)
"""Names of files that mark such a folder, in it or in its ``meta``."""

LAYOUTS: tuple[Layout, ...] = (*HDF5_LAYOUTS, *FOLDER_LAYOUTS, _VIDEO, _WEBDATASET, _IMAGES)

_PICTURES, _TARS = "pictures", "tar files"

_OTHER_KINDS: tuple[tuple[str, frozenset[str], Layout], ...] = (
    ("video", VIDEO_SUFFIXES, _VIDEO),
    ("MCAP", MCAP_SUFFIXES, _MCAP),
    ("bags of ROS", BAG_SUFFIXES, _ROSBAG),
    ("Zarr", frozenset({".zip"}), _ZARR),
    (_TARS, TAR_SUFFIXES, _WEBDATASET),
    (_PICTURES, IMAGE_SUFFIXES, _IMAGES),
)
"""What files other than HDF5 are, in words, the ends of their names, and their format."""


def open_dataset(
    path: str | SourcePath,
    *,
    camera: str | None = None,
    fps: float | None = None,
    options: ReadOptions | None = None,
    check: bool = True,
) -> Dataset:
    """Open robot video of any known format for reading.

    A folder is one dataset if its metadata say so (LeRobot, RLDS); otherwise it is searched recursively for files.
    Opening is quick: it reads names and shapes from HDF5 files and metadata from folders; video files are opened when
    first used. Episodes of 0 or 1 frames are listed; the caller decides what to do about them.

    Args:
        path: file or folder, or the URL of one that fsspec can read.
        camera: name of the camera; None: the only one, or the format's usual one of several.
        fps: frames a second, in place of what the files say.
        options: everything else to say about the data; `camera` and `fps` override it.
        check: raise at once if a demo of a local robomimic file, or one file of several, is malformed. Otherwise its
            episode raises when it is read.

    Raises:
        DatasetError: `path` does not exist or holds nothing readable, formats are mixed, the camera does not exist
            or is ambiguous (the message lists those that exist), or the files are damaged.
    """
    options = merged_options(options, camera, fps)
    survey = survey_dataset(find_sources(path, options), options)
    if survey.dataset is None:
        raise DatasetError(survey.obstacles[0])
    if check and survey.dataset.format in ROBOMIMIC_LAYOUT and isinstance(survey.dataset.path, Path):
        for episode in survey.dataset.episodes:
            _ = episode.num_frames  # raises if the demo is malformed
    return replace(survey.dataset, facts=survey.facts, warnings=survey.warnings)


def merged_options(options: ReadOptions | None, camera: str | None, fps: float | None) -> ReadOptions:
    """Return `options` with `camera` and `fps` replaced where given."""
    changes = {key: value for key, value in {"camera": camera, "fps": fps}.items() if value is not None}
    return ReadOptions(**{**vars(options or ReadOptions()), **changes})


def survey_dataset(sources: Sources, options: ReadOptions) -> Survey:
    """Survey `sources`, whose format is known. Problems are reported, not raised."""
    survey = next(layout for layout in LAYOUTS if layout.name == sources.format).survey(sources, options)
    return replace(survey, warnings=(*survey.warnings, *sources.warnings))


def camera_names(path: str | SourcePath, options: ReadOptions) -> tuple[str, ...]:
    """Return the names of a dataset's cameras. Raises DatasetError if they are not to be known."""
    sources = find_sources(path, options)
    survey = survey_dataset(sources, options)
    if not survey.cameras:
        raise DatasetError(survey.obstacles[0] if survey.obstacles else f"{path}: no camera images")
    return survey.cameras


def dataset_around(source: str) -> SourcePath:
    """Return the dataset that a file of frames belongs to: the folder around it if that is one, else the file."""
    file = source_path(source)
    around: Sequence[SourcePath] = file.parents
    return next((folder for folder in around[:_DEEPEST] if _may_hold(folder, file)), file)


def is_shard(file: SourcePath) -> bool:
    """Return whether a file is a shard of an RLDS dataset, by its name."""
    return ".tfrecord" in file.name


def _may_hold(folder: SourcePath, file: SourcePath) -> bool:
    if is_shard(file):
        return any(layout.recognise(folder) is not None for layout in FOLDER_LAYOUTS)
    return FOLDER_LAYOUTS[0].recognise(folder) is not None


def find_sources(path: str | SourcePath, options: ReadOptions = ReadOptions()) -> Sources:  # noqa: B008 - immutable
    """Find the files at `path` that hold robot video. Raises DatasetError if there are none, or of two formats."""
    path = source_path(path)
    try:
        sources = _find_sources(path, options)
    except DatasetError:
        _refuse_actions_alone(path, None, options)
        raise
    _refuse_actions_alone(path, sources.format, options)
    return sources


def _refuse_actions_alone(path: SourcePath, found: Format | None, options: ReadOptions) -> None:
    if options.actions_path is not None and options.frames_path is None and found not in NAMED_ACTIONS:
        raise DatasetError(f"{path}: got a path of actions without one of frames, expected both")


def _find_sources(path: SourcePath, options: ReadOptions) -> Sources:
    if isinstance(path, RemotePath):
        path.forget()
    if path.is_file():
        layout, why = _layout_of_file(path, options)
        return Sources(layout.name, path, (path,), why)
    if not path.is_dir():
        raise DatasetError(f"{path}: no such file or folder")
    for layout in FOLDER_LAYOUTS:
        reason = layout.recognise(path)
        if reason is not None:
            return Sources(layout.name, path, (path,), reason)
    return _sources_in_folder(path, options)


def _sources_in_folder(path: SourcePath, options: ReadOptions) -> Sources:
    broken: list[Path] = []
    below = path.files() if isinstance(path, RemotePath) else files_below(path, broken)
    lost = _left_out([each for each in broken if _is_included(each, path, options.include)], _NOWHERE)
    sources = _choose_sources(path, below, options, lost)
    return replace(sources, warnings=(*sources.warnings, *lost))


def _choose_sources(
    path: SourcePath, below: Sequence[SourcePath], options: ReadOptions, lost: Sequence[str]
) -> Sources:
    """Return what is read of the files below a folder; `lost` says what is not, for the error if nothing is."""
    files = sorted(file for file in below if _is_source(file, path) and _is_included(file, path, options.include))
    if options.include is None:
        _refuse_datasets_below(path, below)
    hdf5 = [file for file in files if file.suffix.lower() in HDF5_SUFFIXES]
    if options.frames_path is not None:
        if not hdf5:
            raise DatasetError(f"{path}: got a path of frames, but the folder holds no HDF5 file, expected one or more")
        why = f"{hdf5[0].name}: it is HDF5, and you said where its frames are"
        return Sources(MAPPED.name, path, tuple(hdf5), why)
    others = _by_kind(files)
    known = common_layout(path, hdf5)
    if known is not None:
        layout, why, mine, unknown = known
        warnings = list(_left_out(unknown, _NO_LAYOUT))
        for kind, found in others.items():
            warnings += _left_out(found, f"{kind} files") if kind not in (_PICTURES, _TARS) else ()
        return Sources(layout.name, path, tuple(mine), why, tuple(warnings))
    if len(others) > 1:
        held = " and ".join(f"{kind} ({found[0].name}, ...)" for kind, found in others.items())
        raise DatasetError(
            f"{path}: the folder mixes {held}, expected one format: choose with --include PATTERN, or give a file"
        )
    if not others:
        if hdf5:
            _layout_of_file(hdf5[0], options)  # raises, and says what was looked for
        about = advice_on(below)
        among = "" if options.include is None else f" among those that match `{options.include}`"
        raise DatasetError(
            f"{path}: got a folder without robot video{among}, expected files that end in {_suffixes()}{about}"
            + "".join(f"; {each}" for each in lost)
        )
    ((_, chosen),) = others.items()
    layout, why = _layout_of_file(chosen[0], options)
    taken = {robot_file(file) for file in chosen} if hdf5 else set()
    stray = [file for file in hdf5 if file not in taken]
    return Sources(layout.name, path, chosen, f"{chosen[0].name}: {why}", _left_out(stray, _NO_LAYOUT))


_NO_LAYOUT = "HDF5 files of no known layout"
_NOWHERE = "links that lead nowhere"


def _by_kind(files: Sequence[SourcePath]) -> dict[str, tuple[SourcePath, ...]]:
    """Return files that are no HDF5 by what they are. Tar files and pictures beside others are no frames themselves."""
    kinds = {}
    for kind, suffixes, layout in _OTHER_KINDS:
        found = tuple(file for file in files if file.suffix.lower() in suffixes and layout.recognise(file) is not None)
        if found:
            kinds[kind] = found
    for kind in (_TARS, _PICTURES):
        if len(kinds) > 1:
            kinds.pop(kind, None)
    return kinds


def _left_out(files: Sequence[SourcePath], what: str) -> tuple[str, ...]:
    if not files:
        return ()
    names = ", ".join(file.name for file in files[:3]) + (", ..." if len(files) > 3 else "")
    one = what.replace("files", "file").replace("links that lead", "link that leads")
    return (f"{len(files)} {what if len(files) > 1 else one} left out: {names}",)


def _is_included(file: SourcePath, folder: SourcePath, pattern: str | None) -> bool:
    if pattern is None:
        return True
    inside = path_within(file, folder)
    names = [inside.name, *(place.as_posix() for place in (inside, *inside.parents))]
    return any(fnmatchcase(name, pattern.rstrip("/")) for name in names)


def _layout_of_file(file: SourcePath, options: ReadOptions) -> tuple[Layout, str]:
    """Return the format of a file and how it was recognised. Raises DatasetError if it has none."""
    for _, suffixes, layout in _OTHER_KINDS:
        reason = layout.recognise(file) if file.suffix.lower() in suffixes else None
        if reason is not None:
            return layout, reason
    if is_shard(file):
        raise DatasetError(f"{file}: got one shard of an RLDS dataset, expected the folder that holds all of it")
    if file.suffix.lower() not in HDF5_SUFFIXES and not h5py.is_hdf5(local_file(file)):
        about = advice_on([file])
        raise DatasetError(f"{file}: got a file that ends in `{file.suffix}`, expected {_suffixes()}{about}")
    if options.frames_path is not None:
        return MAPPED, "it is HDF5, and you said where its frames are"
    if not opens(file):
        return ROBOMIMIC, CANNOT_BE_OPENED  # its survey reports what is wrong
    known, why = layout_of(file)
    if known is not None:
        return known, why
    looked = "; ".join(f"{layout.name}: {layout.looks_for}" for layout in HDF5_LAYOUTS)
    raise DatasetError(f"{file}: HDF5 in no known layout (looked for {looked}); {proposals(file)}")


def _refuse_datasets_below(path: SourcePath, files: Sequence[SourcePath]) -> None:
    """Raise DatasetError if `files` belong to datasets inside the folder, whose shared files are not episodes."""
    marked = {folder for file in files if file.name in _METADATA for folder in (file.parent, file.parent.parent)}
    datasets: list[str] = []
    outer: SourcePath | None = None
    for folder in sorted(marked):
        if folder == path or not lies_within(folder, path) or (outer is not None and lies_within(folder, outer)):
            continue
        if any(layout.recognise(folder) is not None for layout in FOLDER_LAYOUTS):
            outer = folder
            datasets.append(path_within(folder, path).as_posix())
    if datasets:
        kinds = " or ".join(layout.name for layout in FOLDER_LAYOUTS)
        raise DatasetError(
            f"{path}: got a folder that holds whole datasets ({kinds}), expected one of them: "
            + ", ".join(datasets[:8])
            + (f" and {len(datasets) - 8} more" if len(datasets) > 8 else "")
        )


def _is_source(file: SourcePath, folder: SourcePath) -> bool:
    """Return whether a file may be input: has a known suffix, is not hidden and not a labelled output or part."""
    parts = path_within(file, folder).parts
    hidden = any(part.startswith(".") or part.endswith(".parts") for part in parts)
    hidden |= any(part.endswith(LABELLED_FOLDER) for part in parts[:-1])
    return not hidden and not file.name.endswith(LABELLED_SUFFIX)


def _suffixes() -> str:
    read = HDF5_SUFFIXES.union(*(suffixes for _, suffixes, _ in _OTHER_KINDS))
    return ", ".join(sorted(read - {".gz", ".tgz", ".zip"}))


__all__ = [
    "LAYOUTS",
    "camera_names",
    "dataset_around",
    "find_sources",
    "is_shard",
    "merged_options",
    "open_dataset",
    "survey_dataset",
]
