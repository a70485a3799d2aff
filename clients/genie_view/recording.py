"""Writing and opening of Rerun recordings, one or several per file. For their contents, see `views`."""

from __future__ import annotations

import os
import socket
import subprocess
import sys
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path

from genie_core.data.storage.atomic import new_file, scratch_folder
from genie_core.errors import GenieError
from genie_view.rerun_version import require_rerun

require_rerun()

import rerun as rr  # noqa: E402 - an old one, or none, is named before it fails in the middle
import rerun.blueprint as rrb  # noqa: E402

LOOPBACK = "127.0.0.1"


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
        recording_id: identity of the recording: the viewer shows all that has the same one, of the same application, as
            one recording. None: one of its own.
        timeline: the timeline that the viewer shows first.
        selects: whether it is for clicking, not for playing: it stands still, and shows what is clicked on beside the
            views.

    """

    application: str
    name: str
    scenes: Sequence[Scene]
    fps: float | None
    recording_id: str | None = None
    timeline: str = "frame"
    selects: bool = False


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
            run_rerun("merging recordings", "rrd", "merge", *map(str, parts), "-o", str(whole))


def _write_part(path: Path, recording: Recording) -> Path:
    with stream_to(path, recording.application, recording.recording_id, blueprint_of(recording)) as stream:
        log_recording(stream, recording)
    return path


@contextmanager
def stream_to(
    path: Path, application: str, recording_id: str | None, blueprint: rrb.Blueprint | None
) -> Iterator[rr.RecordingStream]:
    """Yield a stream whose data go to an .rrd file, which is complete after the block.

    Without `blueprint` it has no properties of its own either: it adds to a recording. Raises GenieError if the file
    cannot be created.
    """
    stream = rr.RecordingStream(application, recording_id=recording_id, send_properties=blueprint is not None)
    try:
        stream.save(path, default_blueprint=blueprint)
    except RuntimeError as error:
        raise GenieError(f"{path}: {error}") from error
    try:
        yield stream
    finally:
        stream.disconnect()


@contextmanager
def stream_over(host: str, port: int, recording: Recording) -> Iterator[rr.RecordingStream]:
    """Yield a stream that the viewer or server at `port` shows as it comes, laid out as `recording` says.

    Nothing is logged yet.
    """
    shown = f"[{host}]" if ":" in host else host
    stream = rr.RecordingStream(recording.application, recording_id=recording.recording_id)
    stream.connect_grpc(f"rerun+http://{shown}:{port}/proxy", default_blueprint=blueprint_of(recording))
    try:
        yield stream
    finally:
        stream.disconnect()


def listens(host: str, port: int) -> bool:
    """Return whether something answers there."""
    try:
        socket.create_connection((host, port), timeout=10).close()
    except OSError:
        return False
    return True


def log_recording(stream: rr.RecordingStream, recording: Recording) -> None:
    """Log everything that a recording holds, wherever the stream goes."""
    stream.send_recording_name(recording.name)
    for scene in recording.scenes:
        scene.log(stream)


def blueprint_of(recording: Recording) -> rrb.Blueprint:
    """Return the blueprint, by which the viewer lays out a recording."""
    blueprints = [scene.blueprint for scene in recording.scenes]
    return rrb.Blueprint(
        blueprints[0] if len(blueprints) == 1 else rrb.Tabs(*blueprints),
        rrb.BlueprintPanel(state="expanded"),  # lists the recordings
        rrb.SelectionPanel(state="expanded" if recording.selects else "collapsed"),
        rrb.TimePanel(
            state="collapsed",
            timeline=recording.timeline,
            fps=recording.fps,
            play_state="paused" if recording.selects else None,
        ),
    )


def rerun_command(*arguments: str) -> tuple[list[str], dict[str, str]]:
    """Return Rerun's command line, and the environment in which it reports nothing to anybody."""
    environment = {**os.environ, "RERUN_ANALYTICS": "0", "RUST_LOG": os.environ.get("RUST_LOG", "error")}
    return [sys.executable, "-P", "-m", "rerun", *arguments], environment  # not a rerun.py that lies here


def run_rerun(what: str, *arguments: str) -> None:
    """Run Rerun's command line to its end, without its analytics. Raises GenieError with what it said if it fails."""
    command, environment = rerun_command(*arguments)
    done = subprocess.run(command, env=environment, stderr=subprocess.PIPE, text=True, check=False)
    if done.returncode:
        raise GenieError(f"{what} failed: {done.stderr.strip()[-2000:]}")


__all__ = [
    "LOOPBACK",
    "Recording",
    "Scene",
    "blueprint_of",
    "listens",
    "log_recording",
    "rerun_command",
    "run_rerun",
    "stream_over",
    "stream_to",
    "write_recordings",
]
