"""Views of simulated video: what if, beside the prompt and what really followed; and videos of one moment compared."""

from __future__ import annotations

import re
from collections.abc import Mapping, Sequence
from dataclasses import dataclass

import numpy as np
import rerun as rr
import rerun.blueprint as rrb
from numpy.typing import NDArray

from genie_core.data import Frames
from genie_view.clock import Clock
from genie_view.frame_log import log_frames
from genie_view.labels_view import log_codes, log_series
from genie_view.recording import Recording, Scene

_GREY, _OWN = 9, 3
"""Colours of lines, as codes: of the start frame, and beyond all codes of a video of several."""
_MOST_LANES = 6
"""Lanes of actions that fit below the videos without more room."""
_MOST_VIDEOS = 12
"""Tracks whose difference from the true future is shown as pictures; as lines, all are."""


@dataclass(frozen=True)
class Track:
    """One video of a simulation: its name, and the frames after each of `actions`, (T, h, w, 3) uint8."""

    name: str
    frames_THWC: Frames
    actions: Sequence[int]

    def entity(self, part: str) -> str:
        """Return the entity of a part of it: ``frame``, ``action`` or ``difference``."""
        return f"videos/{_path(self)}/{part}"


@dataclass(frozen=True)
class SimulationView:
    """One prompt and the videos simulated from it.

    Attributes:
        prompt_PHWC: the prompt's frames, uint8.
        tracks: the videos, at least one.
        palette: one colour per code, 0xRRGGBB.
        clock: times of the frames; its frame 0 is the last one of the prompt.
        future_THWC: what really followed, of the tracks' size, maybe shorter than they are; None: unknown.
        words: what each code means in words; empty strings, or nothing, where nobody knows.
        confidence_T: how far each frame of the first track can be trusted, 0 to 1; None: not known.
        trusted: number of its first frames that can be trusted.

    """

    prompt_PHWC: Frames
    tracks: Sequence[Track]
    palette: Sequence[int]
    clock: Clock
    future_THWC: Frames | None = None
    words: Sequence[str] = ()
    confidence_T: Sequence[float] | None = None
    trusted: int | None = None


def error_of(frames_THWC: Frames, future_THWC: Frames) -> NDArray[np.float32]:
    """Return the mean absolute difference of each frame from the true one, grey levels 0 to 255, (T,)."""
    count = min(len(frames_THWC), len(future_THWC))
    apart = np.abs(frames_THWC[:count].astype(np.int16) - future_THWC[:count])
    error_T: NDArray[np.float32] = apart.mean(axis=(1, 2, 3), dtype=np.float64).astype(np.float32)
    return error_T


def better_until(view: SimulationView, track: Track) -> int | None:
    """Return how many frames long a track stays nearer the true future than the start frame held; None: unknown."""
    if view.future_THWC is None:
        return None
    held = error_of(np.broadcast_to(view.prompt_PHWC[-1], view.future_THWC.shape), view.future_THWC)
    error_T = error_of(track.frames_THWC, view.future_THWC)
    worse = np.flatnonzero(error_T >= held[: len(error_T)])
    return int(worse[0]) if len(worse) else len(error_T)


def simulation_scene(view: SimulationView) -> Scene:
    """Return a scene with the prompt, the true future and every track, aligned in time, and how they differ."""

    def log(recording: rr.RecordingStream) -> None:
        log_frames(recording, "prompt", [view.prompt_PHWC], view.clock, first=1 - len(view.prompt_PHWC))
        if view.future_THWC is not None:
            log_frames(recording, "future", [np.concatenate([view.prompt_PHWC[-1:], view.future_THWC])], view.clock)
            held = error_of(np.broadcast_to(view.prompt_PHWC[-1], view.future_THWC.shape), view.future_THWC)
            at = 1 + np.arange(len(held))
            log_series(recording, "error/start_frame", ["start frame held"], at, held, view.clock, _GREY)
        if view.confidence_T is not None:
            at = 1 + np.arange(len(view.confidence_T))
            said = f"confidence: trust to frame {view.trusted}"
            log_series(recording, "confidence", [said], at, np.array(view.confidence_T), view.clock)
        for number, track in enumerate(view.tracks):
            _log_track(recording, view, track, number < _MOST_VIDEOS)

    return Scene(_blueprint(view), log)


