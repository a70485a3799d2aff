"""Bundles shipped with Genie, as folders beside this file. Imports no torch."""

from __future__ import annotations

from pathlib import Path

from genie_core.errors import ModelError

DEFAULT = "motion"
"""The shipped bundle that is used where none is named: it labels video of any robot, and simulates by moving it."""

DEMO = "tiny"
"""The demo's: its codes are single motions of the one simulated arm that it knows, which the sample shows."""


def models_dir() -> Path:
    """Return the folder of all shipped bundles, ready for `genie serve --models`."""
    return Path(__file__).parent


def shipped(name: str = DEFAULT) -> Path:
    """Return the path of the shipped bundle `name`. Raises ModelError, listing those there are."""
    folder = models_dir() / name
    if not (folder / "config.json").is_file():
        there = sorted(p.parent.name for p in models_dir().glob("*/config.json"))
        raise ModelError(f"no bundle {name!r} ships with Genie; there are: {', '.join(there) or 'none'}")
    return folder


def bundle_folder(named: str) -> Path:
    """Return the folder of a bundle that a user names: a path, or the name of a shipped one. Raises ModelError."""
    if Path(named).exists():
        return Path(named)
    try:
        return shipped(named)
    except ModelError as error:
        raise ModelError(f"{named}: no such folder, and {error}") from None


__all__ = ["DEFAULT", "DEMO", "bundle_folder", "models_dir", "shipped"]
