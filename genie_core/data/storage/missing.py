"""Files that a dataset lists but lacks: reported together, with a folder that has them by another name."""

from __future__ import annotations

import errno
from collections.abc import Sequence
from contextlib import suppress
from dataclasses import dataclass
from pathlib import Path

from genie_core.data.storage.location import SourcePath, path_within
from genie_core.errors import DatasetError

_NAMED = 3


@dataclass(frozen=True)
class MissingFiles:
    """Files of a dataset that are not there.

    Attributes:
        files: which.
        words: the same in one line, for the user.

    """

    files: frozenset[SourcePath]
    words: str


def missing_files(folder: SourcePath, files: Sequence[SourcePath]) -> MissingFiles | None:
    """Return which of `files` in a local `folder` are missing; None if none is, or the folder is behind a URL."""
    if not isinstance(folder, Path):
        return None
    listed = dict.fromkeys(file for file in files if isinstance(file, Path))
    gone = [file for file in listed if not _is_there(file)]
    if not gone:
        return None
    inside = [path_within(file, folder).as_posix() for file in gone]
    names = ", ".join(inside[:_NAMED]) + (", ..." if len(gone) > _NAMED else "")
    count = "a file is missing" if len(gone) == 1 else f"{len(gone)} of {len(listed)} files are missing"
    other = _other_name(folder, gone[0])
    hint = f"; `{other[1]}/` holds them, expected `{other[0]}/`: rename it" if other else ""
    return MissingFiles(frozenset(gone), f"{folder}: {count}: {names}{hint}")


def _is_there(file: Path) -> bool:
    """Return whether a file exists; False for names that are too long."""
    try:
        return file.exists()
    except OSError as error:
        if error.errno == errno.ENAMETOOLONG:
            return False
        raise DatasetError(f"{file} cannot be read: {error.strerror}") from error


def _other_name(folder: Path, file: Path) -> tuple[str, str] | None:
    """Return the first folder on the way to `file` that is not there, and one beside it that has the rest; by name."""
    here, parts = folder, file.relative_to(folder).parts
    with suppress(OSError):  # a name that is too long, a folder that cannot be listed: then there is no hint
        for number, part in enumerate(parts[:-1]):
            if not (here / part).is_dir():
                rest = Path(*parts[number + 1 :])
                beside = sorted(path.name for path in here.iterdir() if path.is_dir() and _is_there(path / rest))
                return (part, beside[0]) if beside else None
            here /= part
    return None


__all__ = ["MissingFiles", "missing_files"]
