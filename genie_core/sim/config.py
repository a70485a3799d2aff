"""Choices for simulated data: one immutable `SimConfig`.

It holds the user's choices, not physics: the controller's tuning is beside the controller in `scene`.
"""

from typing import Any, Literal, Self

from pydantic import BaseModel, ConfigDict, Field, ValidationInfo, field_validator, model_validator

from genie_core.sim.robots import Robot, body_of

Task = Literal["Lift", "Stack"]
LookStyle = Literal["randomised", "laboratory"]
Mode = Literal["play", "script", "smooth", "axes", "mixed"]

FPS = 10
"""Frames and actions per second. A constant, because the controller is tuned for it."""

FIRST_FIELDS = {
    "robot", "task", "frames", "size", "seed", "looks", "camera_jitter", "shadows", "supersample", "mesh_faces"
}  # fmt: skip
"""Fields that `SimConfig.stated` always returns."""

DEFAULT_JITTER: dict[LookStyle, float] = {"randomised": 1.0, "laboratory": 0.2}

Range = tuple[float, float]
"""Lowest and highest value of a uniform draw per episode; equal for a fixed value."""

LIMITS: dict[str, tuple[float, float]] = {
    "azimuth": (-360.0, 360.0),
    "elevation": (0.0, 80.0),
    "distance": (0.4, 1.9),
    "speed": (0.05, 1.0),
}
"""Limits of each range. The room's walls are 2 m and more from the table; seen from straight above, up is undefined."""


class SimConfig(BaseModel):
    """Everything that determines an episode except its number.

    Equal configs (and equal versions of the simulator) give equal episodes, whatever the number of workers or episodes,
    and with or without interruptions.
    """

    model_config = ConfigDict(frozen=True, extra="forbid")

    robot: Robot = "Panda"
    task: Task = "Lift"
    frames: int = Field(default=50, ge=2, le=100_000, description="frames per episode, at 10 a second")
    size: int = Field(default=64, ge=16, le=1024, description="height and width of a frame in pixels")
    seed: int = Field(default=0, ge=0, lt=2**63)
    looks: LookStyle = Field(
        default="randomised",
        description="randomised: textures, colours, lights and camera drawn for every episode; laboratory: one room",
    )
    camera_jitter: float | None = Field(
        default=None, ge=0, le=3, description="scale of the camera's random displacement; None: set by looks"
    )
    shadows: bool = True
    supersample: int = Field(default=2, ge=1, le=4, description="rendered pixels per stored pixel, along each side")
    mesh_faces: int = Field(
        default=2000, ge=0, description="maximum triangles per plain visual mesh; 0: meshes unchanged"
    )
    physics_step_ms: Literal[2, 4, 5] = Field(
        default=2, description="simulator time step; longer is cheaper and follows commands less exactly"
    )
    azimuth: Range = Field(
        default=(32.0, 32.0), description="camera azimuth, degrees: 0 faces the robot, 90 is on its left"
    )
    elevation: Range = Field(default=(33.0, 33.0), description="camera elevation, degrees above the horizon")
    distance: Range = Field(default=(0.9, 0.9), description="from the camera to above the table's middle, metres")
    motions: tuple[Mode, ...] = Field(
        default=(), max_length=20, description="motions drawn from uniformly, one per episode; none: the usual mixture"
    )
    speed: Range = Field(default=(1.0, 1.0), description="scale of the motion; 1 commands up to 7 cm per step")
    distractors: int = Field(default=0, ge=0, le=8, description="moving bodies around the hand's workspace")
    shake_px: float = Field(
        default=0.0, ge=0, le=8, description="camera shake: standard deviation of the shift along each axis, pixels"
    )
    pan_px: float = Field(default=0.0, ge=0, le=8, description="camera pan per frame, pixels")
    flicker: float = Field(
        default=0.0, ge=0, le=0.5, description="flicker: standard deviation of each frame's relative brightness"
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

    @model_validator(mode="after")
    def _scripts_need_a_gripper(self) -> Self:
        if "script" in self.motions and not body_of(self.robot).picks:
            raise ValueError(
                f"motions: got script of {self.robot}, expected axes, mixed, smooth or play: only robots with one arm "
                "and a gripper pick and place"
            )
        return self

    def stated(self) -> dict[str, Any]:
        """Return the config as stored beside the data, ready for JSON; newer fields only if not at their default.

        Data and unfinished work thus stay valid when new fields are added.
        """
        return {
            name: value
            for name, value in self.model_dump(mode="json").items()
            if name in FIRST_FIELDS or getattr(self, name) != type(self).model_fields[name].default
        }

    @property
    def jitter(self) -> float:
        """Scale of the camera's jitter: the chosen one, or the default of the looks."""
        return DEFAULT_JITTER[self.looks] if self.camera_jitter is None else self.camera_jitter


__all__ = ["DEFAULT_JITTER", "FPS", "LIMITS", "LookStyle", "Mode", "Range", "Robot", "SimConfig", "Task"]
