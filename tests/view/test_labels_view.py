"""Recordings of labelled episodes: valid files whose entities hold what was labelled."""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path

import av
import numpy as np
import pytest

pytest.importorskip("rerun", reason="looking at recordings is an extra")

import rerun.blueprint as rrb

from genie_core.data import LabelledFile, decode_image, open_dataset
from genie_core.data.frames.palette import code_palette
from genie_core.errors import GenieError
from genie_view import frame_log
from genie_view import recording as recording_module
from genie_view.clock import Clock
from genie_view.frame_log import Codecs
from genie_view.labels_view import LabelledView, LabelledViews, labels_recording, labels_scene
from genie_view.recording import Recording, write_recordings
from genie_view.simulation_view import SimulationView, Track, simulation_scene
from tests.factories.data import make_frames, make_robomimic, make_video
from tests.factories.labelled import label_file
from tests.support.recordings import RrdReader, column, entities, verify

pytestmark = pytest.mark.usefixtures("strict")


def view_of(labelled: LabelledFile, name: str = "demo_0") -> LabelledView:
    (view,) = LabelledViews(labelled).of([name])
    return view


def test_a_labelled_episode_reads_back_as_it_was_labelled(tmp_path: Path) -> None:
    labelled = label_file(make_robomimic(tmp_path / "lift.hdf5", episodes=2, frames=12), step=2)
    views = LabelledViews(labelled).of(labelled.episodes)
    path = tmp_path / "x.rrd"
    write_recordings(path, [labels_recording(view) for view in views])
    verify(path)
    assert len(RrdReader(path).recordings()) == 2
    for index, view in enumerate(views):
        labels = view.labels
        codes = column(path, "/labels/code/number", "Scalars:scalars", index=index)
        assert codes == {t: [float(labels.code[t])] for t in range(10)}
        states = column(path, "/labels/code", "StateChange:state", index=index)
        assert states == {t: [str(t % 8)] for t in range(10)} | {10: ["-"]}
        latent = column(path, "/labels/latent", "Scalars:scalars", index=index)
        np.testing.assert_array_equal([latent[t] for t in range(10)], labels.latent[:10])
        assert column(path, "/labels/valid", "Scalars:scalars", index=index)[11] == [0.0]
        assert len(column(path, "/camera", "EncodedImage:blob", index=index)) == 12
        (text,) = column(path, "/provenance", "TextDocument:text", index=index).values()
        assert labelled.model.bundle_id in str(text)


def test_one_layout_fits_every_episode(tmp_path: Path) -> None:
    """The viewer gives all recordings of an application one layout, so that a title must not say what one has."""
    labelled = label_file(make_robomimic(tmp_path / "lift.hdf5", episodes=2, frames=12))
    plain, tied = LabelledViews(labelled).of(labelled.episodes)
    never = replace(plain.labels, confidence=np.ones_like(plain.labels.confidence))
    often = replace(tied.labels, confidence=np.zeros_like(tied.labels.confidence))

    def titles(view: LabelledView) -> list[str]:
        def below(part: rrb.Container | rrb.View) -> list[str]:
            inner = part.contents if isinstance(part, rrb.Container) else ()
            return [str(part.name), *(title for of in inner for title in below(of))]

        return below(labels_scene(view).blueprint)

    found = titles(replace(plain, labels=never))
    assert found == titles(replace(tied, labels=often))
    assert "flagged moments" in found


def test_codes_have_the_colours_of_every_other_view(tmp_path: Path) -> None:
    labelled = label_file(make_robomimic(tmp_path / "lift.hdf5", episodes=1))
    path = tmp_path / "x.rrd"
    write_recordings(path, [labels_recording(view_of(labelled))])
    (colors,) = column(path, "/labels/code", "StateConfiguration:colors").values()
    assert colors[1:] == [color << 8 | 0xFF for color in code_palette(8)]  # type: ignore[index]


def test_properties_name_what_made_the_labels(tmp_path: Path) -> None:
    labelled = label_file(make_robomimic(tmp_path / "lift.hdf5", episodes=1))
    path = tmp_path / "x.rrd"
    write_recordings(path, [labels_recording(view_of(labelled))])
    assert column(path, "/__properties/provenance", "bundle_id") == {None: ["ab" * 32]}
    assert column(path, "/__properties", "RecordingInfo:name")[None] == ["demo_0"]


def test_an_mp4_is_shown_as_it_is_frame_by_frame(tmp_path: Path) -> None:
    video = make_video(tmp_path / "clip.mp4", frames=30, size=(144, 160))
    path = tmp_path / "x.rrd"
    write_recordings(path, [labels_recording(view_of(label_file(video)))])
    verify(path)
    (media,) = column(path, "/camera", "AssetVideo:media_type").values()
    assert media == ["video/mp4"]
    times = column(path, "/camera", "VideoFrameReference:timestamp")
    episode = open_dataset(video).episodes[0]
    assert [t[0] / 1e9 for t in times.values()] == pytest.approx(episode.times_s)
    (blob,) = column(path, "/camera", "AssetVideo:blob").values()
    (tmp_path / "again.mp4").write_bytes(bytes(blob[0]))
    np.testing.assert_array_equal(open_dataset(tmp_path / "again.mp4").episodes[0].frames(), episode.frames())


