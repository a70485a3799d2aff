"""Parses episode, camera and order from the names of picture files and their folders. Reads no file."""

from __future__ import annotations

import re
from collections import Counter
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass, field
from itertools import pairwise
from pathlib import PurePosixPath

from genie_core.data.formats.hdf5.mapping import natural_key

_WORD = re.compile(r"[a-z]+")

_GENERIC = frozenset(
    _WORD.findall(
        "color colors colour colours data frame frames im image images img imgs jpeg jpg obs observation observations "
        "picture pictures png raw rgb"
    )
)
"""Words for pictures of any camera."""

_CAMERAS = _GENERIC | frozenset(
    _WORD.findall(
        "agentview back base cam camera cameras center centre ego exo exterior external eye face front gripper hand "
        "head high inhand left low main middle overhead primary right rs realsense scene secondary side static stereo "
        "table third person top view video webcam wrist zed"
    )
)
"""Words that names of cameras are made of."""

_ANYTHING = frozenset(_WORD.findall("data obs observation observations raw"))
"""Words that alone say nothing of pictures."""

_NO_PICTURES = frozenset(
    _WORD.findall("depth depths disparity flow mask masks normal normals seg segmentation semantic")
)
"""Words for arrays that are stored as pictures and are none."""

DEFAULT_CAMERA = "images"
"""Name of the camera where no name says one."""

_TIME_DIGITS = 13
"""A number of so many digits, or more, is a time since 1970: milliseconds have 13, nanoseconds 19."""


@dataclass(frozen=True)
class Strip:
    """Pictures of one episode seen by one camera.

    Attributes:
        folder: that holds them, within the dataset.
        names: of the files, in order.
        problem: why their order is ambiguous; None if it is not.

    """

    folder: PurePosixPath
    names: tuple[str, ...]
    problem: str | None = None

    @property
    def times(self) -> tuple[int, ...] | None:
        """Times in the names, in order; None if the numbers in the names are no times."""
        found = [re.findall(rf"\d{{{_TIME_DIGITS},}}", name) for name in self.names]
        return tuple(int(each[-1]) for each in found) if all(len(each) == 1 for each in found) else None

    @property
    def numbers(self) -> tuple[int, ...] | None:
        """The numbers in the names by which a recorder counted, in order; None if none of them counts.

        A number counts if it is the only one that differs, and its steps are, by more than half, all the same.
        """
        columns = zip(*(map(int, re.findall(r"\d+", PurePosixPath(name).stem)) for name in self.names), strict=True)
        differing = [column for column in columns if len(set(column)) > 1]
        if len(differing) != 1:
            return None
        steps = [later - earlier for earlier, later in pairwise(differing[0])]
        usual, count = Counter(steps).most_common(1)[0]
        return differing[0] if usual > 0 and min(steps) > 0 and 2 * count > len(steps) else None


@dataclass
class Recording:
    """One episode.

    Attributes:
        name: path within the dataset, without the parts that name cameras; empty: the dataset itself.
        strips: by camera.
        skipped: folders and groups of files that are no pictures, or of which it is not known.

    """

    name: str
    strips: dict[str, Strip] = field(default_factory=dict)


def find_recordings(paths: Iterable[PurePosixPath]) -> tuple[list[Recording], list[str]]:
    """Group picture files into episodes.

    Args:
        paths: of the files, within the dataset.

    Returns:
        Episodes in natural order, and what was left out as no pictures of a colour camera, in words.

    """
    folders: dict[PurePosixPath, list[str]] = {}
    for path in paths:
        folders.setdefault(path.parent, []).append(path.name)
    recordings: dict[str, Recording] = {}
    skipped: list[str] = []
    for folder in sorted(folders, key=lambda each: natural_key(each.as_posix())):
        if any(_words(part) & _NO_PICTURES for part in folder.parts):
            skipped.append(folder.as_posix())
            continue
        named = [part for part in folder.parts if is_camera(part)]
        episode = "/".join(part for part in folder.parts if part not in named)
        for kind, names in _kinds(folders[folder]).items():
            if kind is not None and _words(kind) & _NO_PICTURES:
                skipped.append((folder / kind).as_posix())
                continue
            camera = _camera_name([*named, *([] if kind is None else [kind])])
            for sequence, mine in _sequences(names).items():
                title = f"{episode}/{sequence}".strip("/") if sequence else episode
                found_in = recordings.setdefault(title, Recording(title))
                strip = _strip(folder, mine)
                if camera in found_in.strips:
                    there = found_in.strips[camera].folder
                    strip = Strip(folder, strip.names, f"two folders of one episode and camera: {there} and {folder}")
                found_in.strips[camera] = strip
    found = [recording for recording in recordings.values() if recording.strips]
    return sorted(found, key=lambda recording: natural_key(recording.name)), skipped


