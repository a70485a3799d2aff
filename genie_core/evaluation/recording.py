"""The videos of an evaluation as a Rerun recording, where Rerun (the extra `view`) is installed."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path

import numpy as np

from genie_core.data import encode_image
from genie_core.data.storage.atomic import new_file
from genie_core.evaluation.figures import Video

APPLICATION = "genie evaluation"


def write_recording(path: Path, videos: Sequence[Video], fps: float) -> bool:
    """Write all videos to one .rrd file, a tab each, their tracks side by side; whether Rerun is there to do it.

    Args:
        path: the file; it appears when it is complete.
        videos: without any, nothing is written.
        fps: frames a second to play them at.

    """
    try:
        import rerun as rr
        import rerun.blueprint as rrb
    except ModuleNotFoundError:
        return False
    if not videos:
        return True
    tabs = [
        rrb.Horizontal(*(rrb.Spatial2DView(origin=f"{i}/{name}", name=name) for name in video.tracks), name=video.name)
        for i, video in enumerate(videos)
    ]
    blueprint = rrb.Blueprint(rrb.Tabs(*tabs), rrb.TimePanel(timeline="frame", fps=fps), collapse_panels=True)
    with new_file(path, suffix=".rrd") as temporary:
        stream = rr.RecordingStream(APPLICATION)
        stream.save(temporary, default_blueprint=blueprint)
        for i, video in enumerate(videos):
            for name, frames_THWC in video.tracks.items():
                stream.send_columns(
                    f"{i}/{name}",
                    [rr.TimeColumn("frame", sequence=np.arange(len(frames_THWC)))],
                    rr.EncodedImage.columns(
                        blob=[encode_image(frame_HWC) for frame_HWC in frames_THWC],
                        media_type=["image/png"] * len(frames_THWC),
                    ),
                )
        stream.disconnect()
    return True


__all__ = ["APPLICATION", "write_recording"]
