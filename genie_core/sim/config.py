"""What a user may choose about simulated data: one immutable `SimConfig`.

It holds choices, not physics: the controller's tuning lives beside the controller in `scene`.
"""

from typing import Literal

from pydantic import BaseModel, ConfigDict, Field

Robot = Literal["Panda", "UR5e", "Kinova3", "IIWA", "Jaco"]
Task = Literal["Lift", "Stack"]
LookStyle = Literal["randomised", "laboratory"]

FPS = 10
"""Frames and actions a second. The controller is tuned for it, so it is a constant and not a choice."""

DEFAULT_JITTER: dict[LookStyle, float] = {"randomised": 1.0, "laboratory": 0.2}


class SimConfig(BaseModel):
    """Everything that decides the content of an episode besides its number, and nothing else.

    Two runs with equal configs (and equal versions of the simulator) make equal episodes, whatever the number of
    workers, of episodes, or of interruptions.
    """

    model_config = ConfigDict(frozen=True, extra="forbid")

    robot: Robot = "Panda"
    task: Task = "Lift"
    frames: int = Field(default=50, ge=2, le=100_000, description="frames an episode, 10 a second")
    size: int = Field(default=64, ge=16, le=1024, description="height and width of a frame in pixels")
    seed: int = Field(default=0, ge=0, lt=2**63)
    looks: LookStyle = Field(
        default="randomised",
        description="randomised: textures, colours, lights and camera drawn for every episode; laboratory: one room",
    )
    camera_jitter: float | None = Field(
        default=None, ge=0, le=3, description="scale of the camera's random displacement; None: by looks"
    )
    shadows: bool = True
    supersample: int = Field(default=2, ge=1, le=4, description="rendered pixels for each stored one, a side")
    mesh_faces: int = Field(
        default=2000, ge=0, description="most triangles in a plain visual mesh; 0: meshes as they come"
    )

    @property
    def jitter(self) -> float:
        """The camera's jitter scale that applies: the chosen one, or the looks' own."""
        return DEFAULT_JITTER[self.looks] if self.camera_jitter is None else self.camera_jitter


__all__ = ["DEFAULT_JITTER", "FPS", "LookStyle", "Robot", "SimConfig", "Task"]
