"""The option `--step`: a number of frames, or a way to find it."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any, Literal

import typer

if TYPE_CHECKING:
    from genie_core.data import Dataset
    from genie_core.models.bundle import Bundle


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


def step_option(words: str) -> Any:
    """Return the option, which is checked where the command line is parsed; `words` are its help text."""
    return typer.Option("--step", callback=_checked_step, metavar="FRAMES|auto|rates", help=words)


def _checked_step(words: str | None) -> str | None:
    read_step(words)
    return words


def found_step(bundle: Bundle, dataset: Dataset, wanted: int | Literal["auto", "rates"] | None) -> int | None:
    """Return the one step for all of a dataset; None: that of the frame rates. Prints what ``auto`` finds.

    `wanted` as of `read_step`; None: ``auto`` where the bundle's latents tell, as of genie label. Raises DatasetError
    if ``auto`` finds several, for several frame rates.
    """
    from genie_cli.label_report import print_steps
    from genie_core.errors import DatasetError
    from genie_core.inference.auto_step import find_steps_with

    if wanted is None:
        wanted = "rates" if bundle.info.usual_norm is None else "auto"
    if wanted != "auto":
        return None if wanted == "rates" else wanted
    steps = find_steps_with(bundle, dataset.episodes)
    print_steps(steps)
    if len(steps.found) > 1:
        raise DatasetError(f"step: got auto for data of {len(steps.found)} frame rates, expected one; give frames")
    return steps.found[0].step if steps.found else None  # too little moves: that of the frame rates


__all__ = ["found_step", "read_step", "step_option"]
