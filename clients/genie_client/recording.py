"""Writing Rerun recordings: several, of one file, and opening them. What is in one is `views`'s work."""

from __future__ import annotations

import os
import subprocess
import sys
import tempfile
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path

import numpy as np
from numpy.typing import NDArray

from genie_core.data import Frames, encode_image
from genie_core.data.images import ImageFormat
from genie_core.errors import GenieError

try:
    import rerun as rr
    import rerun.blueprint as rrb
except ModuleNotFoundError as error:
    raise GenieError("looking at recordings needs Rerun: pip install 'genie-latent[view]'") from error

LOOPBACK = "127.0.0.1"

_SMALL_PX = 128
_BATCH = 64


@dataclass(frozen=True)
class Recording:
    """One recording to be written.

    Attributes:
        application: recordings of one application share a blueprint, the viewer's layout.
        name: what the viewer lists it as; unique in its application.
        blueprint: the layout.
        log: writes the data.

    """

    application: str
    name: str
    blueprint: rrb.Blueprint
    log: Callable[[rr.RecordingStream], None]


def write_recordings(path: Path, recordings: Sequence[Recording]) -> None:
    """Write `recordings` to one .rrd file, replacing it in one step; raises GenieError where that fails."""
    with tempfile.TemporaryDirectory(dir=path.parent, prefix=".genie-view-") as folder:
        parts = [_write_part(Path(folder) / f"{i}.rrd", recording) for i, recording in enumerate(recordings)]
        whole = parts[0]
        if len(parts) > 1:
            whole = Path(folder) / "whole.rrd"
            _run_rerun("rrd", "merge", *map(str, parts), "-o", str(whole))
        os.replace(whole, path)


def open_viewer(path: Path) -> None:
    """Show an .rrd file in the Rerun viewer, listening on loopback only; returns when its window is closed."""
    _run_rerun("--bind", LOOPBACK, "--port", "auto", str(path))


def log_frames(
    recording: rr.RecordingStream, entity: str, chunks: Iterator[Frames], *, start: int = 0, fps: float | None = None
) -> None:
    """Log frames, (n, H, W, 3) a chunk, from index `start` on; one chunk is held at a time."""
    for chunk in chunks:
        for begin in range(0, len(chunk), _BATCH):
            frames = chunk[begin : begin + _BATCH]
            kind: ImageFormat = "png" if max(frames.shape[1:3]) <= _SMALL_PX else "jpeg"
            blobs = [encode_image(frame, kind) for frame in frames]
            columns = rr.EncodedImage.columns(blob=blobs, media_type=[f"image/{kind}"] * len(blobs))
            recording.send_columns(entity, time_columns(np.arange(start, start + len(frames)), fps), columns)
            start += len(frames)


def time_columns(index_T: NDArray[np.int64], fps: float | None) -> list[rr.TimeColumn]:
    """The timelines of frames `index_T`: ``frame``, and ``time`` in seconds where `fps` is known."""
    columns = [rr.TimeColumn("frame", sequence=index_T)]
    if fps:
        columns.append(rr.TimeColumn("time", duration=index_T / fps))
    return columns


def _write_part(path: Path, recording: Recording) -> Path:
    stream = rr.RecordingStream(recording.application, recording_id=f"{recording.application}/{recording.name}")
    stream.save(path, default_blueprint=recording.blueprint)
    stream.send_recording_name(recording.name)
    recording.log(stream)
    stream.disconnect()
    return path


def _run_rerun(*arguments: str) -> None:
    environment = {**os.environ, "RERUN_ANALYTICS": "0", "RUST_LOG": os.environ.get("RUST_LOG", "error")}
    command = [sys.executable, "-m", "rerun", *arguments]
    done = subprocess.run(command, env=environment, stderr=subprocess.PIPE, text=True, check=False)
    if done.returncode:
        raise GenieError(f"rerun {arguments[0]} failed: {done.stderr.strip()[-2000:]}")


__all__ = ["LOOPBACK", "Recording", "log_frames", "open_viewer", "time_columns", "write_recordings"]
