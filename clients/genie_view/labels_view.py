"""The view of a labelled episode: its video beside codes, confidence, latents, actions and what stands out."""

from __future__ import annotations

import json
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any

import numpy as np
import rerun as rr
import rerun.blueprint as rrb
from numpy.typing import NDArray

from genie_core.data import Episode, LabelledFile, Labels, encode_image
from genie_core.data.frames.palette import code_palette
from genie_core.data.labelled.originals import Originals
from genie_core.errors import DatasetError
from genie_view.checked import Checked, Value
from genie_view.clearest import gallery
from genie_view.clock import Clock, Timeline
from genie_view.frame_log import ANY_VIEWER, Codecs, log_episode
from genie_view.moments import TIE, Flag, flagged
from genie_view.principal import Axes, principal_axes
from genie_view.reading import FoundFrames, frames_of
from genie_view.recording import Recording, Scene
from genie_view.sheet import Image

APPLICATION = "genie labels"

_NO_CODE = "-"
_GREY = 0x555555FF
_RED = 0xE15759FF
_MOST_ACTIONS = 8
"""Components of an action that are drawn; all are logged."""


@dataclass(frozen=True)
class LabelledView:
    """One labelled episode to show.

    Attributes:
        name: name of the episode.
        episode: its frames; None without any.
        labels: one label per frame.
        palette: one colour per code, 0xRRGGBB.
        words: what each code means in words; empty strings, or nothing, where nobody knows.
        fps: frames a second; None if unknown, in which case there is no timeline in seconds.
        provenance: provenance of the labels, by name.
        axes: directions in which the file's latents vary most.
        missing: why there are no frames, or others than the source's, in words; None if all is well.
        gallery: picture of each code's clearest transitions; None: none is shown.
        action_TA: (T, A) the robot's own actions; None where there are none.
        checked: what a check said, by name; nothing where there was none.

    """

    name: str
    episode: Episode | None
    labels: Labels
    palette: Sequence[int]
    words: Sequence[str]
    fps: float | None
    provenance: Mapping[str, Any]
    axes: Axes
    missing: str | None = None
    gallery: Image | None = None
    action_TA: NDArray[np.float64] | None = None
    checked: Mapping[str, Value] = field(default_factory=dict)

    @property
    def action_names(self) -> list[str]:
        """Names of the components of decoded actions; empty if none were decoded."""
        return list(json.loads(self.provenance.get("action_names", "[]")))


@dataclass(frozen=True)
class LabelledViews:
    """Makes views of the episodes of one labelled file; what they share is read once.

    Attributes:
        labelled: the file.
        words: what each code means, see `LabelledView`.
        originals: opened datasets that labels were made from.
        checked: a check of the file; None: there was none.

    """

    labelled: LabelledFile
    words: Sequence[str] = ()
    originals: Originals = field(default_factory=Originals)
    checked: Checked | None = None

    def of(self, names: Sequence[str], *, with_gallery: bool = True) -> list[LabelledView]:
        """Return the views of the episodes `names`. Raises DatasetError if labels cannot be read."""
        axes = principal_axes(self.labelled)
        picture = gallery(self.labelled, self.originals, self.words) if with_gallery else None
        return [self._view(name, axes, picture) for name in names]

    def _view(self, name: str, axes: Axes, picture: Image | None) -> LabelledView:
        labels, attrs = self.labelled.labels(name)
        found = frames_of(self.labelled, name, self.originals)
        return LabelledView(
            name=name,
            episode=found.episode,
            labels=labels,
            palette=code_palette(len(self.labelled.model.codebook)),
            words=self.words,
            fps=attrs.fps,
            provenance=attrs.model_dump(exclude_none=True),
            axes=axes,
            missing=found.note,
            gallery=picture,
            action_TA=self._actions(name, found, len(labels)),
            checked={} if self.checked is None else self.checked.properties(name),
        )

    def _actions(self, name: str, found: FoundFrames, frames: int) -> NDArray[np.float64] | None:
        """Return the robot's actions beside the frames; None where there are none that fit."""
        try:
            stored = None if found.episode is None else found.episode.actions
        except DatasetError:
            return None
        if stored is None or len(stored) != frames or stored.dtype.kind not in "fiub":
            return None
        return stored.reshape(frames, -1).astype(np.float64)


