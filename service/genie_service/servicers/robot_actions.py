"""Robot actions in simulations: reads them, and encodes each as the latent that the model takes, frame by frame."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from genie_core.data import Frames
from genie_core.errors import RequestError
from genie_core.inference import Action
from genie_service.alignments import LoadedAlignment


@dataclass(frozen=True)
class RobotAction:
    """One action of the robot, (A,), in the units of the alignment."""

    values_A: NDArray[np.float64]


Wanted = Action | RobotAction
"""What a request asks for between two frames."""


class RobotActions:
    """Reads and encodes robot actions with the alignment that a request names; refuses them if it names none."""

    def __init__(self, aligned: LoadedAlignment | None) -> None:
        self._aligned = aligned
        if aligned is not None:
            aligned.alignment.back_needs_frames  # noqa: B018 - raises ModelError without a way back

    @property
    def reads_frames(self) -> bool:
        """Whether an action is encoded with a look at the frame in which it begins."""
        return self._aligned is not None

    def read(self, data: bytes, most: int, field: str) -> Sequence[RobotAction]:
        """Return 1 to `most` actions of float32, sent as `field`. Raises RequestError for anything else."""
        if self._aligned is None:
            raise RequestError(field, "got robot actions, expected `start.alignment` to name what encodes them")
        names = self._aligned.alignment.info.actions
        size = 4 * len(names)
        if len(data) % size or not 1 <= len(data) // size <= most:
            raise RequestError(
                field,
                f"got {len(data)} bytes, expected 1 to {most} actions of {size} bytes (float32): {', '.join(names)}",
            )
        values_TA = np.frombuffer(data, "<f4").reshape(-1, len(names)).astype(np.float64)
        if not np.isfinite(values_TA).all():
            raise RequestError(field, "got numbers that are not finite, expected finite ones")
        return [RobotAction(values_A) for values_A in values_TA]

    def encode(self, wanted: Wanted, frame_HWC: Frames) -> tuple[Action, list[int]]:
        """Return the action as the model takes it, and which components of it lie beyond the alignment's range.

        One at a time: sums of another shape may be rounded differently.

        Args:
            wanted: as asked for.
            frame_HWC: the frame in which it begins, at the model's size.

        """
        if not isinstance(wanted, RobotAction):
            return wanted, []
        assert self._aligned is not None
        latent_1D, outside_1A = self._aligned.alignment.encode(wanted.values_A[None], frame_HWC[None])
        return latent_1D[0], np.flatnonzero(outside_1A[0]).tolist()


__all__ = ["RobotAction", "RobotActions", "Wanted"]
