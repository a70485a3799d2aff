"""The view of a whole labelled file: use of codes, lengths, the worst episodes first, a map that leads to moments."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
import rerun as rr
import rerun.blueprint as rrb
from numpy.typing import NDArray

from genie_core.data import LabelledFile, encode_image, resize_frames
from genie_core.data.frames.palette import code_palette
from genie_core.data.labelled.originals import Originals
from genie_core.errors import DatasetError
from genie_view.labels_view import code_name
from genie_view.moments import TIE
from genie_view.principal import axes_of
from genie_view.reading import frames_of
from genie_view.recording import Recording, Scene

MOST_EPISODES = 1000
"""Number of episodes, evenly spread over the file, that are looked at."""
_MOST_POINTS = 5000
_MOST_MOMENTS = 150
_LISTED = 200
_PICTURE_PX = 256
_WHITE = 0xFFFFFFFF
_ROOM, _SPREAD = 10, 2.0
"""Times on the timeline that a moment has for itself, and how many times that the map is wide for each of them."""


@dataclass(frozen=True)
class EpisodeFacts:
    """One episode in numbers; shares are of its transitions, 0 to 1."""

    name: str
    frames: int
    labelled: int
    excluded: float
    tied: float
    top_code: float
    confidence: float

    @property
    def worth(self) -> float:
        """Share of its transitions that have a label which is no tie: episodes with the least are listed first."""
        return (1 - self.excluded) * (1 - self.tied)


@dataclass(frozen=True)
class DatasetView:
    """A labelled file to show; rows of `place_N2`, `code_N`, `episode_N` and `frame_N` are sampled transitions.

    Attributes:
        name: the file's.
        episodes: facts of the episodes that were looked at, in the file's order.
        total: number of episodes in the file.
        count_K: number of transitions with each code.
        place_N2: where each transition's latent lies on the map: along the two directions of most variance.
        share: share of the variance along these two.
        code_N: code of each.
        episode_N: index in `episodes` of each.
        frame_N: frame at which each starts.
        moments: rows that have a picture, in order.
        words: what each code means; empty strings, or nothing, where nobody knows.

    """

    name: str
    episodes: Sequence[EpisodeFacts]
    total: int
    count_K: NDArray[np.int64]
    place_N2: NDArray[np.float64]
    share: float
    code_N: NDArray[np.int64]
    episode_N: NDArray[np.int64]
    frame_N: NDArray[np.int64]
    moments: NDArray[np.int64]
    words: Sequence[str]

    @property
    def time_M(self) -> NDArray[np.int64]:
        """(M,) time of each moment on the timeline: its place in the first direction, with room for a click."""
        place_M = self.place_N2[self.moments, 0]
        if not len(place_M):
            return np.empty(0, np.int64)
        scale = _SPREAD * _ROOM * len(place_M) / max(float(np.ptp(place_M)), 1e-9)
        wanted_M = ((place_M - place_M.min()) * scale).astype(np.int64)
        time_M, free = np.empty(len(place_M), np.int64), 0
        for moment in np.argsort(place_M, kind="stable").tolist():
            time_M[moment] = max(free, wanted_M[moment])
            free = int(time_M[moment]) + _ROOM
        return time_M


def dataset_view(labelled: LabelledFile, words: Sequence[str] = ()) -> DatasetView:
    """Read the labels of the file, or of `MOST_EPISODES` of its episodes. Raises DatasetError."""
    names, codes = labelled.episodes, len(labelled.model.codebook)
    chosen = np.unique(np.linspace(0, len(names) - 1, min(MOST_EPISODES, len(names))).astype(int)).tolist()
    facts, latents, rows = [], [], []
    count_K = np.zeros(codes, np.int64)
    for index, number in enumerate(chosen):
        labels, _ = labelled.labels(names[number])
        frame_S = np.flatnonzero(labels.valid)
        own_K = np.bincount(labels.code[frame_S], minlength=codes)
        count_K += own_K
        excluded = 0 if labels.reason is None else int((labels.reason > 0).sum())
        confidence_S = labels.confidence[frame_S]
        facts.append(
            EpisodeFacts(
                names[number],
                len(labels),
                len(frame_S),
                excluded / max(1, excluded + len(frame_S)),
                float((confidence_S < TIE).mean()) if len(frame_S) else 1.0,
                float(own_K.max() / max(1, len(frame_S))),
                float(np.median(confidence_S)) if len(frame_S) else 0.0,
            )
        )
        kept = frame_S[:: 1 + len(frame_S) * len(chosen) // _MOST_POINTS]
        latents.append(labels.latent[kept])
        rows.append(np.stack([np.full(len(kept), index), kept, labels.code[kept]], axis=1).astype(np.int64))
    latent_ND, row_N3 = np.concatenate(latents).astype(np.float64), np.concatenate(rows)
    axes = axes_of(latent_ND, 2)
    place_N2 = np.zeros((len(latent_ND), 2))
    place_N2[:, : len(axes.axis_ND)] = axes.of(latent_ND.astype(np.float32))
    picked = np.random.default_rng(0).permutation(len(row_N3))[:_MOST_MOMENTS]
    return DatasetView(
        labelled.path.name,
        facts,
        len(names),
        count_K,
        place_N2,
        axes.share,
        row_N3[:, 2],
        row_N3[:, 0],
        row_N3[:, 1],
        np.sort(picked),
        words,
    )


def dataset_recording(view: DatasetView, labelled: LabelledFile) -> Recording:
    """Return a recording of the view, on the timeline ``moment``; its pictures are read from `labelled`."""

    def log(recording: rr.RecordingStream) -> None:
        for code, color in enumerate(code_palette(len(view.count_K))):  # a chart has one colour, so each bar is one
            bar = rr.BarChart(view.count_K[code : code + 1], color=color << 8 | 0xFF, abscissa=[code])
            recording.log(f"codes/{code}", bar, static=True)
        lengths = np.array([one.frames for one in view.episodes])
        recording.log("lengths", rr.BarChart(np.sort(lengths)[::-1]), static=True)
        recording.log("episodes", rr.TextDocument(_table(view), media_type="text/markdown"), static=True)
        _log_map(recording, view)
        _log_moments(recording, view, labelled)

    return Recording("genie dataset", view.name, [Scene(_blueprint(view), log)], None, timeline="moment", selects=True)


def _log_map(recording: rr.RecordingStream, view: DatasetView) -> None:
    colors = np.array([color << 8 | 0xFF for color in code_palette(len(view.count_K))], np.uint32)
    labels = [
        f"{view.episodes[view.episode_N[row]].name} frame {view.frame_N[row]}, code {view.code_N[row]}"
        for row in range(len(view.code_N))
    ]
    radii = [-1.5]  # negative: points on the screen, not of the map
    points = rr.Points2D(view.place_N2, colors=colors[view.code_N], labels=labels, radii=radii, show_labels=False)
    recording.log("map/transitions", points, static=True)
    moments = list(zip(view.time_M.tolist(), view.moments.tolist(), strict=True))
    for time, row in moments:  # each by itself: what is selected shows its own picture
        color, label = colors[view.code_N[row]], f"moment {time}: {labels[row]}"
        point = rr.Points2D(view.place_N2[row], colors=[color], labels=[label], radii=[-3.5], show_labels=False)
        recording.log(_point(time), point, static=True)
    # Rerun moves the time to where a plot is clicked on, but not to a point of a map: so this map is a plot, and a
    # point is in the middle of the times at which its moment is shown.
    for code, color in enumerate(colors.tolist()):
        own = sorted((time, -view.place_N2[row, 1]) for time, row in moments if view.code_N[row] == code)
        dots = rr.SeriesPoints(names=[code_name(code, view.words)], colors=[color], marker_sizes=[5])
        recording.log(f"moments/{code}", dots, static=True)
        when = rr.TimeColumn("moment", sequence=[time + _ROOM // 2 for time, _ in own])
        recording.send_columns(f"moments/{code}", [when], rr.Scalars.columns(scalars=[place for _, place in own]))


def _log_moments(recording: rr.RecordingStream, view: DatasetView, labelled: LabelledFile) -> None:
    originals = Originals()
    for time, row in sorted(zip(view.time_M.tolist(), view.moments.tolist(), strict=True)):
        facts, frame = view.episodes[view.episode_N[row]], int(view.frame_N[row])
        recording.set_time("moment", sequence=time)
        here = rr.Points2D(view.place_N2[row], colors=[np.uint32(_WHITE)], radii=[-7.0], draw_order=-1.0)
        recording.log("map/here", here)
        said = f"**{facts.name}**, frame {frame}: code {code_name(int(view.code_N[row]), view.words)}"
        recording.log("moment/where", rr.TextDocument(said, media_type="text/markdown"))
        recording.log("moment/list", rr.TextLog(said.replace("*", ""), level="INFO"))
        episode = frames_of(labelled, facts.name, originals).episode
        if episode is None:
            continue
        try:
            picture = episode.frames(frame, frame + 1)
        except DatasetError:
            continue
        height, width = picture.shape[1:3]
        if max(height, width) > _PICTURE_PX:
            scale = _PICTURE_PX / max(height, width)
            picture = resize_frames(picture, max(1, round(height * scale)), max(1, round(width * scale)))
        image = rr.EncodedImage(contents=encode_image(picture[0], "jpeg"), media_type="image/jpeg")
        recording.log("moment/picture", image)
        recording.log(_point(time), image, static=True)


def _point(time: int) -> str:
    return f"map/moments/{time}"


def _table(view: DatasetView) -> str:
    worst = sorted(view.episodes, key=lambda one: (one.worth, one.confidence))
    rows = "".join(
        f"| {one.name} | {one.frames} | {one.labelled} | {one.excluded:.0%} | {one.tied:.0%} | {one.top_code:.0%} | "
        f"{one.confidence:.2f} |\n"
        for one in worst[:_LISTED]
    )
    seen = f"{len(view.episodes):,} of {view.total:,} episodes, those with the fewest clear labels first"
    held = f"The map's two directions hold {view.share:.0%} of the latents' variance."
    return (
        f"{seen}. {held}\n\n| episode | frames | labelled | left out | ties | top code | confidence |\n"
        f"| --- | --- | --- | --- | --- | --- | --- |\n{rows}"
    )


def _bounds(view: DatasetView) -> rrb.VisualBounds2D:
    """Return all of the map, with a margin."""
    low, high = view.place_N2.min(axis=0, initial=0.0), view.place_N2.max(axis=0, initial=0.0)
    margin = np.maximum((high - low) / 20, 1e-3)
    low, high = low - margin, high + margin
    return rrb.VisualBounds2D(x_range=(float(low[0]), float(high[0])), y_range=(float(low[1]), float(high[1])))


def _all_times(view: DatasetView) -> rr.TimeRange:
    last = int(view.time_M.max(initial=0))
    absolute = rr.TimeRangeBoundary.absolute
    return rr.TimeRange(start=absolute(seq=-_ROOM), end=absolute(seq=last + 2 * _ROOM))


def _blueprint(view: DatasetView) -> rrb.Container:
    return rrb.Horizontal(
        rrb.Vertical(
            rrb.BarChartView(origin="codes", name="transitions with each code", plot_legend=rrb.Corner2D.RightTop),
            rrb.BarChartView(origin="lengths", name="frames of each episode, longest first"),
            rrb.TextDocumentView(origin="episodes", name="worst episodes first"),
            row_shares=[1, 1, 2],
        ),
        rrb.Vertical(
            rrb.TimeSeriesView(
                origin="moments",
                name="moments, along the two directions of most variance: a right click leads to one",
                plot_legend=rrb.Corner2D.RightTop,
                axis_x=rrb.archetypes.TimeAxis(view_range=_all_times(view)),
            ),
            rrb.Horizontal(
                rrb.Vertical(
                    rrb.Spatial2DView(origin="moment/picture", name="the moment"),
                    rrb.TextDocumentView(origin="moment/where", name="where it is"),
                    row_shares=[5, 1],
                ),
                rrb.Tabs(
                    rrb.Spatial2DView(
                        origin="map",
                        name="all latents",
                        visual_bounds=_bounds(view),
                        # Their pictures are for whoever selects one, not for the map.
                        overrides={
                            _point(time): rr.Points2D.from_fields().visualizer() for time in view.time_M.tolist()
                        },
                    ),
                    rrb.TextLogView(origin="moment/list", name="moments"),
                    active_tab=0,
                ),
            ),
            row_shares=[1, 1],
        ),
        column_shares=[2, 3],
        name="dataset",
    )


__all__ = ["DatasetView", "EpisodeFacts", "dataset_recording", "dataset_view"]