def labels_scene(view: LabelledView, codecs: Codecs = ANY_VIEWER, timeline: Timeline | None = None) -> Scene:
    """Return the scene of one episode; `timeline` says where its frames lie, None: by number and frame rate."""
    when = timeline or Clock(view.fps)

    def log(recording: rr.RecordingStream) -> None:
        if view.gallery is not None:
            picture = rr.EncodedImage(contents=encode_image(view.gallery, "png"), media_type="image/png")
            recording.log("gallery", picture, static=True)
        log_labels(recording, "labels", view, when)
        recording.log("provenance", rr.TextDocument(_provenance_text(view), media_type="text/markdown"), static=True)
        log_properties(recording, "provenance", view)
        if view.episode is not None:  # last: pictures that have to be coded take longest
            log_episode(recording, "camera", view.episode, when, codecs)

    return Scene(_blueprint(view), log)


def log_properties(recording: rr.RecordingStream, name: str, view: LabelledView) -> None:
    """Log the provenance of the labels as the recording's properties `name`, and what a check said as ``check``."""
    properties: dict[str, dict[str, Any]] = {name: dict(view.provenance), "check": dict(view.checked)}
    for key, values in properties.items():
        if values:
            recording.send_property(key, rr.AnyValues(**values))


def labels_recording(view: LabelledView, codecs: Codecs = ANY_VIEWER) -> Recording:
    """Return a recording of one labelled episode."""
    return Recording(APPLICATION, view.name, [labels_scene(view, codecs)], view.fps)


def log_labels(
    recording: rr.RecordingStream, entity: str, view: LabelledView, when: Timeline, actions: str = "actions"
) -> None:
    """Log what labels say below `entity`: codes, confidence, latents, flagged moments; and below `actions` those."""
    labels, valid = view.labels, np.flatnonzero(view.labels.valid)
    log_codes(recording, f"{entity}/code", labels.code, labels.valid, view.palette, when, view.words)
    confidence = labels.confidence[valid]
    log_series(recording, f"{entity}/confidence", ["confidence"], valid, confidence, when)
    tied = valid[confidence < TIE]
    dots = rr.SeriesPoints(names=["tie: two codes fit as well"], colors=[_RED], marker_sizes=[3])
    recording.log(f"{entity}/tie", dots, static=True)
    recording.send_columns(f"{entity}/tie", when.columns(tied), rr.Scalars.columns(scalars=labels.confidence[tied]))
    everywhere = np.arange(len(labels))
    log_series(recording, f"{entity}/valid", ["labelled"], everywhere, labels.valid.astype(np.float32), when)
    names = [f"z{dim}" for dim in range(labels.latent.shape[1])]
    log_series(recording, f"{entity}/latent", names, valid, labels.latent[valid], when)
    log_series(recording, f"{entity}/components", view.axes.names, valid, view.axes.of(labels.latent[valid]), when)
    _log_actions(recording, actions, view, when)
    _log_flags(recording, f"{entity}/flag", flagged(labels), when)


def log_codes(
    recording: rr.RecordingStream,
    entity: str,
    code_T: NDArray[np.uint16],
    valid_T: NDArray[np.bool_],
    palette: Sequence[int],
    when: Timeline,
    words: Sequence[str] = (),
) -> None:
    """Log codes as states in the palette's colours, and also as numbers where there is a transition."""
    states = [_NO_CODE, *map(str, range(len(palette)))]
    names = ["no transition", *(code_name(code, words) for code in range(len(palette)))]
    colors = [_GREY, *(color << 8 | 0xFF for color in palette)]
    recording.log(entity, rr.StateConfiguration(values=states, labels=names, colors=colors), static=True)
    changed_T = np.flatnonzero(np.diff(np.where(valid_T, code_T.astype(np.int64), -1), prepend=-2))
    changes = [str(code_T[index]) if valid_T[index] else _NO_CODE for index in changed_T]
    recording.send_columns(entity, when.columns(changed_T), rr.StateChange.columns(state=changes))
    valid_index = np.flatnonzero(valid_T)
    numbers = rr.Scalars.columns(scalars=code_T[valid_index])
    recording.send_columns(f"{entity}/number", when.columns(valid_index), numbers)


