"""Alignments beside the hosted bundles: lists them, and reads each when it is first requested.

The folder is read for every request, so that a new alignment can be used without a restart. `genie_core.alignment`
applies alignments to labels.
"""

from __future__ import annotations

import asyncio
import hashlib
import threading
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path
from typing import Generic, TypeVar

from genie_core.alignment import Alignment, AlignmentInfo, list_alignments, load_alignment
from genie_core.errors import ModelError, RequestError
from genie_core.models.bundle import BundleInfo
from genie_service.paths import without_path

_KEPT = 32
"""Largest number of alignments kept in memory, and of identities remembered."""

_NAMES_LISTED = 20
"""Largest number of names listed in an error."""

_T = TypeVar("_T")


@dataclass(frozen=True)
class FoundAlignment:
    """One alignment beside a bundle. If it cannot be used, `info` is None and `problem` says why.

    Attributes:
        name: its name in requests.
        path: its file.
        alignment_id: SHA-256 of the file; empty if it cannot be used.
        info: its description.
        problem: empty if it can be used.

    """

    name: str
    path: Path
    alignment_id: str
    info: AlignmentInfo | None
    problem: str


@dataclass(frozen=True)
class LoadedAlignment:
    """An alignment in memory. `alignment_id` is the SHA-256 of the file that it was read from."""

    name: str
    alignment_id: str
    alignment: Alignment


class Alignments:
    """Finds and reads alignments, off the event loop; the most recently used ones stay in memory."""

    def __init__(self) -> None:
        self._ids = _Kept[str](_KEPT)
        self._loaded = _Kept[Alignment](_KEPT)

    async def find(self, bundle: BundleInfo) -> list[FoundAlignment]:
        """Return every alignment beside the bundle, ordered by name."""
        return await asyncio.to_thread(self._find, bundle)

    async def load(self, bundle: BundleInfo, name: str, step: int | None, field: str) -> LoadedAlignment:
        """Return the alignment that a request names in `field`, for transitions of `step` frames; None: of any length.

        Raises:
            RequestError: there is none of that name, or it is for another transition length.
            ModelError: it cannot be used.

        """
        found = {entry.name: entry for entry in await self.find(bundle)}
        entry = found.get(name)
        if entry is None:
            raise RequestError(field, f"got {name!r}; model {bundle.path.name!r} has {_listed(list(found))}")
        if entry.info is None:
            raise ModelError(f"alignment {name!r} cannot be used: {entry.problem}")
        loaded = await asyncio.to_thread(self._load, bundle, entry)
        fitted = loaded.alignment.info.step
        if step is not None and fitted != step:
            raise RequestError(
                field, f"got {name!r}, which decodes transitions of step {fitted}, expected one for step {step}"
            )
        return loaded

    def _find(self, bundle: BundleInfo) -> list[FoundAlignment]:
        found = []
        for entry in list_alignments(bundle):
            identity, problem = "", without_path(entry.problem or "", bundle.path)
            if entry.info is not None:
                try:
                    identity = self._ids.get(entry.path, _sha256)
                except OSError as error:  # removed, or made unreadable, since it was listed
                    problem = f"{entry.path.name} cannot be read: {error.strerror}"
            info = entry.info if identity else None
            found.append(FoundAlignment(entry.name, entry.path, identity, info, problem))
        return found

    def _load(self, bundle: BundleInfo, entry: FoundAlignment) -> LoadedAlignment:
        try:
            while True:
                stamp = _stamp(entry.path)
                alignment = self._loaded.get(entry.path, lambda path: load_alignment(path, bundle))
                identity = self._ids.get(entry.path, _sha256)
                if _stamp(entry.path) == stamp:  # otherwise it was replaced meanwhile: the two may not belong together
                    return LoadedAlignment(entry.name, identity, alignment)
        except OSError as error:
            raise ModelError(f"alignment {entry.name!r} cannot be used: {error.strerror}") from error
        except ModelError as error:  # it was damaged since it was listed
            raise ModelError(without_path(str(error), bundle.path)) from error


class _Kept(Generic[_T]):
    """Cache of values read from files, valid as long as the files do not change; thread-safe."""

    def __init__(self, most: int) -> None:
        self._most = most
        self._values: dict[Path, tuple[_Stamp, _T]] = {}
        self._lock = threading.Lock()

    def get(self, path: Path, read: Callable[[Path], _T]) -> _T:
        """Return the result of `read`, new or cached. Raises OSError if there is no such file, else what it raises."""
        stamp = _stamp(path)
        with self._lock:
            kept = self._values.pop(path, None)
            if kept is None or kept[0] != stamp:
                kept = (stamp, read(path))
            self._values[path] = kept  # most recently used last
            while len(self._values) > self._most:
                del self._values[next(iter(self._values))]
            return kept[1]


_Stamp = tuple[int, int, int]


def _stamp(path: Path) -> _Stamp:
    stat = path.stat()
    return stat.st_ino, stat.st_size, stat.st_mtime_ns


def _sha256(path: Path) -> str:
    with path.open("rb") as file:
        return hashlib.file_digest(file, "sha256").hexdigest()


def _listed(names: list[str]) -> str:
    if not names:
        return "no alignments (`genie align` makes them)"
    more = len(names) - _NAMES_LISTED
    return "the alignments " + ", ".join(names[:_NAMES_LISTED]) + (f" and {more} more" if more > 0 else "")


__all__ = ["Alignments", "FoundAlignment", "LoadedAlignment"]
