"""Writing and opening of Rerun recordings, one or several per file. For their contents, see `views`."""

from __future__ import annotations

import os
import subprocess
import sys
from collections.abc import Callable, Iterable, Sequence
from dataclasses import dataclass
from pathlib import Path

import numpy as np
from numpy.typing import NDArray

from genie_core.data import Frames, encode_image
from genie_core.data.frames.images import ImageFormat
from genie_core.data.storage.atomic import new_file, scratch_folder
from genie_core.errors import GenieError
from genie_view.rerun_version import require_rerun

require_rerun()

import rerun as rr  # noqa: E402 - an old one, or none, is named before it fails in the middle
import rerun.blueprint as rrb  # noqa: E402

LOOPBACK = "127.0.0.1"

_SMALL_PX = 128
_BATCH = 64


@dataclass(frozen=True)
class Scene:
    """Part of a recording: `log` writes its data, `blueprint` shows it under its name."""

    blueprint: rrb.Container
    log: Callable[[rr.RecordingStream], None]


@dataclass(frozen=True)
class Recording:
    """One recording to write.

    Attributes:
        application: recordings of the same application share their blueprint in the viewer; a file holds those of one.
        name: name in the viewer's list.
        scenes: one, or several in tabs.
        fps: frames a second to play it at; None: the viewer's choice.

    """

    application: str
    name: str
    scenes: Sequence[Scene]
    fps: float | None


@dataclass(frozen=True)
class Clock:
    """Times of a video's frames on the timelines ``frame`` and, if `fps` is known, ``time``: at start + step * n."""

    fps: float | None
    start: int = 0
    step: int = 1

    def columns(self, index_T: NDArray[np.int64]) -> list[rr.TimeColumn]:
        """Return the timelines of the video's frames `index_T`."""
        frame_T = self.start + self.step * index_T
        columns = [rr.TimeColumn("frame", sequence=frame_T)]
        if self.fps:
            columns.append(rr.TimeColumn("time", duration=frame_T / self.fps))
        return columns


def write_recordings(path: Path, recordings: Sequence[Recording]) -> None:
    """Write `recordings`, at least one, to one .rrd file, replacing it atomically.

    Raises GenieError if Rerun fails, OSError if the file cannot be written.
    """
    with new_file(path, suffix=".rrd") as whole:
        if len(recordings) == 1:
            _write_part(whole, recordings[0])
            return
        with scratch_folder(path) as folder:
            parts = [_write_part(folder / f"{i}.rrd", recording) for i, recording in enumerate(recordings)]
            _run_rerun("merging recordings", "rrd", "merge", *map(str, parts), "-o", str(whole))


def open_viewer(path: Path) -> None:
    """Show an .rrd file in the Rerun viewer, listening on loopback only; returns when its window is closed.

    Raises GenieError if the viewer fails, for example without a display.
    """
    _run_rerun("opening the Rerun viewer", "--bind", LOOPBACK, "--port", "auto", str(path))


def log_frames(
    recording: rr.RecordingStream, entity: str, chunks: Iterable[Frames], clock: Clock, *, first: int = 0
) -> None:
    """Log frames, (n, H, W, 3) per chunk, as the clock's frames from `first` on; holds one chunk at a time."""
    for chunk in chunks:
        for begin in range(0, len(chunk), _BATCH):
            frames = chunk[begin : begin + _BATCH]
            kind: ImageFormat = "png" if max(frames.shape[1:3]) <= _SMALL_PX else "jpeg"
            blobs = [encode_image(frame, kind) for frame in frames]
            columns = rr.EncodedImage.columns(blob=blobs, media_type=[f"image/{kind}"] * len(blobs))
            recording.send_columns(entity, clock.columns(np.arange(first, first + len(frames))), columns)
            first += len(frames)


def _write_part(path: Path, recording: Recording) -> Path:
    stream = rr.RecordingStream(recording.application)
    stream.save(path, default_blueprint=_blueprint(recording))
    stream.send_recording_name(recording.name)
    for scene in recording.scenes:
        scene.log(stream)
    stream.disconnect()
    return path


def _blueprint(recording: Recording) -> rrb.Blueprint:
    blueprints = [scene.blueprint for scene in recording.scenes]
    return rrb.Blueprint(
        blueprints[0] if len(blueprints) == 1 else rrb.Tabs(*blueprints),
        rrb.BlueprintPanel(state="expanded"),  # lists the recordings
        rrb.SelectionPanel(state="collapsed"),
        rrb.TimePanel(state="collapsed", timeline="frame", fps=recording.fps),
    )


def _run_rerun(what: str, *arguments: str) -> None:
    environment = {**os.environ, "RERUN_ANALYTICS": "0", "RUST_LOG": os.environ.get("RUST_LOG", "error")}
    command = [sys.executable, "-m", "rerun", *arguments]
    done = subprocess.run(command, env=environment, stderr=subprocess.PIPE, text=True, check=False)
    if done.returncode:
        raise GenieError(f"{what} failed: {done.stderr.strip()[-2000:]}")


__all__ = ["LOOPBACK", "Clock", "Recording", "Scene", "log_frames", "open_viewer", "write_recordings"]
