"""Paths of this machine stay on it: what clients read names files from their bundle's folder on."""

from __future__ import annotations

from pathlib import Path


def without_path(text: str, folder: Path) -> str:
    """The text, with `folder` and what lies in it named by the folder's own name: ``tiny/config.json``."""
    for path in sorted({str(folder), str(folder.resolve())}, key=len, reverse=True):
        text = text.replace(path, folder.name)
    return text


__all__ = ["without_path"]
