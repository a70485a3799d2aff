from __future__ import annotations

from collections.abc import Callable
from pathlib import Path

import numpy as np
import pytest

from genie_core.data import LabelWriter, ReadOptions, open_dataset, open_labelled, resize_frames
from genie_core.data.labelled.originals import Originals
from genie_view.reading import frames_of
from tests.factories.data import make_aloha, make_label_model, make_libero, make_nested, make_video
from tests.factories.labelled import make_labels
from tests.factories.lerobot import make_lerobot_v21, make_lerobot_v30


@pytest.mark.parametrize("make", [make_lerobot_v21, make_lerobot_v30])
def test_labels_without_frames_find_them_in_their_lerobot_dataset(tmp_path: Path, make: Callable[[Path], Path]) -> None:
    dataset = open_dataset(make(tmp_path / "set"))
    writer = LabelWriter(tmp_path / "set.labelled.hdf5", dataset, make_label_model(), frames="none")
    for episode in dataset.episodes:
        writer.add(episode, make_labels(episode.num_frames))
    labelled = open_labelled(writer.finish())
    originals = Originals()
    for name, episode in zip(labelled.episodes, dataset.episodes, strict=True):
        found = frames_of(labelled, name, originals).episode
        assert found is not None
        np.testing.assert_array_equal(found.frames(), episode.frames())


def test_frames_are_found_again_the_way_they_were_labelled(tmp_path: Path) -> None:
    (tmp_path / "task").mkdir()
    for number in (0, 7):
        make_aloha(tmp_path / "task" / f"episode_{number}.hdf5", seed=number, cameras=("high", "low"))
    make_libero(tmp_path / "pick_demo.hdf5")
    make_nested(tmp_path / "runs.h5")
    (tmp_path / "out").mkdir()
    nested = ReadOptions(fps=10, frames_path="trajectories/*/images/front", actions_path="trajectories/*/robot/command")
    for name, options in {
        "task": ReadOptions(camera="low", fps=50, colour="bgr", flip=True),
        "pick_demo.hdf5": ReadOptions(),
        "runs.h5": nested,
    }.items():
        dataset = open_dataset(tmp_path / name, options=options)
        writer = LabelWriter(tmp_path / "out" / f"{name}.hdf5", dataset, make_label_model(), frames="none")
        for episode in dataset.episodes:
            writer.add(episode, make_labels(episode.num_frames, writer.step(episode).step))
        labelled = open_labelled(writer.finish())
        originals = Originals()
        for demo, episode in zip(labelled.episodes, dataset.episodes, strict=True):
            found = frames_of(labelled, demo, originals).episode
            assert found is not None
            np.testing.assert_array_equal(found.frames(), episode.frames())
            np.testing.assert_array_equal(found.actions, episode.actions)


def test_a_video_is_shown_at_its_own_size_until_it_is_gone_or_another(tmp_path: Path) -> None:
    video = make_video(tmp_path / "clip.mp4", frames=12, size=(96, 128))
    dataset = open_dataset(video)
    writer = LabelWriter(tmp_path / "x.labelled.hdf5", dataset, make_label_model())
    with writer.episode(dataset.episodes[0]) as part:
        part.add_frames(resize_frames(dataset.episodes[0].frames(), 64, 64))
        part.add_labels(make_labels(12))
    labelled = open_labelled(writer.finish())
    found = frames_of(labelled, "demo_0", Originals())
    assert (found.episode and found.episode.height, found.note) == (96, None)
    make_video(video, frames=9, size=(96, 128))
    found = frames_of(labelled, "demo_0", Originals())
    assert found.episode is not None
    assert found.episode.height == 64
    assert "expected 12" in str(found.note)
    video.unlink()
    assert "at the model's size" in str(frames_of(labelled, "demo_0", Originals()).note)
