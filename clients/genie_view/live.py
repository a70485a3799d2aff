"""A viewer that shows what is made while it is made: recordings as they are read, episodes as they are labelled, frames
as they are simulated.
"""

from __future__ import annotations

import contextlib
import os
import signal
import socket
import subprocess
import sys
import tempfile
import time
from collections.abc import Iterable, Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass

import numpy as np
import rerun as rr

from genie_core.data import Episode, Frames, Labels
from genie_core.data.frames.palette import code_palette
from genie_core.errors import DatasetError, GenieError
from genie_view.clock import Clock
from genie_view.frame_log import Codecs, log_frames
from genie_view.labels_view import APPLICATION, LabelledView, labels_scene, log_codes
from genie_view.principal import axes_of
from genie_view.recording import LOOPBACK, Recording, listens, log_recording, rerun_command, stream_over
from genie_view.simulation_view import SimulationView, simulation_recording

WINDOW = ("--expect-data-soon", "--memory-limit", "4GB")
"""What Rerun is started with: a window, which drops the oldest data where it holds more than that."""

_DISPLAYS = ("DISPLAY", "WAYLAND_DISPLAY")
_STARTS_S = 60.0
_AXES = 3


@dataclass(frozen=True)
class LiveViewer:
    """A running viewer; it stays open when we are done."""

    process: subprocess.Popen[bytes]
    port: int

    def close(self) -> None:
        """Close the viewer, which otherwise is left to the user."""
        with contextlib.suppress(ProcessLookupError):
            os.killpg(self.process.pid, signal.SIGTERM)  # Rerun's command line is two processes
        self.process.wait()

    @contextmanager
    def stream(self, recording: Recording) -> Iterator[rr.RecordingStream]:
        """Yield a stream that the viewer shows as it comes, laid out as `recording` says; nothing is logged yet."""
        with stream_over(LOOPBACK, self.port, recording) as stream:
            yield stream


def start_viewer(instead: str, arguments: Sequence[str] = WINDOW) -> LiveViewer:
    """Start Rerun's viewer, on loopback alone, and wait until it listens.

    Raises GenieError if there is no display, or it ends at once; `instead` says what to do then.
    """
    if arguments == WINDOW and not _has_display():  # Rerun listens before it looks for one, and fails much later
        raise GenieError(f"the Rerun viewer needs a display, and neither {' nor '.join(_DISPLAYS)} is set; {instead}")
    with socket.socket() as free:
        free.bind((LOOPBACK, 0))
        port = int(free.getsockname()[1])
    command, environment = rerun_command("--bind", LOOPBACK, "--port", str(port), *arguments)
    with tempfile.TemporaryFile("w+") as errors:  # no pipe: the viewer outlives us
        process = subprocess.Popen(command, env=environment, stderr=errors, start_new_session=True)
        until = time.monotonic() + _STARTS_S
        while time.monotonic() < until:
            if process.poll() is not None:
                errors.seek(0)
                said = errors.read().strip()[-2000:]
                raise GenieError(f"the Rerun viewer failed: {said}; {instead}")
            if listens(LOOPBACK, port):
                return LiveViewer(process, port)
            time.sleep(0.1)
    process.kill()
    raise GenieError(f"the Rerun viewer did not start within {_STARTS_S:g} s; {instead}")


def _has_display() -> bool:
    return not sys.platform.startswith("linux") or any(os.environ.get(name) for name in _DISPLAYS)


def show(viewer: LiveViewer, recordings: Iterable[Recording]) -> None:
    """Show recordings as they are read, and return when the viewer is closed; Ctrl-C closes it.

    Raises GenieError if the viewer fails.
    """
    try:
        for recording in recordings:
            with viewer.stream(recording) as stream:
                log_recording(stream, recording)
        if viewer.process.wait() > 0:
            raise GenieError(f"the Rerun viewer failed with exit code {viewer.process.returncode}")
    finally:
        viewer.close()


def show_labels(viewer: LiveViewer, episode: Episode, labels: Labels, num_codes: int) -> None:
    """Show an episode that has just been labelled. One whose frames cannot be read again is shown without."""
    view = LabelledView(
        name=episode.name,
        episode=episode,
        labels=labels,
        palette=code_palette(num_codes),
        words=(),
        fps=episode.fps,
        provenance={"source": str(episode.source), "camera": episode.camera},
        axes=axes_of(labels.latent[labels.valid].astype(np.float64), _AXES),
    )
    recording = Recording(APPLICATION, view.name, [labels_scene(view, Codecs.here())], view.fps)
    with viewer.stream(recording) as stream:
        try:
            log_recording(stream, recording)
        except DatasetError as error:
            stream.log("labels/flag", rr.TextLog(str(error), level="ERROR"))


@contextmanager
def live_simulation(viewer: LiveViewer, name: str, view: SimulationView) -> Iterator[LiveFrames]:
    """Yield what shows frames of the view's only track as they come; its own frames are not looked at."""
    recording = simulation_recording(name, view)
    with viewer.stream(recording) as stream:
        stream.send_recording_name(name)
        log_frames(stream, "prompt", [view.prompt_PHWC], view.clock, first=1 - len(view.prompt_PHWC))
        track = view.tracks[0]
        code_T = np.array([*track.actions, 0], np.uint16)
        valid_T = np.arange(len(code_T)) < len(track.actions)
        log_codes(stream, track.entity("action"), code_T, valid_T, view.palette, view.clock, view.words)
        yield LiveFrames(stream, track.entity("frame"), view.clock)


@dataclass
class LiveFrames:
    """Shows one frame after another, from the first after the prompt."""

    stream: rr.RecordingStream
    entity: str
    clock: Clock
    shown: int = 0

    def show(self, frame_HWC: Frames) -> None:
        """Show the next frame, (h, w, 3) uint8."""
        self.shown += 1
        log_frames(self.stream, self.entity, [frame_HWC[None]], self.clock, first=self.shown)


__all__ = ["WINDOW", "LiveFrames", "LiveViewer", "live_simulation", "show", "show_labels", "start_viewer"]
