"""Bundles shipped with Genie, as folders beside this file. Imports no torch."""

from __future__ import annotations

from pathlib import Path

from genie_core.errors import ModelError

DEFAULT = "tiny"
"""The shipped bundle that is used where none is named: it labels and simulates."""

LABELS = "motion"
"""The shipped bundle that `genie label` uses with a server of its own: it labels alone, and holds on more robots."""


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


__all__ = ["DEFAULT", "LABELS", "models_dir", "shipped"]
