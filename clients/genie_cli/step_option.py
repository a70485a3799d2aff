"""The option `--step`: a number of frames, or a way to find it."""

from __future__ import annotations

from typing import Literal

import typer


def read_step(words: str | None) -> int | Literal["auto", "rates"] | None:
    """Read what was given to ``--step``. Raises typer.BadParameter if it is neither a way nor 1 frame or more."""
    if words is None:
        return None
    if words == "auto":
        return "auto"
    if words == "rates":
        return "rates"
    if not words.isdecimal() or int(words) < 1:
        raise typer.BadParameter(
            f"got {words!r}, expected a step of 1 or more frames, auto or rates", param_hint="--step"
        )
    return int(words)


def checked_step(words: str | None) -> str | None:
    """Check what was given to ``--step`` where the command line is parsed."""
    read_step(words)
    return words


__all__ = ["checked_step", "read_step"]
