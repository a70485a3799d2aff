"""What a user asks of an export, and what came of it."""

from __future__ import annotations

import hashlib
import json
from collections.abc import Mapping
from dataclasses import asdict, dataclass, field
from datetime import UTC, datetime
from pathlib import Path
from typing import Literal

from genie_core.data.export.parquet import RobotColumns
from genie_core.data.export.provenance import LabelledSet, provenance_bytes, provenance_document
from genie_core.data.formats.lerobot.writer import FileLimits

ExportFormat = Literal["lerobot", "parquet", "rlds", "robomimic"]
"""Format of an export.

``lerobot``: a LeRobot v3.0 folder. ``parquet``: one file, labels without frames. ``rlds``: a folder that TensorFlow
Datasets opens. ``robomimic``: one labelled HDF5 file that needs no other.
"""

ExportFrames = Literal["source", "labelled", "none"] | tuple[int, int]
"""Frames of an export.

``source``: as recorded. ``labelled``: those in the labelled file. ``none``: labels only. A height and width: the
source's, resized.
"""

ExportActions = Literal["robot", "decoded"]
"""What LeRobot's ``action`` holds: the robot's own actions, or those that an alignment decoded from latent actions."""


ExportVideo = Literal["copy", "encode"]
"""How LeRobot's video comes about. ``copy``: the source's own, as it is compressed, where that is possible for all
episodes; otherwise, and with ``encode``, its pictures are encoded as H.264."""


@dataclass(frozen=True)
class ExportPlan:
    """How to export.

    Attributes:
        to: format to write.
        frames: which frames to write; Parquet never holds any.
        fps: frame rate in Hz of a LeRobot export; None: that of the labels.
        task: the task in words, for LeRobot; None: the source's, if it has one (LeRobot, RLDS), else empty.
        actions: which actions LeRobot's ``action`` holds.
        video: whether LeRobot's video is copied where possible, or encoded.
        limits: sizes at which LeRobot's files are split.
        exported: time of the export to record; None: now.

    """

    to: ExportFormat
    frames: ExportFrames = "source"
    fps: float | None = None
    task: str | None = None
    actions: ExportActions = "robot"
    video: ExportVideo = "copy"
    limits: FileLimits = field(default_factory=FileLimits)
    exported: datetime | None = None

    def request(self, labels: LabelledSet) -> str:
        """Return a SHA-256 of this plan and of the provenance of `labels`: the same again makes the same export."""
        said = {"to": self.to, "frames": self.frames, "fps": self.fps, "task": self.task, "actions": self.actions}
        if self.to == "lerobot":
            said["video"] = self.video
            if labels.view_names:
                said["cameras"] = "all"  # not so before: such an export had the first camera's video alone
        document = provenance_document(labels, "")
        del document["exported_by"]
        whole = {"plan": {**said, "limits": asdict(self.limits)}, "labels": document}
        return hashlib.sha256(json.dumps(whole, sort_keys=True).encode()).hexdigest()

    def document(self, labels: LabelledSet) -> bytes:
        """Return the provenance of `labels` as the export keeps it."""
        exported = (self.exported or datetime.now(UTC)).isoformat(timespec="seconds")
        return provenance_bytes(labels, exported, self.request(labels))


@dataclass(frozen=True)
class VideoOutcome:
    """How LeRobot's video of one camera came about.

    Attributes:
        key_frames: number of key frames that were copied; 0 if the video was encoded.
        encoded: why it was encoded, in words; None: it was copied.

    """

    key_frames: int = 0
    encoded: str | None = None

    def said(self) -> str:
        """Return what ``info.json`` says of it."""
        return "copied" if self.encoded is None else f"encoded: {self.encoded}"


def videos_said(videos: Mapping[str, VideoOutcome]) -> str | dict[str, str]:
    """Return what ``info.json`` says of all cameras: one text, or one each where they differ."""
    said = {camera: video.said() for camera, video in videos.items()}
    return next(iter(said.values())) if len(set(said.values())) == 1 else said


@dataclass(frozen=True)
class ExportReport:
    """What was written.

    Attributes:
        path: file or folder written.
        to: its format.
        episodes: number of episodes.
        frames: number of frames in all.
        size: height and width of the frames; None if there are none, or they differ.
        action_dim: dimension of the robot's actions; None if unknown.
        state_dim: dimension of proprioception; None if unknown.
        held_actions: episodes whose last frame has no action, and was given the one before it.
        videos: how LeRobot's video came about, by the feature of each camera; empty for other formats.
        missing: which sources are gone, in words, if actions, state or task may be unknown only for that reason.
        was_complete: whether it was there already, and nothing was written; nothing is said of its frames and robot.

    """

    path: Path
    to: ExportFormat
    episodes: int
    frames: int
    size: tuple[int, int] | None
    action_dim: int | None
    state_dim: int | None
    held_actions: int = 0
    videos: Mapping[str, VideoOutcome] = field(default_factory=dict)
    missing: str | None = None
    was_complete: bool = False


@dataclass(frozen=True)
class Written:
    """What one format's writer says of its export: see `ExportReport`."""

    size: tuple[int, int] | None
    robot: RobotColumns
    videos: Mapping[str, VideoOutcome] = field(default_factory=dict)


__all__ = [
    "ExportActions",
    "ExportFormat",
    "ExportFrames",
    "ExportPlan",
    "ExportReport",
    "ExportVideo",
    "VideoOutcome",
    "Written",
    "videos_said",
]
