"""Arrays that are filled again once nobody holds them: fresh memory costs more than what is put into it.

A chunk of frames is megabytes, and the system clears every page of it before its first use; of 640 x 480 video that
took longer than decoding.
"""

from __future__ import annotations

import sys
from collections.abc import Callable

import numpy as np
from numpy.typing import NDArray

_OURS = 2
"""References to an array that only we hold: in the list, and as an argument of `getrefcount`."""


class SpareArrays:
    """Hands out arrays one after another, each of which whoever is given it may keep, or any view of it.

    Two at most are held: whoever walks through chunks still has the last one when asking for the next. An array is
    filled again only if nobody else refers to it; views refer to the array that they are of.

    Args:
        make: makes a new array.

    """

    def __init__(self, make: Callable[[], NDArray[np.uint8]]) -> None:
        self._make = make
        self._held: list[NDArray[np.uint8]] = []

    @property
    def newest(self) -> NDArray[np.uint8]:
        """The array that was taken last."""
        return self._held[-1]

    def take(self) -> None:
        """Let `newest` be another array, of any content."""
        if len(self._held) == 2 and sys.getrefcount(self._held[0]) <= _OURS:
            self._held.reverse()
            return
        self._held = [*self._held[-1:], self._make()]


__all__ = ["SpareArrays"]
