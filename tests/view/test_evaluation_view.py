from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest

from genie_core.data import decode_image
from tests.factories.data import make_frames

pytest.importorskip("rerun", reason="looking at recordings is an extra")

from genie_view.evaluation_view import evaluation_recording
from genie_view.recording import write_recordings
from tests.support.recordings import column, verify


@pytest.mark.usefixtures("strict")
def test_every_frame_and_every_metric_can_be_read_back(tmp_path: Path) -> None:
    tracks = {"real": make_frames(5, 16, 24), "inferred": make_frames(5, 16, 24, seed=1)}
    metrics = [("video.psnr", "PSNR", 21.5, (20.0, 23.0)), ("codes.perplexity", "Perplexity", 6.25, None)]
    path = tmp_path / "out.rrd"
    write_recordings(path, [evaluation_recording("nano", [("demo_3 frame 2", tracks)], metrics, 10)])
    assert [p.name for p in tmp_path.iterdir()] == ["out.rrd"]
    verify(path)
    for name, frames in tracks.items():
        found = column(path, f"/0/{name}", "EncodedImage:blob")
        assert list(found) == [0, 1, 2, 3, 4]
        np.testing.assert_array_equal([decode_image(bytes(blob[0])) for blob in found.values()], frames)
    (text,) = column(path, "/metrics", "TextDocument:text").values()
    assert "| PSNR | 21.5 | 20 to 23 |" in str(text)
    assert column(path, "/__properties/metrics", "video.psnr") == {None: [21.5]}