def _log_track(recording: rr.RecordingStream, view: SimulationView, track: Track, with_difference: bool) -> None:
    frames_THWC = np.concatenate([view.prompt_PHWC[-1:], track.frames_THWC])
    log_frames(recording, track.entity("frame"), [frames_THWC], view.clock)
    code_T = np.array([*track.actions, 0], np.uint16)
    valid_T = np.arange(len(code_T)) < len(track.actions)
    log_codes(recording, track.entity("action"), code_T, valid_T, view.palette, view.clock, view.words)
    if view.future_THWC is None:
        return
    error_T = error_of(track.frames_THWC, view.future_THWC)
    held = len(set(track.actions)) == 1 and len(view.tracks) > 1
    color = track.actions[0] if held else len(view.palette) + _OWN
    at = 1 + np.arange(len(error_T))
    said = track.name
    if track is view.tracks[0]:
        said += f": beats the start frame to frame {better_until(view, track)}"
    log_series(recording, f"error/{_path(track)}", [said], at, error_T, view.clock, color)
    if with_difference:
        count = len(error_T)
        apart = np.abs(track.frames_THWC[:count].astype(np.int16) - view.future_THWC[:count]).astype(np.uint8)
        log_frames(recording, track.entity("difference"), [apart], view.clock, first=1)


def comparison_scene(name: str, tracks: Mapping[str, Frames], entity: str, clock: Clock) -> Scene:
    """Return a scene of videos of the same moment side by side, (T, h, w, 3) uint8 each, logged below `entity`."""

    def log(recording: rr.RecordingStream) -> None:
        for track, frames_THWC in tracks.items():
            log_frames(recording, f"{entity}/{track}", [frames_THWC], clock)

    shown = (rrb.Spatial2DView(origin=f"{entity}/{track}", name=track) for track in tracks)
    return Scene(rrb.Horizontal(*shown, name=name), log)


def simulation_recording(name: str, view: SimulationView) -> Recording:
    """Return a recording of one simulation."""
    return Recording("genie simulation", name, [simulation_scene(view)], view.clock.fps)


def _blueprint(view: SimulationView) -> rrb.Container:
    """Lay out a simulation; what a title would say of one is in its lines' names: all in a viewer share one layout."""
    true = [] if view.future_THWC is None else [rrb.Spatial2DView(origin="future", name="what really followed")]
    videos = [rrb.Spatial2DView(origin=track.entity("frame"), name=track.name) for track in view.tracks]
    grid = rrb.Grid(rrb.Spatial2DView(origin="prompt", name="prompt"), *true, *videos, name="videos")
    actions = [track.entity("action") for track in view.tracks]
    lanes = rrb.StateTimelineView(contents=actions, name="latent actions")
    below: list[rrb.View] = [lanes]
    if view.confidence_T is not None:
        below.append(rrb.TimeSeriesView(origin="confidence", name="confidence"))
    if view.future_THWC is None:
        return rrb.Vertical(grid, rrb.Horizontal(*below), row_shares=[4, 1], name="simulation")
    apart = [
        rrb.Spatial2DView(origin=track.entity("difference"), name=f"{track.name}: difference")
        for track in view.tracks[:_MOST_VIDEOS]
    ]
    errors = rrb.TimeSeriesView(
        origin="error",
        name="difference from the true future, grey levels",
        plot_legend=rrb.Corner2D.LeftTop,  # lines begin low
    )
    return rrb.Vertical(
        rrb.Tabs(grid, rrb.Grid(*apart, name="differences from the true future"), active_tab=0),
        rrb.Horizontal(*below, errors),
        row_shares=[3, 2] if len(actions) <= _MOST_LANES else [1, 1],
        name="simulation",
    )


def _path(track: Track) -> str:
    return re.sub(r"[^A-Za-z0-9_]+", "_", track.name)


__all__ = [
    "SimulationView",
    "Track",
    "better_until",
    "comparison_scene",
    "error_of",
    "simulation_recording",
    "simulation_scene",
]
