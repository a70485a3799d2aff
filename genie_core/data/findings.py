"""What is odd about an episode's pictures, times or actions, in words; and the same of many episodes in one line each.

A finding stops nothing: what gets no label for it is the work of `labelled.exclusion`.
"""

from __future__ import annotations

from collections.abc import Iterable, Iterator
from dataclasses import dataclass

import numpy as np

from genie_core.data.episode import Episode
from genie_core.data.frames.content import Flags, Pictures, runs
from genie_core.data.frames.timing import skipped_words, uneven_words
from genie_core.errors import DatasetError

_MANY_REPEATS = 0.1
"""Share of repeated pictures from which on they are told."""

_NAMED = 3


@dataclass(frozen=True)
class Finding:
    """One oddity of one episode.

    Attributes:
        kind: findings of one kind are reported together.
        text: what was found, without the episode's name.
        is_note: whether it is no oddity, but what reading acts on.

    """

    kind: str
    text: str
    is_note: bool = False


def picture_findings(seen: Pictures, fps: float | None, first: int = 0, *, whole: bool = True) -> list[Finding]:
    """Return what is odd about pictures first, first + 1, ... of an episode; `whole`: these are all it has."""
    count, blank, frozen = len(seen.blank), seen.blank, seen.frozen(fps)
    found: list[Finding] = []
    if count and blank.all() and whole:
        found.append(Finding("all blank", f"all {count} frames are of one colour: the camera recorded nothing"))
    elif blank.any():
        at = int(blank.argmax())
        to_the_end = "all frames from there to the end" if whole and blank[at:].all() else f"{int(blank.sum())} frames"
        found.append(
            Finding("blank", f"the camera goes dark, or blank: frame {first + at} is of one colour, and {to_the_end}")
        )
    still = [(start, stop) for start, stop in runs(frozen & ~blank)]
    if still:
        start, stop = max(still, key=lambda run: run[1] - run[0])
        all_of_it = whole and stop - start >= count - 1
        said = "all frames are" if all_of_it else f"frames {first + start - 1} to {first + stop - 1} are"
        found.append(
            Finding("frozen", f"{said} the same picture to the bit: the video is frozen (or a simulation stands still)")
        )
    repeated = seen.repeats & ~frozen & ~blank
    if whole and count > 1 and repeated.sum() >= _MANY_REPEATS * (count - 1):
        found.append(Finding("repeated", _repeated(repeated, fps)))
    return found


def time_findings(episode: Episode) -> list[Finding]:
    """Return how the frames of an episode are unevenly spaced in time."""
    numbers = episode.frame_numbers
    words = uneven_words(episode.times_s) if numbers is None else skipped_words(numbers)
    return [] if words is None else [Finding("uneven", words)]


def note_findings(episode: Episode) -> list[Finding]:
    """Return what an episode's file says that reading acts on."""
    return [Finding(note, note, is_note=True) for note in episode.notes]


def action_findings(episode: Episode) -> list[Finding]:
    """Return what is wrong with the robot's actions beside an episode's frames."""
    try:
        if episode.lacks_last_action:
            return [Finding("last action", "there is one frame more than actions: the last frame has no action")]
    except DatasetError as error:
        return [Finding("actions", f"its actions cannot be used: {error}")]
    return []


def told(found: Iterable[tuple[str, Finding]], episodes: int) -> Iterator[str]:
    """Describe findings with the names of their episodes out of `episodes`, one line for each kind."""
    kinds: dict[str, list[tuple[str, str]]] = {}
    for name, finding in found:
        kinds.setdefault(finding.kind, []).append((name, finding.text))
    for cases in kinds.values():
        (first, text), count = cases[0], len(cases)
        if count == 1:
            yield f"{first}: {text}"
        else:
            names = ", ".join(name for name, _ in cases[:_NAMED]) + (", ..." if count > _NAMED else "")
            yield f"{count} of {episodes} episodes ({names}): {text}{_first(cases)}"


def _first(cases: list[tuple[str, str]]) -> str:
    return "" if len({text for _, text in cases}) == 1 else f" (so {cases[0][0]})"


def _repeated(repeated: Flags, fps: float | None) -> str:
    count = len(repeated)
    rate = "" if fps is None else f", that is {fps * (1 - repeated.sum() / (count - 1)):.3g} different ones a second"
    return (
        f"{int(np.sum(repeated))} of {count} frames repeat the one before to the bit{rate}: the video has more frames "
        "than its camera took; a longer step sees real motion"
    )


__all__ = ["Finding", "action_findings", "note_findings", "picture_findings", "time_findings", "told"]
