from __future__ import annotations

import os
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path

import numpy as np
import pytest

from genie_core.data import decode_image
from tests.factories.data import make_frames

rr = pytest.importorskip("rerun", reason="looking at recordings is an extra")

from genie_view.recording import write_recordings  # noqa: E402
from genie_view.views import comparisons_recording  # noqa: E402


@pytest.fixture(autouse=True)
def _strict() -> Iterator[None]:
    """Rerun raises where it would otherwise warn and drop data."""
    rr.set_strict_mode(True)
    yield
    rr.set_strict_mode(False)


def test_every_frame_of_every_track_can_be_read_back(tmp_path: Path) -> None:
    reading = pytest.importorskip("rerun.chunk", reason="an older Rerun does not read its own files")

    tracks = {"real": make_frames(5, 16, 24), "inferred": make_frames(5, 16, 24, seed=1)}
    path = tmp_path / "out.rrd"
    write_recordings(path, [comparisons_recording("nano", [("demo_3 frame 2", tracks)], 10)])
    assert [p.name for p in tmp_path.iterdir()] == ["out.rrd"]
    verify = [sys.executable, "-m", "rerun", "rrd", "verify", str(path)]
    subprocess.run(verify, env={**os.environ, "RERUN_ANALYTICS": "0"}, check=True, capture_output=True)
    reader, found = reading.RrdReader(path), {}
    for chunk in reader.stream(store=reader.recordings()[0]).to_chunks():
        batch = chunk.to_record_batch()
        if "EncodedImage:blob" in batch.schema.names:
            blobs = batch.column("EncodedImage:blob").to_pylist()
            found[chunk.entity_path] = np.stack([decode_image(bytes(b[0])) for b in blobs])
            assert batch.column("frame").to_pylist() == [0, 1, 2, 3, 4]
    assert found.keys() == {"/0/real", "/0/inferred"}
    for name, frames in tracks.items():
        np.testing.assert_array_equal(found[f"/0/{name}"], frames)
