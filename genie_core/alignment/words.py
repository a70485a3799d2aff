"""What each code makes the robot do, in words, from the actions of an alignment. Only for looking at results."""

from __future__ import annotations

import re
from collections.abc import Mapping, Sequence

import numpy as np

from genie_core.alignment.dictionary import Dictionary
from genie_core.errors import RequestError

Ways = tuple[str, str]
"""What a component of an action is called where it is above zero, and where it is below."""

_ROS: Mapping[str, Ways] = {"x": ("forward", "back"), "y": ("left", "right"), "z": ("up", "down")}
"""Axes of a robot's base by ROS's convention (REP 103)."""

_LEAST = 0.25
_ERRORS = 2.0
"""Mean action of a code, in deviations of all actions, from which it is said; and in its own standard errors."""
_AGREEING = 0.6
"""Share of a code's actions that have to go the way of their mean."""
_MOST_WORDS = 2


def read_ways(said: Sequence[str], actions: Sequence[str]) -> dict[str, Ways]:
    """Read ``gripper=open/close`` and the like: the name of a component, its + and its - in words.

    Raises RequestError about ``words`` for anything else, and for a name that is not of `actions`.
    """
    found = {}
    for text in said:
        match = re.fullmatch(r"([^=]+)=([^/=]+)/([^/=]+)", text)
        if match is None or match[1] not in actions:
            raise RequestError("words", f"got {text!r}, expected NAME=PLUS/MINUS, NAME one of {', '.join(actions)}")
        found[match[1]] = (match[2].strip(), match[3].strip())
    return found


def code_words(actions: Sequence[str], dictionary: Dictionary, ways: Mapping[str, Ways]) -> list[str]:
    """Return what each code does: ``left, up``; ``still``, ``no one way`` where it has no direction, ``not used``.

    Components that are always of one sign are no displacements: of these, more and less than the usual is said.

    Args:
        actions: names of the A components of an action.
        dictionary: the actions seen with each code.
        ways: words for components, by name; of others the axes x, y and z have ROS's, and the rest a sign.

    """
    action_NA = dictionary.action_NA
    one_sign_A = (action_NA > 0).all(axis=0) | (action_NA < 0).all(axis=0)
    scale_A = action_NA.std(axis=0)
    varies_A = scale_A > 0
    level_A = np.where(one_sign_A, action_NA.mean(axis=0), 0.0)
    way_NA = np.where(varies_A, (action_NA - level_A) / np.where(varies_A, scale_A, 1.0), 0.0)
    named = [ways.get(name) or _usual(name) for name in actions]
    return [
        _said(way_NA[start : start + count], named)
        for start, count in zip(dictionary.start_K.tolist(), dictionary.count_K.tolist(), strict=False)
    ]


def _said(way_NA: np.ndarray[tuple[int, ...], np.dtype[np.float64]], named: Sequence[Ways]) -> str:
    if not len(way_NA):
        return "not used"
    mean_A = way_NA.mean(axis=0)
    size_A, least = np.abs(mean_A), max(_LEAST, _ERRORS / len(way_NA) ** 0.5)
    most = int(size_A.argmax())
    if (np.sign(way_NA[:, most]) == np.sign(mean_A[most])).mean() < _AGREEING or size_A[most] < least:
        return "still" if float(np.abs(way_NA).max(axis=1).mean()) < _LEAST else "no one way"
    chosen = [
        part for part in np.argsort(-size_A, kind="stable").tolist() if size_A[part] >= max(least, size_A[most] / 2)
    ]
    return ", ".join(named[part][0 if mean_A[part] > 0 else 1] for part in chosen[:_MOST_WORDS])


def _usual(name: str) -> Ways:
    last = re.split(r"[^a-z0-9]+", name.lower().strip("])"))[-1]
    axis = last.removeprefix("delta").removeprefix("d")
    return _ROS.get(axis, (f"{name} +", f"{name} -"))


__all__ = ["Ways", "code_words", "read_ways"]
