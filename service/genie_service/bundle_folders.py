"""Lists the bundles in a models folder by name, with stamps that change with their files."""

from __future__ import annotations

import logging
from contextlib import suppress
from pathlib import Path

from genie_core.models.bundle import meant_as_bundle

_log = logging.getLogger(__name__)

Stamp = tuple[tuple[str, int, int], ...]
"""Name, size in bytes and time of change in nanoseconds of each file."""


def bundle_folders(folder: Path) -> dict[str, tuple[Path, Stamp]]:
    """Map name to path and stamp (name, size and time of each file) for every bundle in `folder`, or `folder` itself.

    Bundles that disappear meanwhile are left out.
    """
    try:
        paths = [folder] if meant_as_bundle(folder) else list(folder.iterdir())
    except OSError as error:
        _log.warning("the models folder cannot be read: %s", error)
        return {}
    found = {}
    for path in paths:
        with suppress(OSError):
            if path == folder or (not path.name.startswith(".") and meant_as_bundle(path)):
                found[path.name] = (path, stamp_of(path))
    return found


def no_bundle(folder: Path) -> str:
    """Describe why a models folder cannot be used."""
    return f"{folder} holds no bundle (a folder with config.json and weights), nor is it one"


def can_be_named(name: str) -> bool:
    """Return whether a message can carry the name."""
    try:
        name.encode()
    except UnicodeEncodeError:  # bytes that are not UTF-8
        return False
    return name.isprintable()


def stamp_of(path: Path) -> Stamp:
    """Return name, size and time of each file of a bundle. Raises OSError if it is gone."""
    stats = [(file.name, file.stat()) for file in sorted(path.iterdir()) if file.is_file()]
    return tuple((name, stat.st_size, stat.st_mtime_ns) for name, stat in stats)


__all__ = ["Stamp", "bundle_folders", "can_be_named", "no_bundle", "stamp_of"]
