"""Contents of Rerun recordings: an episode beside its labels, and simulated video beside its start frame."""

from __future__ import annotations

import re
from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
import rerun as rr
import rerun.blueprint as rrb
from numpy.typing import NDArray

from genie_core.data import Frames, LabelledFile, Labels
from genie_core.data.frames.palette import code_palette
from genie_core.data.labelled.originals import Originals
from genie_view.reading import frames_of
from genie_view.recording import Clock, Recording, Scene, log_frames

_NO_CODE = "-"
_GREY = 0x555555FF


@dataclass(frozen=True)
class LabelledView:
    """One labelled episode to show.

    Attributes:
        name: name of the episode.
        chunks: returns the frames from the first on, (n, H, W, 3) uint8 per chunk; None without frames.
        labels: one label per frame.
        palette: one colour per code, 0xRRGGBB.
        fps: frames a second; None if unknown, in which case there is no timeline in seconds.
        provenance: provenance of the labels, by name.
        missing: why there are no frames, in words; None if there are.

    """

    name: str
    chunks: Callable[[], Iterator[Frames]] | None
    labels: Labels
    palette: Sequence[int]
    fps: float | None
    provenance: Mapping[str, Any]
    missing: str | None = None


@dataclass(frozen=True)
class Track:
    """One video of a simulation: its name, and the frames after each of `actions`, (T, h, w, 3) uint8."""

    name: str
    frames_THWC: Frames
    actions: Sequence[int]


@dataclass(frozen=True)
class SimulationView:
    """One prompt and the videos simulated from it.

    Attributes:
        prompt_PHWC: the prompt's frames, uint8.
        tracks: the videos, at least one.
        palette: one colour per code, 0xRRGGBB.
        clock: times of the frames; its frame 0 is the last one of the prompt.

    """

    prompt_PHWC: Frames
    tracks: Sequence[Track]
    palette: Sequence[int]
    clock: Clock


def labelled_view(labelled: LabelledFile, name: str, originals: Originals | None = None) -> LabelledView:
    """Return the view of one episode of a labelled file; without frames if neither the file nor its source has them.

    Views of several episodes share `originals`, so that no dataset is opened twice.
    """
    labels, attrs = labelled.labels(name)
    episode = frames_of(labelled, name, originals or Originals())
    return LabelledView(
        name=name,
        chunks=None if isinstance(episode, str) else episode.chunks,
        labels=labels,
        palette=code_palette(len(labelled.model.codebook)),
        fps=attrs.fps,
        provenance=attrs.model_dump(exclude_none=True),
        missing=episode if isinstance(episode, str) else None,
    )


def labels_scene(view: LabelledView) -> Scene:
    """Return a scene of one episode: frames, codes as a coloured timeline, confidence, latent and provenance."""
    clock = Clock(view.fps)

    def log(recording: rr.RecordingStream) -> None:
        if view.chunks is not None:
            log_frames(recording, "camera", view.chunks(), clock)
        _log_codes(recording, "labels/code", view.labels.code, view.labels.valid, view.palette, clock)
        _log_scalars(recording, view.labels, clock)
        recording.log("provenance", rr.TextDocument(_provenance_text(view), media_type="text/markdown"), static=True)
        recording.send_property("provenance", rr.AnyValues(**view.provenance))

    return Scene(_labels_blueprint(), log)


def simulation_scene(view: SimulationView) -> Scene:
    """Return a scene with the prompt and every track side by side, each above the codes of its actions."""

    def log(recording: rr.RecordingStream) -> None:
        log_frames(recording, "prompt", [view.prompt_PHWC], view.clock, first=1 - len(view.prompt_PHWC))
        for track in view.tracks:
            frames_THWC = np.concatenate([view.prompt_PHWC[-1:], track.frames_THWC])
            log_frames(recording, f"{_entity(track)}/frame", [frames_THWC], view.clock)
            code_T = np.array([*track.actions, 0], np.uint16)
            valid_T = np.arange(len(code_T)) < len(track.actions)
            _log_codes(recording, f"{_entity(track)}/action", code_T, valid_T, view.palette, view.clock)

    return Scene(_simulation_blueprint(view), log)


def comparison_scene(name: str, tracks: Mapping[str, Frames], entity: str, clock: Clock) -> Scene:
    """Return a scene of videos of the same moment side by side, (T, h, w, 3) uint8 each, logged below `entity`."""

    def log(recording: rr.RecordingStream) -> None:
        for track, frames_THWC in tracks.items():
            log_frames(recording, f"{entity}/{track}", [frames_THWC], clock)

    shown = (rrb.Spatial2DView(origin=f"{entity}/{track}", name=track) for track in tracks)
    return Scene(rrb.Horizontal(*shown, name=name), log)


