"""Keeps paths of this machine private: texts for clients name files relative to their bundle's folder."""

from __future__ import annotations

from pathlib import Path


def without_path(text: str, folder: Path) -> str:
    """Return the text, with `folder` and paths in it shortened to the folder's own name: ``tiny/config.json``."""
    for path in sorted({str(folder), str(folder.resolve())}, key=len, reverse=True):
        text = text.replace(path, folder.name)
    return text


__all__ = ["without_path"]
