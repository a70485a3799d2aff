"""What a user may choose about simulated data: one immutable `SimConfig`.

It holds choices, not physics: the controller's tuning lives beside the controller in `scene`.
"""

from typing import Any, Literal

from pydantic import BaseModel, ConfigDict, Field, ValidationInfo, field_validator

Robot = Literal["Panda", "UR5e", "Kinova3", "IIWA", "Jaco", "Sawyer"]
Task = Literal["Lift", "Stack"]
LookStyle = Literal["randomised", "laboratory"]
Mode = Literal["play", "script", "smooth", "axes", "mixed"]

FPS = 10
"""Frames and actions a second. The controller is tuned for it, so it is a constant and not a choice."""

FIRST_FIELDS = {
    "robot", "task", "frames", "size", "seed", "looks", "camera_jitter", "shadows", "supersample", "mesh_faces"
}  # fmt: skip
"""Fields that `SimConfig.stated` always gives."""

DEFAULT_JITTER: dict[LookStyle, float] = {"randomised": 1.0, "laboratory": 0.2}

Range = tuple[float, float]
"""Lowest and highest value of what is drawn evenly for each episode; equal for one fixed value."""

LIMITS: dict[str, tuple[float, float]] = {
    "azimuth": (-360.0, 360.0),
    "elevation": (0.0, 80.0),
    "distance": (0.4, 1.9),
    "speed": (0.05, 1.0),
}
"""What a range may span. The room's walls stand 2 m and more from the table; from right above, up has no direction."""


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
    physics_step_ms: Literal[2, 4, 5] = Field(
        default=2, description="the simulator's own step; longer is cheaper and follows commands less exactly"
    )
    azimuth: Range = Field(
        default=(32.0, 32.0), description="where the camera stands, degrees: 0 faces the robot, 90 is on its left"
    )
    elevation: Range = Field(default=(33.0, 33.0), description="the camera's height, degrees above the horizon")
    distance: Range = Field(default=(0.9, 0.9), description="from the camera to above the table's middle, metres")
    motions: tuple[Mode, ...] = Field(
        default=(), max_length=20, description="what an episode's motion is drawn from, evenly; none: the usual mixture"
    )
    speed: Range = Field(default=(1.0, 1.0), description="of the motion, 1 being up to 7 cm a step commanded")
    distractors: int = Field(default=0, ge=0, le=8, description="bodies that move about around the hand's workspace")
    shake_px: float = Field(
        default=0.0, ge=0, le=8, description="standard deviation of each frame's displacement along either axis"
    )
    pan_px: float = Field(default=0.0, ge=0, le=8, description="pixels that the camera pans by from frame to frame")
    flicker: float = Field(
        default=0.0, ge=0, le=0.5, description="standard deviation of each frame's relative brightness"
    )
    depth: bool = Field(default=False, description="store depth, metres along the camera's axis")
    flow: bool = Field(default=False, description="store the true optical flow to the next frame, pixels")

    @field_validator(*LIMITS)
    @classmethod
    def _within_limits(cls, limits: Range, info: ValidationInfo) -> Range:
        (low, high), (least, most) = limits, LIMITS[str(info.field_name)]
        if not least <= low <= high <= most:
            raise ValueError(
                f"got {low:g} to {high:g}, expected a range, lower end first, within {least:g} to {most:g}"
            )
        return limits

    def stated(self) -> dict[str, Any]:
        """The config as it is written beside the data, ready for JSON: what was added later, only where it is chosen.

        So that data and unfinished work of a config stay what they are when there is more to choose.
        """
        return {
            name: value
            for name, value in self.model_dump(mode="json").items()
            if name in FIRST_FIELDS or getattr(self, name) != type(self).model_fields[name].default
        }

    @property
    def jitter(self) -> float:
        """The camera's jitter scale that applies: the chosen one, or the looks' own."""
        return DEFAULT_JITTER[self.looks] if self.camera_jitter is None else self.camera_jitter


__all__ = ["DEFAULT_JITTER", "FPS", "LIMITS", "LookStyle", "Mode", "Range", "Robot", "SimConfig", "Task"]
