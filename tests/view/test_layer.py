"""Labels as a layer: they have the identity and the times of somebody else's recording."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest

rr = pytest.importorskip("rerun", reason="looking at recordings is an extra")

from genie_cli import app  # noqa: E402
from genie_core.data import LabelledFile, encode_image  # noqa: E402
from genie_core.errors import GenieError  # noqa: E402
from genie_view.labels_view import LabelledViews  # noqa: E402
from genie_view.layer import find_target, write_layer  # noqa: E402
from tests.factories.data import make_frames, make_robomimic  # noqa: E402
from tests.factories.labelled import label_file  # noqa: E402
from tests.support.recordings import RrdReader, column, entities, verify  # noqa: E402

pytestmark = pytest.mark.usefixtures("strict")
FRAMES = 12


def make_theirs(path: Path, *, cameras: int = 1, frames: int = FRAMES) -> Path:
    """Somebody's recording: pictures on two timelines of their own, logged one by one, and a number."""
    recording = rr.RecordingStream("their app", recording_id="run-7")
    recording.save(path)
    for number in range(frames):
        recording.set_time("tick", sequence=100 + 3 * number)
        recording.set_time("stamp", timestamp=1_700_000_000.0 + 0.1 * number)
        for camera in range(cameras):
            picture = encode_image(make_frames(1, 16, 16, seed=number)[0])
            recording.log(f"robot/camera_{camera}", rr.EncodedImage(contents=picture, media_type="image/png"))
        recording.log("robot/battery", rr.Scalars(0.5))
    recording.disconnect()
    return path


@pytest.fixture
def labelled(tmp_path: Path) -> LabelledFile:
    return label_file(make_robomimic(tmp_path / "lift.hdf5", episodes=1, frames=FRAMES))


def test_a_layer_lies_over_the_recording_in_identity_and_time(tmp_path: Path, labelled: LabelledFile) -> None:
    theirs = make_theirs(tmp_path / "theirs.rrd")
    with pytest.raises(SystemExit) as ended:
        app.main(["view", str(labelled.path), "--layer", str(theirs), "--save", str(tmp_path / "layer.rrd")])
    assert ended.value.code == 0
    verify(tmp_path / "layer.rrd")
    (entry,) = RrdReader(tmp_path / "layer.rrd").recordings()
    assert (entry.application_id, entry.recording_id) == ("their app", "run-7")
    labels, _ = labelled.labels("demo_0")
    numbers = column(tmp_path / "layer.rrd", "/genie/code/number", "Scalars:scalars", timeline="tick")
    assert numbers == {100 + 3 * t: [float(labels.code[t])] for t in np.flatnonzero(labels.valid)}
    stamps = column(tmp_path / "layer.rrd", "/genie/confidence", "Scalars:scalars", timeline="stamp")
    assert [round(stamp.timestamp() - 1_700_000_000, 3) for stamp in stamps][:3] == [0.0, 0.1, 0.2]
    assert all(name.startswith(("/genie/", "/__properties")) for name in entities(tmp_path / "layer.rrd"))
    assert not RrdReader(tmp_path / "layer.rrd").blueprints()  # theirs stays as it is


def test_the_entity_is_asked_for_where_several_fit(tmp_path: Path) -> None:
    theirs = make_theirs(tmp_path / "theirs.rrd", cameras=2)
    with pytest.raises(GenieError, match=r"got 2 videos of 12 frames.*--entity: /robot/camera_0 of run-7"):
        find_target(theirs, FRAMES)
    assert find_target(theirs, FRAMES, "/robot/camera_1").entity == "/robot/camera_1"
    with pytest.raises(GenieError, match=r"expected a video of the 13 frames.*got /robot/camera_0 \(12 frames\)"):
        find_target(theirs, 13)


def test_a_recording_of_a_newer_rerun_and_none_are_named(tmp_path: Path) -> None:
    whole = make_theirs(tmp_path / "theirs.rrd").read_bytes()
    (tmp_path / "newer.rrd").write_bytes(b"RRF9" + whole[4:])
    with pytest.raises(GenieError, match=r"cannot read it: .*newer Rerun"):
        find_target(tmp_path / "newer.rrd", FRAMES)
    with pytest.raises(GenieError, match="no such recording"):
        find_target(tmp_path / "absent.rrd", FRAMES)


def test_a_failed_layer_leaves_the_file_before_it(tmp_path: Path, labelled: LabelledFile) -> None:
    target = find_target(make_theirs(tmp_path / "theirs.rrd"), FRAMES)
    (view,) = LabelledViews(labelled).of(["demo_0"], with_gallery=False)
    path = tmp_path / "absent" / "layer.rrd"
    with pytest.raises(GenieError, match="No such file"):
        write_layer(path, view, target)