def test_a_viewer_without_h264_gets_pictures_at_full_size(tmp_path: Path) -> None:
    video = make_video(tmp_path / "clip.mp4", frames=70, size=(144, 160))
    path = tmp_path / "x.rrd"
    write_recordings(path, [labels_recording(view_of(label_file(video)), Codecs(h264=False))])
    assert set(map(str, column(path, "/camera", "EncodedImage:media_type").values())) == {"['image/jpeg']"}
    blobs = column(path, "/camera", "EncodedImage:blob")
    assert len(blobs) == 70
    assert decode_image(bytes(blobs[69][0])).shape == (144, 160, 3)


def test_many_large_frames_that_are_no_video_become_one(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(frame_log, "_MOST_PICTURE_BYTES", 1000)
    path = tmp_path / "x.rrd"
    write_recordings(path, [labels_recording(view_of(label_file(make_robomimic(tmp_path / "lift.hdf5", frames=70))))])
    verify(path)
    samples = column(path, "/camera", "VideoStream:sample")
    assert sorted(samples) == list(range(70))  # each in its place: none waits for a later one
    assert "/camera" in entities(path)
    assert not column(path, "/camera", "EncodedImage:blob")


def test_a_viewer_that_shows_h264_is_sent_that(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(frame_log, "_MOST_PICTURE_BYTES", 1000)
    path, labelled = tmp_path / "x.rrd", label_file(make_robomimic(tmp_path / "lift.hdf5", frames=70))
    view = view_of(labelled)
    write_recordings(path, [labels_recording(view, Codecs(quick=True))])
    verify(path)
    samples = column(path, "/camera", "VideoStream:sample")
    assert sorted(samples) == list(range(70))
    decoder = av.CodecContext.create("h264", "r")
    shown = [p for at in (*range(48, 70), None) for p in decoder.decode(at and av.Packet(bytes(samples[at][0])))]
    assert view.episode is not None
    assert len(shown) == 22  # the second key frame can be decoded by itself
    frames = np.stack([picture.to_ndarray(format="rgb24") for picture in shown])
    assert np.abs(frames.astype(int) - view.episode.frames(48, 70)).mean() < 6


def test_frames_of_no_known_rate_have_no_time(tmp_path: Path) -> None:
    assert {c.timeline_name() for c in Clock(None).columns(np.arange(2))} == {"frame"}
    view = replace(view_of(label_file(make_robomimic(tmp_path / "lift.hdf5"))), fps=None)
    write_recordings(tmp_path / "x.rrd", [Recording("genie labels", "clip", [labels_scene(view)], None)])
    verify(tmp_path / "x.rrd")


def test_ties_actions_flags_and_the_gallery_are_there(tmp_path: Path) -> None:
    view = view_of(label_file(make_robomimic(tmp_path / "lift.hdf5", episodes=1)))
    labels = view.labels
    confidence = labels.confidence.copy()
    confidence[3] = 0.0
    decoded = np.tile(np.arange(2, dtype=np.float32), (len(labels), 1))
    reason = np.zeros(len(labels), np.uint8)
    reason[5:7] = 3
    view = replace(view, labels=replace(labels, confidence=confidence, action=decoded, reason=reason))
    path = tmp_path / "x.rrd"
    write_recordings(path, [labels_recording(view)])
    assert list(column(path, "/labels/tie", "Scalars:scalars")) == [3]
    assert column(path, "/actions/1/decoded", "Scalars:scalars")[0] == [1.0]
    assert view.action_TA is not None
    assert column(path, "/actions/0/real", "Scalars:scalars")[2] == [view.action_TA[2, 0]]
    text = column(path, "/labels/flag", "TextLog:text")
    assert text[5] == ["no label: the picture stands still, 2 frames"]
    (gallery,) = column(path, "/gallery", "EncodedImage:blob").values()
    assert decode_image(bytes(gallery[0])).shape[0] > 8 * 96  # a row for each code


def test_labels_kept_without_frames_show_those_of_the_source_while_it_is_there(tmp_path: Path) -> None:
    source = make_robomimic(tmp_path / "lift.hdf5", episodes=2)
    labelled = label_file(source, frames="none")
    view = view_of(labelled, "demo_1")
    assert view.episode is not None
    np.testing.assert_array_equal(view.episode.frames(), make_frames(12, 64, 64, seed=1))
    source.unlink()
    view = view_of(labelled, "demo_1")
    assert view.episode is None
    assert "no longer exists" in str(view.missing)
    write_recordings(tmp_path / "x.rrd", [labels_recording(view)])
    assert not column(tmp_path / "x.rrd", "/camera", "EncodedImage:blob")


def test_labels_and_simulation_share_a_recording(tmp_path: Path) -> None:
    labelled = label_file(make_robomimic(tmp_path / "lift.hdf5", episodes=1))
    simulation = SimulationView(
        make_frames(1, 16, 16), [Track("real", make_frames(1, 16, 16, seed=1), [1])], code_palette(8), Clock(10.0)
    )
    scenes = [simulation_scene(simulation), labels_scene(view_of(labelled))]
    write_recordings(tmp_path / "x.rrd", [Recording("genie demo", "demo_0", scenes, 10.0)])
    verify(tmp_path / "x.rrd")


def test_a_file_that_cannot_be_merged_is_not_replaced(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    labelled = label_file(make_robomimic(tmp_path / "lift.hdf5", episodes=2))
    path = tmp_path / "x.rrd"
    path.write_bytes(b"before")
    monkeypatch.setattr(recording_module.sys, "executable", "/bin/false")
    with pytest.raises(GenieError, match="merging recordings failed"):
        write_recordings(path, [labels_recording(view) for view in LabelledViews(labelled).of(labelled.episodes)])
    assert path.read_bytes() == b"before"
    assert not list(tmp_path.glob(".genie-view-*"))
