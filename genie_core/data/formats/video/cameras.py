"""Folders of videos in which a folder, or a file, is a camera: which, by names alone. Opens nothing.

DROID (``recordings/MP4/<camera>.mp4``), AgiBot World (``videos/<camera>.mp4``), GR00T and others
(``<camera>/episode_3.mp4``).
"""

from __future__ import annotations

import re
from collections.abc import Sequence
from pathlib import PurePosixPath

# fmt: off
_WORDS = frozenset({
    "agentview", "back", "cam", "camera", "center", "centre", "color", "colour", "ego", "egocentric", "exterior",
    "ext", "external", "eye", "front", "gripper", "hand", "head", "image", "images", "left", "mid", "overhead",
    "rear", "right", "rgb", "shoulder", "side", "third", "top", "view", "wrist",
})
# fmt: on
"""Words that name cameras; one of them must be in every name."""

_DEEPEST = 4
"""How many parts of a path, from its end, may be the camera."""

_DROID = ("recordings", "MP4")

Cameras = dict[str, dict[str, PurePosixPath]]
"""By camera: the file of each episode."""


def find_cameras(paths: Sequence[PurePosixPath]) -> Cameras:
    """Return which of `paths` show which episode through which camera; empty if they are not of several cameras.

    Args:
        paths: of videos, within their folder.

    """
    if paths and all(path.parts[-3:-1] == _DROID for path in paths):
        return _several(paths, -1, ends_after=-3)
    for place in range(1, _DEEPEST + 1):
        if all(len(path.parts) >= place and is_camera(_part(path, -place)) for path in paths):
            found = _several(paths, -place)
            if found:
                return found
    return {}


def _several(paths: Sequence[PurePosixPath], place: int, ends_after: int | None = None) -> Cameras:
    """Return the files by what their paths have at `place`; empty if that is the same for all, or two files clash."""
    cameras: Cameras = {}
    for path in paths:
        parts = path.with_suffix("").parts
        rest = parts[:ends_after] if ends_after else (*parts[:place], *parts[len(parts) + place + 1 :])
        episodes = cameras.setdefault(parts[place], {})
        name = "/".join(rest) or "episode"
        if name in episodes:
            return {}
        episodes[name] = path
    return cameras if len(cameras) > 1 else {}


def _part(path: PurePosixPath, place: int) -> str:
    return path.with_suffix("").parts[place]


def is_camera(name: str) -> bool:
    """Return whether a name has a word in it that names cameras."""
    words = re.findall(r"[a-z]+", re.sub(r"([a-z])([A-Z])", r"\1_\2", name).lower())
    return any(word in _WORDS for word in words)


__all__ = ["Cameras", "find_cameras", "is_camera"]
