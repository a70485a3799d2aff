"""HDF5 layouts that are known by where their frames lie; each is read as if the user had said so."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass
from fnmatch import fnmatchcase

import h5py

from genie_core.data.formats.hdf5.reader import storage_of
from genie_core.data.frames.convention import Colour
from genie_core.data.storage.hdf5 import names_in
from genie_core.errors import DatasetError

EPISODE_ENDS = "meta/episode_ends"
"""Array of the ends of episodes that lie one after another in the same arrays: a replay buffer's."""

_CAMERA = "{camera}"


@dataclass(frozen=True)
class KnownHdf5:
    """One layout.

    Attributes:
        title: what it is called.
        frames: path of the frames in a file, with ``*`` for an episode's name and ``{camera}`` for a camera's.
        actions: path of the robot's actions.
        colour: order of the channels of the stored pictures.
        fact: how that is known, for the user; None if there is nothing to say.
        needs: path of what else such a file holds; None: nothing.

    """

    title: str
    frames: str
    actions: str
    colour: Colour = "rgb"
    fact: str | None = None
    needs: str | None = None

    def cameras(self, file: h5py.File) -> tuple[str, ...]:
        """Return the names of the cameras of the first episode that has any; none if it is another layout."""
        if self.needs is not None and self.needs not in file:
            return ()
        before, _, after = self.frames.partition(_CAMERA)
        for group in _groups(file, [part for part in before.split("/") if part]):
            names = (name for name in names_in(group) if isinstance(_at(group, f"{name}{after}"), h5py.Dataset))
            found = tuple(name for name in names if _are_frames(group[f"{name}{after}"]))
            if found:
                return found
        return ()

    def frames_path(self, camera: str) -> str:
        """Return the path of the frames of one camera."""
        return self.frames.replace(_CAMERA, camera)

    def actions_path(self, file: h5py.File) -> str | None:
        """Return the path of the actions, if the file has any."""
        parts = self.actions.split("/")
        for group in _groups(file, parts[:-1]):
            return self.actions if parts[-1] in group else None
        return None


KNOWN = (
    KnownHdf5(
        "RoboTwin",
        "observation/{camera}/rgb",
        "joint_action/vector",
        colour="bgr",
        fact="pictures are JPEG, read as BGR, since RoboTwin's own code gives RGB arrays to OpenCV, which takes them "
        "for BGR: say rgb if red and blue are exchanged",
    ),
    KnownHdf5("ManiSkill", "traj_*/obs/sensor_data/{camera}/rgb", "traj_*/actions"),
    KnownHdf5("replay buffer", "data/{camera}", "data/action", needs=EPISODE_ENDS),
)
"""Layouts in the order in which they are tried."""


def known_layout(file: h5py.File) -> KnownHdf5 | None:
    """Return the layout of a file, None if it is none of these."""
    return next((known for known in KNOWN if known.cameras(file)), None)


def _groups(file: h5py.Group, parts: list[str]) -> Iterator[h5py.Group]:
    """Yield the groups at a path with wildcards."""
    if not parts:
        yield file
        return
    names = [name for name in names_in(file) if fnmatchcase(name, parts[0])] if "*" in parts[0] else [parts[0]]
    for name in names:
        inner = _at(file, name)
        if isinstance(inner, h5py.Group):
            yield from _groups(inner, parts[1:])


def _at(group: h5py.Group, path: str) -> h5py.Group | h5py.Dataset | None:
    try:
        return group.get(path)
    except (KeyError, OSError, RuntimeError):  # a link that leads nowhere
        return None


def _are_frames(dataset: h5py.Dataset) -> bool:
    try:
        return storage_of(dataset, "last") in ("images", "last") and len(dataset.shape) in (1, 4)
    except DatasetError:
        return False


__all__ = ["EPISODE_ENDS", "KNOWN", "KnownHdf5", "known_layout"]
