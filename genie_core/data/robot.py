"""The robot's own state in an episode: proprioception, assembled from where each format stores it."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
from numpy.typing import NDArray

from genie_core.errors import DatasetError


@dataclass(frozen=True)
class Proprioception:
    """Proprioception: the robot's measurements of itself in each frame.

    Attributes:
        state_TS: (T, S) numbers, in the file's own units.
        names: origin of each of the S columns.

    """

    state_TS: NDArray[Any]
    names: tuple[str, ...]


def first_known(
    read: Callable[[str], NDArray[Any] | None], places: Sequence[Sequence[str]], prefix: str, where: str
) -> Proprioception | None:
    """Return proprioception from the first of `places` that is complete; None if none is.

    Args:
        read: returns the array under a key, (T,) or (T, D); None if there is none.
        places: groups of keys whose arrays are concatenated.
        prefix: left out of the names of the columns.
        where: name of the episode in errors.

    Raises:
        DatasetError: the arrays are not numeric with one row per frame, or differ in length.

    """
    for keys in places:
        parts = [read(key) for key in keys]
        found = [_columns(part, key, where) for key, part in zip(keys, parts, strict=True) if part is not None]
        if len(found) < len(keys):
            continue
        if len({len(part) for part in found}) > 1:
            said = ", ".join(f"`{key}` {len(part)}" for key, part in zip(keys, found, strict=True))
            raise DatasetError(f"{where}: got rows of proprioception {said}, expected as many in each")
        names = (name for key, part in zip(keys, found, strict=True) for name in _names(key, part.shape[1], prefix))
        return Proprioception(np.concatenate(found, axis=1), tuple(names))
    return None


def _columns(values: NDArray[Any], key: str, where: str) -> NDArray[Any]:
    if values.ndim == 1:
        values = values[:, None]
    if values.ndim != 2 or values.dtype.kind not in "fiub":
        raise DatasetError(f"{where}: `{key}` is {values.shape} {values.dtype}, expected numbers for each frame")
    return values


def _names(key: str, width: int, prefix: str) -> list[str]:
    stem = key.removeprefix(prefix)
    return [stem] if width == 1 else [f"{stem}_{index}" for index in range(width)]


__all__ = ["Proprioception", "first_known"]
