"""Episodes in an HDF5 file by a path with wildcards, ``trajectories/*/images/front``, and proposals of such paths."""

from __future__ import annotations

import re
from collections.abc import Iterator
from dataclasses import dataclass
from fnmatch import fnmatchcase

import h5py
import numpy as np

from genie_core.data.formats.hdf5.reader import storage_of
from genie_core.data.frames.images import is_image
from genie_core.data.storage.hdf5 import names_in
from genie_core.errors import DatasetError

_LOOKED_AT = 4000
"""Most objects of a file to look at for a proposal; a file may hold millions."""

_WILD = re.compile(r"[*?\[]")


@dataclass(frozen=True)
class Match:
    """One episode that a path matches.

    Attributes:
        wild: values of the path's parts with wildcards, in order; empty if the file is one episode.
        group: path of the episode's group: up to the last part with a wildcard; ``/`` without wildcards.
        frames: path of its frames, whether or not they exist.

    """

    wild: tuple[str, ...]
    group: str
    frames: str

    def filled(self, pattern: str) -> str:
        """Return `pattern` with its wildcards filled in from this match. Raises DatasetError if it has more of them."""
        parts = _parts(pattern)
        if sum(bool(_WILD.search(part)) for part in parts) > len(self.wild):
            raise DatasetError(f"`{pattern}`: has more wildcards than the path of the frames")
        wild = iter(self.wild)
        return "/".join([next(wild) if _WILD.search(part) else part for part in parts])


def match_episodes(file: h5py.File, pattern: str) -> tuple[list[Match], list[str]]:
    """Return the episodes that `pattern` matches, and the matching paths that are not groups.

    Episodes come in natural order of their names (``demo_2`` before ``demo_10``).

    Every group that matches the pattern up to its last wildcard is an episode, even if the rest is missing: reading it
    says what. Without a wildcard the file is one episode.
    """
    parts = _parts(pattern)
    wild_at = [number for number, part in enumerate(parts) if _WILD.search(part)]
    if not wild_at:
        return [Match((), "/", "/".join(parts))], []
    rest = parts[wild_at[-1] + 1 :]
    matches: list[Match] = []
    ignored: list[str] = []
    for path in _walk(file, parts[: wild_at[-1] + 1]):
        held = file.get("/".join(path))  # None: a link that leads nowhere, which reading tells
        if rest and held is not None and not isinstance(held, h5py.Group):
            ignored.append("/".join(path))
            continue
        wild = tuple(path[number] for number in wild_at)
        matches.append(Match(wild, "/".join(path if rest else path[:-1]) or "/", "/".join([*path, *rest])))
    return sorted(matches, key=lambda match: [natural_key(name) for name in match.wild]), ignored


def frames_in_group(pattern: str, group: str) -> str:
    """Return the path of the frames of the episode in `group`, which `pattern` has matched."""
    parts = _parts(pattern)
    wild_at = [number for number, part in enumerate(parts) if _WILD.search(part)]
    rest = parts[wild_at[-1] + 1 :] if wild_at else parts
    return "/".join([*_parts(group), *rest])


def propose_paths(file: h5py.File) -> list[str]:
    """Propose paths of arrays or images that could be frames, with ``*`` where names differ only by a number."""
    found: dict[str, int] = {}
    looked = 0

    def look(name: str, item: h5py.Group | h5py.Dataset) -> bool | None:
        nonlocal looked
        looked += 1
        if isinstance(item, h5py.Dataset) and _could_be_frames(item):
            path = "/".join("*" if re.search(r"\d", part) else part for part in name.split("/")[:-1])
            path = f"{path}/{name.rpartition('/')[2]}".lstrip("/")
            found[path] = found.get(path, 0) + 1
        return True if looked >= _LOOKED_AT else None

    file.visititems(look)
    return sorted(found, key=lambda path: (-found[path], path))


def natural_key(name: str) -> list[tuple[int, int, str]]:
    """Return a sort key that orders numbers in names by value."""
    parts = re.split(r"([0-9]{1,18})", name)
    return [(1, 0, part) if at % 2 == 0 else (0, int(part), "") for at, part in enumerate(parts) if part]


def _could_be_frames(item: h5py.Dataset) -> bool:
    try:
        if storage_of(item, None) != "images":
            return True
        row = item[0] if len(item) else b""
        return is_image(row if isinstance(row, bytes) else np.asarray(row).tobytes())
    except DatasetError:
        return False


def _walk(group: h5py.Group, parts: list[str], path: tuple[str, ...] = ()) -> Iterator[tuple[str, ...]]:
    """Yield the paths below `group` that match `parts`."""
    if not parts:
        yield path
        return
    names = [name for name in names_in(group) if fnmatchcase(name, parts[0])] if _WILD.search(parts[0]) else [parts[0]]
    for name in names:
        item = group.get(name)
        if len(parts) == 1 and (item is not None or _WILD.search(parts[0])):  # listed, though it may lead nowhere
            yield (*path, name)
        elif isinstance(item, h5py.Group):
            yield from _walk(item, parts[1:], (*path, name))


def _parts(pattern: str) -> list[str]:
    return [part for part in pattern.split("/") if part]


__all__ = ["Match", "frames_in_group", "match_episodes", "natural_key", "propose_paths"]