def is_camera(part: str) -> bool:
    """Return whether a part of a path names a camera: it is made of words for cameras, and numbers."""
    words = _words(part)
    return words <= _CAMERAS and not words <= _ANYTHING


def _kinds(names: Sequence[str]) -> Mapping[str | None, list[str]]:
    """Group the files of one folder by their names without numbers; None where that says nothing of a camera."""
    by_kind: dict[str, list[str]] = {}
    for name in names:
        by_kind.setdefault(_template(name), []).append(name)
    if len(by_kind) == 1:
        return {None: next(iter(by_kind.values()))}
    plain = {kind: re.sub(r"[#._-]+", "_", kind).strip("_") for kind in by_kind}
    if all(is_camera(words) or _words(words) & _NO_PICTURES for words in plain.values()):
        return {plain[kind]: found for kind, found in by_kind.items()}
    return {None: list(names)}


def _sequences(names: Sequence[str]) -> Mapping[str, list[str]]:
    """Group names of one kind by episode where a number before the last says which: ``ep0_0000.png``, ``ep1_0000.png``.

    The last number must count from the same start in each, and another one be the only one that differs besides; dates
    and times in names do not. All names in one group, of the empty name, otherwise.
    """
    whole = {"": list(names)}
    numbers = {name: [int(each) for each in re.findall(r"\d+", PurePosixPath(name).stem)] for name in names}
    if len({len(each) for each in numbers.values()}) != 1 or len({_template(name) for name in names}) != 1:
        return whole
    differing = [at for at, column in enumerate(zip(*numbers.values(), strict=True)) if len(set(column)) > 1]
    last = len(next(iter(numbers.values()))) - 1
    if len(differing) != 2 or differing[1] != last:
        return whole
    groups: dict[int, list[str]] = {}
    for name in sorted(names, key=natural_key):
        groups.setdefault(numbers[name][differing[0]], []).append(name)
    counts = [[numbers[name][last] for name in group] for group in groups.values()]
    first = counts[0][0]
    if not all(count == [*range(first, first + len(count))] and len(count) > 1 for count in counts):
        return whole
    return {re.sub(r"[\W_]*\d+\D*$", "", PurePosixPath(group[0]).stem): group for group in groups.values()}


def _strip(folder: PurePosixPath, names: Sequence[str]) -> Strip:
    ordered = tuple(sorted(names, key=natural_key))
    kinds = sorted({_template(name) for name in ordered})
    if len(kinds) > 1:
        listed = ", ".join(f"`{kind}`" for kind in kinds[:4])
        return Strip(
            folder, ordered, f"{len(kinds)} kinds of names in one folder ({listed}), expected pictures of one sequence"
        )
    numbers = [re.findall(r"\d+", PurePosixPath(name).stem) for name in ordered]
    keys = [tuple(map(int, each)) for each in numbers]
    twice = next((name for name, key, before in zip(ordered[1:], keys[1:], keys, strict=False) if key == before), None)
    if twice is not None and len(ordered) > 1:
        return Strip(folder, ordered, f"two pictures of one number: `{twice}` is the second")
    return Strip(folder, ordered)


def _template(name: str) -> str:
    return re.sub(r"\d+", "#", PurePosixPath(name).stem)


def _camera_name(parts: Sequence[str]) -> str:
    """Join the parts that name a camera, without those that could name any."""
    telling = [part for part in parts if not _words(part) <= _GENERIC]
    return ".".join(telling or parts[-1:]) or DEFAULT_CAMERA


def _words(part: str) -> set[str]:
    return set(_WORD.findall(part.lower()))


__all__ = ["DEFAULT_CAMERA", "Recording", "Strip", "find_recordings", "is_camera"]
