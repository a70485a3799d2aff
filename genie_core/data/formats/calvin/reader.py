"""Reads one episode of CALVIN: consecutive .npz files, each of which holds one step."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass
from functools import cached_property
from typing import Any

import numpy as np
from numpy.typing import NDArray

from genie_core.data.frames.resize import Frames, frames_problem
from genie_core.data.frames.stacking import StackedFrames
from genie_core.data.robot import Proprioception, first_known
from genie_core.data.storage.location import SourcePath
from genie_core.data.storage.npy import open_npz
from genie_core.errors import DatasetError

_ACTIONS = ("rel_actions", "actions")
_PROPRIOCEPTION = (("robot_obs",),)


@dataclass(frozen=True)
class CalvinReader:
    """Reads one episode through one camera; the `FrameReader` of CALVIN.

    Attributes:
        folder: that holds the steps.
        names: of the files, in order.
        camera: key of the pictures in each file.

    """

    folder: SourcePath
    names: tuple[str, ...]
    camera: str

    @property
    def num_frames(self) -> int:
        """Number of steps."""
        return len(self.names)

    @property
    def frame_size(self) -> tuple[int, int]:
        """Height and width of the first picture in pixels."""
        return self._frames.size

    @property
    def fps(self) -> None:
        """None: the files do not say."""

    def read(self, start: int, stop: int) -> Frames:
        """Return frames start .. stop - 1, (n, H, W, 3) uint8."""
        return self._frames.read(start, stop)

    def chunks(self, size: int) -> Iterator[Frames]:
        """Yield all frames, `size` at a time."""
        return self._frames.chunks(size)

    def array(self, key: str) -> NDArray[Any] | None:
        """Return the array `key` of all steps, (T, D, ...); None if the first has none."""
        key, rows = key.strip("/"), list[NDArray[Any]]()
        for name in self.names:
            with open_npz(self.folder / name) as archive:
                row = archive.array(key)
            if row is None and not rows:
                return None
            if row is None or (rows and (row.shape, row.dtype) != (rows[0].shape, rows[0].dtype)):
                got = "none" if row is None else f"{row.dtype} {row.shape}"
                raise DatasetError(f"{self.folder / name}: `{key}`: got {got}, expected it as in {self.names[0]}")
            rows.append(row)
        return np.stack(rows) if rows else None

    @property
    def actions(self) -> NDArray[Any] | None:
        """``rel_actions``, which are changes of pose, else ``actions``, which are poses to go to."""
        return next((found for found in map(self.array, _ACTIONS) if found is not None), None)

    @property
    def proprioception(self) -> Proprioception | None:
        """``robot_obs``."""
        return first_known(self.array, _PROPRIOCEPTION, "", self._where)

    @property
    def task(self) -> None:
        """None: CALVIN's words are of windows within its episodes, in a pickle."""

    @property
    def group(self) -> None:
        """None."""

    @cached_property
    def _frames(self) -> StackedFrames:
        return StackedFrames(self.num_frames, self._frame, self._where)

    def _frame(self, number: int) -> NDArray[np.uint8]:
        path = self.folder / self.names[number]
        with open_npz(path) as archive:
            frame_HWC = archive.array(self.camera)
        if frame_HWC is None:
            raise DatasetError(f"{path}: has no `{self.camera}`")
        problem = frames_problem((1, *frame_HWC.shape), frame_HWC.dtype)
        if problem:
            raise DatasetError(f"{path}: {self.camera}: {problem}")
        return frame_HWC

    @property
    def _where(self) -> str:
        return f"{self.folder}: {self.names[0]} to {self.names[-1]}" if self.names else str(self.folder)


__all__ = ["CalvinReader"]
