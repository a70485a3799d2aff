"""Two labellings of the same episode side by side: of two bundles, or of two cameras."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
import rerun as rr
import rerun.blueprint as rrb

from genie_core.data import LabelledFile
from genie_core.data.frames.palette import code_palette
from genie_core.errors import DatasetError
from genie_core.statistics.translation import Translation, joint_counts, translate
from genie_view.clock import Clock
from genie_view.frame_log import ANY_VIEWER, Codecs, log_episode
from genie_view.labels_view import LabelledView, LabelledViews, log_codes, log_series
from genie_view.recording import Recording, Scene

_AGREES, _DIFFERS = 0x59A14FFF, 0xE15759FF
_GREY = 0x9C9C9C


@dataclass(frozen=True)
class Compared:
    """One episode with two labellings, and how the codes of the second translate into those of the first."""

    first: LabelledView
    second: LabelledView
    translation: Translation


def compare(first: LabelledViews, second: LabelledViews, names: Sequence[str]) -> list[Compared]:
    """Return the episodes `names` of both files, their codes matched over all of them.

    Raises DatasetError if an episode is not in both, or of another length.
    """
    joint = np.zeros((len(first.labelled.model.codebook), len(second.labelled.model.codebook)), np.int64)
    for name in names:
        _check_there(second.labelled, name, first.labelled)
        a, b = first.labelled.labels(name)[0], second.labelled.labels(name)[0]
        if len(a) != len(b):
            raise DatasetError(
                f"{second.labelled.path}: {name}: got {len(b)} frames, expected {len(a)} as in {first.labelled.path}: "
                "these are not the labels of the same episode"
            )
        both = a.valid & b.valid
        joint += joint_counts(a.code[both], b.code[both], *joint.shape)
    translation = translate(joint)
    pairs = zip(first.of(names, with_gallery=False), second.of(names, with_gallery=False), strict=True)
    return [Compared(a, b, translation) for a, b in pairs]


def _check_there(labelled: LabelledFile, name: str, other: LabelledFile) -> None:
    if name not in labelled.episodes:
        there = ", ".join(labelled.episodes[:8]) or "none"
        raise DatasetError(
            f"{labelled.path}: has no labelled episode `{name}` of {other.path}, expected the same in both: it "
            f"has {there}"
        )


def compare_recording(pair: Compared, codecs: Codecs = ANY_VIEWER) -> Recording:
    """Return a recording of one episode: both videos where cameras differ, both lanes, confidence, and agreement."""
    first, second = pair.first, pair.second
    when = Clock(first.fps)
    same_picture = first.provenance.get("camera") == second.provenance.get("camera")
    titles = [_title(view) for view in (first, second)]
    if titles[0] == titles[1]:
        titles[1] += " (second)"

    def log(recording: rr.RecordingStream) -> None:
        for side, view in (("first", first), ("second", second)):
            if view.episode is not None and (side == "first" or not same_picture):
                log_episode(recording, f"{side}/camera", view.episode, when, codecs)
        log_codes(recording, "first/code", first.labels.code, first.labels.valid, first.palette, when, first.words)
        colours = code_palette(len(first.palette))
        translated = [colours[old] if old >= 0 else _GREY for old in pair.translation.old_of_new_L.tolist()]
        meaning = [f"= {old}" if old >= 0 else "" for old in pair.translation.old_of_new_L.tolist()]
        log_codes(recording, "second/code", second.labels.code, second.labels.valid, translated, when, meaning)
        for side, view in (("first", first), ("second", second)):
            valid = np.flatnonzero(view.labels.valid)
            name, color = (titles[0], 0) if side == "first" else (titles[1], 1)
            log_series(
                recording, f"{side}/confidence", [name], valid, view.labels.confidence[valid], when, first_color=color
            )
        _log_agreement(recording, pair, when)

    videos = [rrb.Spatial2DView(origin="first/camera", name=titles[0])]
    if not same_picture:
        videos.append(rrb.Spatial2DView(origin="second/camera", name=titles[1]))
    lanes = rrb.Vertical(
        rrb.StateTimelineView(origin="first/code", name=titles[0]),
        rrb.StateTimelineView(origin="second/code", name=f"{titles[1]}, in the colours of the first's codes"),
        rrb.StateTimelineView(origin="agreement", name=f"codes agree: {pair.translation.agreement:.0%} of transitions"),
        rrb.TimeSeriesView(contents=["first/confidence", "second/confidence"], name="confidence"),
        row_shares=[1, 1, 1, 2],
    )
    blueprint = rrb.Horizontal(rrb.Vertical(*videos), lanes, column_shares=[2, 3], name="compare")
    return Recording("genie compare", first.name, [Scene(blueprint, log)], first.fps)


def _log_agreement(recording: rr.RecordingStream, pair: Compared, when: Clock) -> None:
    a, b = pair.first.labels, pair.second.labels
    both = a.valid & b.valid
    same = both & (pair.translation.of(b.code) == a.code)
    state_T = np.where(same, 1, np.where(both, 2, 0))
    changed_T = np.flatnonzero(np.diff(state_T, prepend=-1))
    words = np.array(["-", "agree", "differ"])
    colors = np.array([0x555555FF, _AGREES, _DIFFERS], np.uint32)
    config = rr.StateConfiguration(values=words.tolist(), labels=["no label", "agree", "differ"], colors=colors)
    recording.log("agreement", config, static=True)
    changes = rr.StateChange.columns(state=words[state_T[changed_T]].tolist())
    recording.send_columns("agreement", when.columns(changed_T), changes)


def _title(view: LabelledView) -> str:
    return f"{view.provenance['bundle_name']}, {view.provenance['camera']}"


__all__ = ["Compared", "compare", "compare_recording"]
