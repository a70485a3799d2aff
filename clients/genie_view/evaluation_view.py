"""The view of an evaluation: its videos side by side, and its metrics as a table and as properties to query by."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

import rerun as rr
import rerun.blueprint as rrb

from genie_core.data import Frames
from genie_view.clock import Clock
from genie_view.recording import Recording, Scene
from genie_view.simulation_view import comparison_scene


def evaluation_recording(
    name: str,
    videos: Sequence[tuple[str, Mapping[str, Frames]]],
    metrics: Sequence[tuple[str, str, float, tuple[float, float] | None]],
    fps: float,
) -> Recording:
    """Return a recording of an evaluation, in tabs.

    Args:
        name: of the recording.
        videos: a title, and the tracks of each moment, (T, h, w, 3) uint8.
        metrics: key, title, value and 95% interval of each.
        fps: frames a second of the videos.

    """
    scenes = [comparison_scene(title, tracks, str(number), Clock(fps)) for number, (title, tracks) in enumerate(videos)]
    if metrics:
        scenes.append(_metrics_scene(metrics))
    return Recording("genie evaluation", name, scenes, fps)


def _metrics_scene(metrics: Sequence[tuple[str, str, float, tuple[float, float] | None]]) -> Scene:
    rows = "".join(
        f"| {title} | {value:.4g} | {'' if interval is None else f'{interval[0]:.4g} to {interval[1]:.4g}'} |\n"
        for _, title, value, interval in metrics
    )
    text = f"| figure | value | 95% interval |\n| --- | --- | --- |\n{rows}"

    def log(recording: rr.RecordingStream) -> None:
        recording.log("metrics", rr.TextDocument(text, media_type="text/markdown"), static=True)
        values: dict[str, Any] = {key: value for key, _, value, _ in metrics}
        recording.send_property("metrics", rr.AnyValues(**values))

    return Scene(rrb.Horizontal(rrb.TextDocumentView(origin="metrics", name="metrics"), name="metrics"), log)


__all__ = ["evaluation_recording"]