def log_series(
    recording: rr.RecordingStream,
    entity: str,
    names: Sequence[str],
    index_T: NDArray[np.int64],
    values: NDArray[Any],
    when: Timeline,
    first_color: int = 0,
) -> None:
    """Log numbers, (T,) or (T, n), at the frames `index_T` as lines with `names`.

    They have colours that are easy to tell apart, those of the codes from `first_color` on.
    """
    palette = code_palette(first_color + len(names))[first_color:]
    colors = np.array([color << 8 | 0xFF for color in palette], np.uint32)
    recording.log(entity, rr.SeriesLines(names=list(names), colors=colors), static=True)
    recording.send_columns(entity, when.columns(index_T), rr.Scalars.columns(scalars=values))


def code_name(code: int, words: Sequence[str]) -> str:
    """``3`` or, where somebody knows what it means, ``3 left``."""
    return f"{code} {words[code]}" if code < len(words) and words[code] else str(code)


def _log_actions(recording: rr.RecordingStream, entity: str, view: LabelledView, when: Timeline) -> None:
    """Log the robot's own actions and those that an alignment decoded, a component an entity."""
    valid, decoded = np.flatnonzero(view.labels.valid), view.labels.action
    if view.action_TA is not None:
        known = np.flatnonzero(np.isfinite(view.action_TA).all(axis=1))
        for part in range(view.action_TA.shape[1]):
            log_series(recording, f"{entity}/{part}/real", ["real"], known, view.action_TA[known, part], when)
    if decoded is not None:
        for part in range(decoded.shape[1]):
            log_series(recording, f"{entity}/{part}/decoded", ["decoded"], valid, decoded[valid, part], when, 1)


def _log_flags(recording: rr.RecordingStream, entity: str, flags: Sequence[Flag], when: Timeline) -> None:
    if flags:
        columns = rr.TextLog.columns(text=[f.what for f in flags], level=[f.level for f in flags])
        recording.send_columns(entity, when.columns(np.array([f.frame for f in flags])), columns)


def _provenance_text(view: LabelledView) -> str:
    told = {**view.provenance, **{f"check: {name}": value for name, value in view.checked.items()}}
    rows = "".join(f"| {name} | {value} |\n" for name, value in told.items())
    missing = f"{view.missing}\n\n" if view.missing else ""
    return f"# {view.name}\n\n{missing}| what | value |\n| --- | --- |\n{rows}"


def labels_rows(view: LabelledView, entity: str = "labels") -> tuple[list[rrb.View | rrb.Container], list[int]]:
    """Return the rows that show labels against time, and the share of the height of each."""
    rows: list[rrb.View | rrb.Container] = [
        rrb.StateTimelineView(origin=f"{entity}/code", name="latent action"),
        rrb.TimeSeriesView(
            contents=[f"{entity}/confidence", f"{entity}/tie"],
            name="confidence, ties in red",
        ),
        rrb.TimeSeriesView(origin=f"{entity}/components", name="latent, along the directions of most variance"),
    ]
    return rows, [1, 2, 3]


def _blueprint(view: LabelledView) -> rrb.Container:
    """Lay out an episode; titles hold for every episode, since the viewer gives all of an application one layout."""
    rows, shares = labels_rows(view)
    parts = _action_parts(view)
    if parts:
        names = view.action_names
        shown = [
            rrb.TimeSeriesView(origin=f"actions/{part}", name=names[part] if part < len(names) else f"action {part}")
            for part in range(min(parts, _MOST_ACTIONS))
        ]
        rows.append(rrb.Grid(*shown, name="the robot's actions"))
        shares.append(3)
    below: list[rrb.View] = [
        rrb.TextLogView(origin="labels/flag", name="flagged moments"),
        rrb.TextDocumentView(origin="provenance", name="provenance"),
    ]
    if view.gallery is not None:
        below.insert(0, rrb.Spatial2DView(origin="gallery", name="what each code looks like"))
    return rrb.Horizontal(
        rrb.Vertical(rrb.Spatial2DView(origin="camera", name="camera"), rrb.Tabs(*below, active_tab=0)),
        rrb.Vertical(*rows, row_shares=shares),
        column_shares=[2, 3],
        name="labels",
    )


def _action_parts(view: LabelledView) -> int:
    real = 0 if view.action_TA is None else view.action_TA.shape[1]
    return max(real, 0 if view.labels.action is None else view.labels.action.shape[1])


__all__ = [
    "APPLICATION",
    "LabelledView",
    "LabelledViews",
    "code_name",
    "labels_recording",
    "labels_rows",
    "labels_scene",
    "log_codes",
    "log_labels",
    "log_properties",
    "log_series",
]
