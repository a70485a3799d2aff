"""Videos whose robot is in an HDF5 file elsewhere in the recording: DROID's raw folders and AgiBot World's.

Row i of the arrays belongs to frame i: both projects' own loaders count so. A row beyond the last frame is left out.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from itertools import islice
from typing import Any

import h5py
from numpy.typing import NDArray

from genie_core.data.formats.video.reader import VideoBacked
from genie_core.data.robot import Proprioception, first_known
from genie_core.data.storage.hdf5 import check_sources, read_array, read_hdf5
from genie_core.data.storage.location import SourcePath

_DROID = ("MP4", "recordings")
_AGIBOT = ("videos", "observations")
"""Names of the folders around a video: the two nearest, and the nearest and the fourth."""

_ACTIONS = (
    ("action/cartesian_velocity", "action/gripper_position"),
    ("action/cartesian_position", "action/gripper_position"),
    ("action/cartesian_velocity",),
    ("action/cartesian_position",),
    ("action/joint/position", "action/effector/position"),
    ("action/joint/position",),
)
"""Arrays side by side that are an action: of DROID, then of AgiBot World; the first that are all there count."""

_PROPRIOCEPTION = (
    ("observation/robot_state/cartesian_position", "observation/robot_state/gripper_position"),
    ("observation/robot_state/joint_positions", "observation/robot_state/gripper_position"),
    ("observation/robot_state/cartesian_position",),
    ("observation/robot_state/joint_positions",),
    ("state/joint/position", "state/effector/position"),
    ("state/joint/position",),
)


@dataclass(frozen=True)
class RecordedReader(VideoBacked):
    """Reads one episode: frames of a video, and the robot's arrays of an HDF5 file; a `FrameReader`.

    Attributes:
        robot: the HDF5 file.

    """

    robot: SourcePath

    def array(self, key: str) -> NDArray[Any] | None:
        """Return the array at the path `key` of the HDF5 file; None if there is none."""
        with read_hdf5(self.robot) as file:
            found = file.get(f"/{key.strip('/')}")
            if not isinstance(found, h5py.Dataset):
                return None
            check_sources(found, str(self.robot))
            values: NDArray[Any] = read_array(found)
        return values[: self.num_frames] if len(values) == self.num_frames + 1 else values

    @property
    def actions(self) -> NDArray[Any] | None:
        """Pose (of DROID its velocity) or joints, and gripper."""
        found = first_known(self.array, _ACTIONS, "", str(self.robot))
        return None if found is None else found.state_TS

    @property
    def proprioception(self) -> Proprioception | None:
        """Pose or joints, and gripper."""
        return first_known(self.array, _PROPRIOCEPTION, "", str(self.robot))

    @property
    def task(self) -> None:
        """None."""

    @property
    def group(self) -> None:
        """None: the frames are in no HDF5 file."""


def robot_file(video: SourcePath) -> SourcePath | None:
    """Return where the robot's arrays of a video are, by the names of folders, if the file is there."""
    around: Sequence[SourcePath] = video.parents
    names = tuple(folder.name for folder in islice(around, 4))
    found: SourcePath | None = None
    if names[:2] == _DROID and len(around) > 2:
        found = around[2] / "trajectory.h5"
    elif len(around) > 4 and (names[0], names[3]) == _AGIBOT:
        episode, task = names[1:3]
        found = around[4] / "proprio_stats" / task / episode / "proprio_stats.h5"
    return found if found is not None and found.exists() else None


__all__ = ["RecordedReader", "robot_file"]
