"""Which layout HDF5 files have: of one, or what those of a folder have in common."""

from __future__ import annotations

from collections.abc import Sequence

from genie_core.data.dataset import Layout
from genie_core.data.formats.hdf5.layout import AlohaLayout, MappedLayout
from genie_core.data.formats.robomimic.layout import RobomimicLayout
from genie_core.data.storage.hdf5 import read_hdf5
from genie_core.data.storage.location import RemotePath, SourcePath
from genie_core.errors import DatasetError

ROBOMIMIC: Layout = RobomimicLayout(libero=False)
MAPPED: Layout = MappedLayout()

HDF5_LAYOUTS: tuple[Layout, ...] = (RobomimicLayout(libero=True), ROBOMIMIC, AlohaLayout(), MAPPED)
"""Layouts of HDF5 files, in the order in which they are tried."""

CANNOT_BE_OPENED = "its name ends as HDF5 does, but it cannot be opened"

Known = tuple[Layout, str, list[SourcePath], list[SourcePath]]
"""A layout, how it was recognised, the files that have it or cannot be opened, and those that have none."""


def common_layout(path: SourcePath, files: Sequence[SourcePath]) -> Known | None:
    """Find the layout of a folder's HDF5 files; None if none has any, or there is no file.

    Remote files are looked into up to the first that has one, since looking fetches them. Raises DatasetError if files
    have different layouts.
    """
    found: dict[str, tuple[Layout, str, list[SourcePath]]] = {}
    unknown: list[SourcePath] = []
    broken: list[SourcePath] = []
    likely: Layout | None = None
    for file in files:
        if likely is not None and isinstance(file, RemotePath):
            found[likely.name][2].append(file)
            continue
        if not opens(file):
            broken.append(file)
            continue
        layout, why = layout_of(file, likely)
        if layout is None:
            unknown.append(file)
        else:
            likely = layout
            found.setdefault(layout.name, (layout, f"{file.name}: {why}", []))[2].append(file)
    main = max(found, key=lambda name: len(found[name][2]), default="")
    others = sum(len(mine) for name, (_, _, mine) in found.items() if name != main)
    if found and others < len(found[main][2]):  # strays are named as episodes that cannot be read
        layout, why, mine = found[main]
        strays = [file for name, (_, _, files) in found.items() if name != main for file in files]
        return layout, why, sorted([*mine, *strays, *broken]), unknown
    if found:
        kinds = "; ".join(f"{name}: {len(mine)} ({mine[0].name}, ...)" for name, (_, _, mine) in found.items())
        raise DatasetError(
            f"{path}: the folder holds HDF5 files of several layouts, expected one: {kinds}: choose with "
            "--include PATTERN, or give a file"
        )
    return (ROBOMIMIC, f"{broken[0].name}: {CANNOT_BE_OPENED}", broken, []) if broken and not unknown else None


def opens(file: SourcePath) -> bool:
    """Return whether a file can be opened as HDF5."""
    try:
        with read_hdf5(file):
            return True
    except DatasetError:
        return False


def layout_of(file: SourcePath, likely: Layout | None = None) -> tuple[Layout | None, str]:
    """Return the layout of a file that opens, None if it has none, and how it was recognised; try `likely` first."""
    for layout in (*((likely,) if likely else ()), *HDF5_LAYOUTS):
        why = layout.recognise(file)
        if why is not None:
            return layout, why
    return None, ""


__all__ = [
    "CANNOT_BE_OPENED",
    "HDF5_LAYOUTS",
    "MAPPED",
    "ROBOMIMIC",
    "Known",
    "common_layout",
    "layout_of",
    "opens",
]