def comparisons_recording(name: str, videos: Sequence[tuple[str, Mapping[str, Frames]]], fps: float) -> Recording:
    """Return a recording of several comparisons, at least one, each with its name and tracks, in tabs."""
    scenes = [comparison_scene(title, tracks, str(number), Clock(fps)) for number, (title, tracks) in enumerate(videos)]
    return Recording("genie evaluation", name, scenes, fps)


def labels_recording(view: LabelledView) -> Recording:
    """Return a recording of one labelled episode."""
    return Recording("genie labels", view.name, [labels_scene(view)], view.fps)


def simulation_recording(name: str, view: SimulationView) -> Recording:
    """Return a recording of one simulation."""
    return Recording("genie simulation", name, [simulation_scene(view)], view.clock.fps)


def _log_codes(
    recording: rr.RecordingStream,
    entity: str,
    code_T: NDArray[np.uint16],
    valid_T: NDArray[np.bool_],
    palette: Sequence[int],
    clock: Clock,
) -> None:
    """Log codes as states in the palette's colours, and also as numbers where there is a transition."""
    states = [_NO_CODE, *map(str, range(len(palette)))]
    names = ["no transition", *map(str, range(len(palette)))]
    colors = [_GREY, *(color << 8 | 0xFF for color in palette)]
    recording.log(entity, rr.StateConfiguration(values=states, labels=names, colors=colors), static=True)
    changed_T = np.flatnonzero(np.diff(np.where(valid_T, code_T.astype(np.int64), -1), prepend=-2))
    changes = [str(code_T[index]) if valid_T[index] else _NO_CODE for index in changed_T]
    recording.send_columns(entity, clock.columns(changed_T), rr.StateChange.columns(state=changes))
    valid_index = np.flatnonzero(valid_T)
    numbers = rr.Scalars.columns(scalars=code_T[valid_index])
    recording.send_columns(f"{entity}/number", clock.columns(valid_index), numbers)


def _log_scalars(recording: rr.RecordingStream, labels: Labels, clock: Clock) -> None:
    """Log confidence and latent where there is a transition, and everywhere whether there is one."""
    everywhere, valid = np.arange(len(labels)), np.flatnonzero(labels.valid)
    series = {
        "labels/confidence": (valid, labels.confidence[valid]),
        "labels/valid": (everywhere, labels.valid.astype(np.float32)),
        "labels/latent": (valid, labels.latent[valid]),
    }
    for entity, (index_T, values) in series.items():
        recording.send_columns(entity, clock.columns(index_T), rr.Scalars.columns(scalars=values))
    names = [f"z{dim}" for dim in range(labels.latent.shape[1])]
    recording.log("labels/latent", rr.SeriesLines(names=names), static=True)


def _provenance_text(view: LabelledView) -> str:
    rows = "".join(f"| {name} | {value} |\n" for name, value in view.provenance.items())
    return f"# {view.name}\n\n| what | value |\n| --- | --- |\n{rows}"


def _labels_blueprint() -> rrb.Container:
    return rrb.Horizontal(
        rrb.Vertical(
            rrb.Spatial2DView(origin="camera", name="camera"),
            rrb.TextDocumentView(origin="provenance", name="provenance"),
            row_shares=[2, 1],
        ),
        rrb.Vertical(
            rrb.StateTimelineView(origin="labels/code", name="latent action"),
            rrb.TimeSeriesView(contents=["labels/confidence", "labels/valid"], name="confidence"),
            rrb.TimeSeriesView(
                origin="labels/latent", name="latent, before quantization", plot_legend=rrb.PlotLegend(visible=False)
            ),
            row_shares=[1, 2, 3],
        ),
        column_shares=[1, 2],
        name="labels",
    )


def _simulation_blueprint(view: SimulationView) -> rrb.Container:
    videos = [rrb.Spatial2DView(origin=f"{_entity(track)}/frame", name=track.name) for track in view.tracks]
    actions = [f"{_entity(track)}/action" for track in view.tracks]
    return rrb.Vertical(
        rrb.Grid(rrb.Spatial2DView(origin="prompt", name="prompt"), *videos),
        rrb.StateTimelineView(contents=actions, name="latent actions"),
        row_shares=[4, 1],
        name="simulation",
    )


def _entity(track: Track) -> str:
    return f"videos/{re.sub(r'[^A-Za-z0-9_]+', '_', track.name)}"


__all__ = [
    "LabelledView",
    "SimulationView",
    "Track",
    "comparison_scene",
    "comparisons_recording",
    "labelled_view",
    "labels_recording",
    "labels_scene",
    "simulation_recording",
    "simulation_scene",
]
