"""Parts of videos, cut without decoding: they hold the very frames, each at the time that is said."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest

from genie_core.data import Episode, ReadOptions, open_dataset
from genie_core.data.formats.video import excerpt as excerpt_module
from genie_core.data.formats.video.excerpt import mp4_excerpt
from genie_core.data.formats.video.reader import VideoReader
from tests.factories.data import make_video
from tests.factories.lerobot import make_lerobot_v30


def assert_holds(episode: Episode, tmp_path: Path) -> None:
    """The excerpt decodes to the episode's frames at its times."""
    assert episode.film is not None
    excerpt = mp4_excerpt(episode.film)
    assert excerpt is not None
    (tmp_path / "part.mp4").write_bytes(excerpt.mp4)
    part = VideoReader(tmp_path / "part.mp4")
    assert part.times_s is not None
    at = np.searchsorted(part.times_s + 1e-4, excerpt.time_T / 1e9)
    assert len(np.unique(at)) == episode.num_frames
    np.testing.assert_array_equal(part.read(0, part.num_frames)[at], episode.frames())


def test_an_episode_of_a_file_that_several_share(tmp_path: Path) -> None:
    dataset = open_dataset(make_lerobot_v30(tmp_path / "set"))
    sources = [episode.source for episode in dataset.episodes]
    assert len(set(sources)) < len(sources)
    for episode in dataset.episodes:
        assert_holds(episode, tmp_path)


def test_a_whole_file(tmp_path: Path) -> None:
    assert_holds(open_dataset(make_video(tmp_path / "clip.mp4", frames=40, size=(48, 64))).episodes[0], tmp_path)


def test_what_is_no_mp4_as_it_is_shown_is_not_cut(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    other = open_dataset(make_video(tmp_path / "clip.mkv", frames=8, size=(48, 64))).episodes[0]
    assert other.film is not None
    assert mp4_excerpt(other.film) is None
    clip = make_video(tmp_path / "clip.mp4", frames=8, size=(48, 64))
    assert open_dataset(clip, options=ReadOptions(rotate=90)).episodes[0].film is None
    whole = open_dataset(clip).episodes[0].film
    assert whole is not None
    monkeypatch.setattr(excerpt_module, "MOST_BYTES", 10)
    assert mp4_excerpt(whole) is None
