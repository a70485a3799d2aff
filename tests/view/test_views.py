"""Rerun recordings: valid files whose entities hold what was labelled or simulated."""

from __future__ import annotations

import os
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path

import numpy as np
import pytest
import rerun as rr

from genie_core.data.frames.palette import code_palette
from genie_core.errors import GenieError
from genie_view import recording as recording_module
from genie_view.recording import Clock, Recording, open_viewer, write_recordings
from genie_view.views import (
    SimulationView,
    Track,
    labelled_view,
    labels_recording,
    labels_scene,
    simulation_recording,
    simulation_scene,
)
from tests.factories.data import make_frames, make_robomimic, make_video
from tests.factories.labelled import label_file

RrdReader = pytest.importorskip("rerun.chunk", reason="an older Rerun does not read its own files").RrdReader


@pytest.fixture(autouse=True)
def _strict() -> Iterator[None]:
    """Rerun raises where it would otherwise warn and drop data."""
    rr.set_strict_mode(True)
    yield
    rr.set_strict_mode(False)


def verify(path: Path) -> None:
    done = subprocess.run(
        [sys.executable, "-m", "rerun", "rrd", "verify", str(path)],
        env={**os.environ, "RERUN_ANALYTICS": "0"},
        capture_output=True,
        text=True,
        check=False,
    )
    assert done.returncode == 0, done.stderr


def column(path: Path, entity: str, component: str, *, index: int = 0) -> dict[int | None, object]:
    """The values of one component of an entity in the file's recording number `index`, by frame (None: static)."""
    reader = RrdReader(path)
    values: dict[int | None, object] = {}
    for chunk in reader.stream(store=reader.recordings()[index]).to_chunks():
        batch = chunk.to_record_batch()
        if chunk.entity_path != entity or component not in batch.schema.names:
            continue
        frames = batch.column("frame").to_pylist() if "frame" in batch.schema.names else [None] * batch.num_rows
        values |= dict(zip(frames, batch.column(component).to_pylist(), strict=True))
    return values


def track(name: str, actions: list[int]) -> Track:
    return Track(name, make_frames(len(actions), 16, 16, seed=1), actions)


def test_a_labelled_episode_reads_back_as_it_was_labelled(tmp_path: Path) -> None:
    labelled = label_file(make_robomimic(tmp_path / "lift.hdf5", episodes=2, frames=12), step=2)
    views = [labelled_view(labelled, name) for name in labelled.episodes]
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


def test_codes_have_the_colours_of_every_other_view(tmp_path: Path) -> None:
    labelled = label_file(make_robomimic(tmp_path / "lift.hdf5", episodes=1))
    path = tmp_path / "x.rrd"
    write_recordings(path, [labels_recording(labelled_view(labelled, "demo_0"))])
    (colors,) = column(path, "/labels/code", "StateConfiguration:colors").values()
    assert colors[1:] == [color << 8 | 0xFF for color in code_palette(8)]  # type: ignore[index]


def test_properties_name_what_made_the_labels(tmp_path: Path) -> None:
    labelled = label_file(make_robomimic(tmp_path / "lift.hdf5", episodes=1))
    path = tmp_path / "x.rrd"
    write_recordings(path, [labels_recording(labelled_view(labelled, "demo_0"))])
    assert column(path, "/__properties/provenance", "bundle_id") == {None: ["ab" * 32]}
    assert column(path, "/__properties", "RecordingInfo:name")[None] == ["demo_0"]


def test_large_frames_are_jpeg_and_frames_of_no_known_rate_have_no_time(tmp_path: Path) -> None:
    video = make_video(tmp_path / "clip.mp4", frames=70, size=(144, 160))
    view = labelled_view(label_file(video), "demo_0")
    path = tmp_path / "x.rrd"
    write_recordings(path, [Recording("genie labels", "clip", [labels_scene(view)], None)])
    assert set(map(str, column(path, "/camera", "EncodedImage:media_type").values())) == {"['image/jpeg']"}
    assert {c.timeline_name() for c in Clock(None).columns(np.arange(2))} == {"frame"}


def test_labels_kept_without_frames_show_those_of_the_source_while_it_is_there(tmp_path: Path) -> None:
    source = make_robomimic(tmp_path / "lift.hdf5", episodes=2)
    labelled = label_file(source, frames="none")
    view = labelled_view(labelled, "demo_1")
    assert view.chunks is not None
    np.testing.assert_array_equal(np.concatenate(list(view.chunks())), make_frames(12, 64, 64, seed=1))
    source.unlink()
    view = labelled_view(labelled, "demo_1")
    assert view.chunks is None
    assert "no longer exists" in str(view.missing)
    write_recordings(tmp_path / "x.rrd", [labels_recording(view)])
    assert not column(tmp_path / "x.rrd", "/camera", "EncodedImage:blob")


def test_a_simulation_lies_beside_its_prompt_on_the_clock_of_its_source(tmp_path: Path) -> None:
    prompt, tracks = make_frames(2, 16, 16), [track("real", [3, 1]), track("action 5", [5, 5])]
    path = tmp_path / "x.rrd"
    view = SimulationView(prompt, tracks, code_palette(8), Clock(20.0, start=100, step=2))
    write_recordings(path, [simulation_recording("what if", view)])
    verify(path)
    assert sorted(column(path, "/prompt", "EncodedImage:blob")) == [98, 100]  # type: ignore[type-var]
    assert sorted(column(path, "/videos/real/frame", "EncodedImage:blob")) == [100, 102, 104]  # type: ignore[type-var]
    assert column(path, "/videos/real/action", "StateChange:state") == {100: ["3"], 102: ["1"], 104: ["-"]}
    assert column(path, "/videos/action_5/action/number", "Scalars:scalars") == {100: [5.0], 102: [5.0]}


def test_labels_and_simulation_share_a_recording(tmp_path: Path) -> None:
    labelled = label_file(make_robomimic(tmp_path / "lift.hdf5", episodes=1))
    simulation = SimulationView(make_frames(1, 16, 16), [track("real", [1])], code_palette(8), Clock(10.0))
    scenes = [simulation_scene(simulation), labels_scene(labelled_view(labelled, "demo_0"))]
    write_recordings(tmp_path / "x.rrd", [Recording("genie demo", "demo_0", scenes, 10.0)])
    verify(tmp_path / "x.rrd")


def test_a_file_that_cannot_be_merged_is_not_replaced(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    labelled = label_file(make_robomimic(tmp_path / "lift.hdf5", episodes=2))
    path = tmp_path / "x.rrd"
    path.write_bytes(b"before")
    monkeypatch.setattr(recording_module.sys, "executable", "/bin/false")
    with pytest.raises(GenieError, match="merging recordings failed"):
        write_recordings(path, [labels_recording(labelled_view(labelled, name)) for name in labelled.episodes])
    assert path.read_bytes() == b"before"
    assert not list(tmp_path.glob(".genie-view-*"))


def test_the_viewer_listens_on_loopback_and_reports_nothing(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    calls = []

    def run(command: list[str], **kwargs: object) -> subprocess.CompletedProcess[str]:
        calls.append((command, kwargs["env"]))
        return subprocess.CompletedProcess(command, 0, "", "")

    monkeypatch.setattr(subprocess, "run", run)
    open_viewer(tmp_path / "x.rrd")
    ((command, environment),) = calls
    assert command[command.index("--bind") + 1] == "127.0.0.1"
    assert environment["RERUN_ANALYTICS"] == "0"
