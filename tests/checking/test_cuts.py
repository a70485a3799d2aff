"""Cuts of video are told from motion, flashes and blank pictures."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest

from genie_core.checking.codes import CheckedEpisode
from genie_core.checking.cuts import find_cuts, read_likeness
from genie_core.checking.mask import STRETCH, kept_transitions
from genie_core.data import Labels, open_dataset
from tests.factories.squares import make_squares


def test_a_fall_between_two_like_pairs_is_a_cut_and_steady_motion_or_a_flash_is_none() -> None:
    assert find_cuts(np.array([0.95, 0.94, 0.2, 0.93])).tolist() == [3]
    assert find_cuts(np.array([0.6, 0.55, 0.6, 0.57])).tolist() == []
    assert find_cuts(np.array([0.9, 0.1, 0.1, 0.9])).tolist() == []
    assert find_cuts(np.array([0.2, 0.9])).tolist() == [1]
    assert find_cuts(np.zeros(0)).tolist() == []


def test_likeness_is_of_pictures_and_does_not_depend_on_chunks(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    episode = open_dataset(make_squares(tmp_path / "a.hdf5", episodes=1)).episodes[0]
    whole = read_likeness(episode)
    assert whole.shape == (episode.num_frames - 1,)
    assert whole.min() > 0.5
    monkeypatch.setattr("genie_core.data.episode._CHUNK_FRAMES", 5)
    np.testing.assert_array_equal(read_likeness(episode), whole)


def test_static_stretches_are_left_out_and_short_stops_are_not() -> None:
    frames = 40
    latent = np.ones((frames, 2), np.float32)
    latent[5 : 5 + STRETCH] = 0
    latent[30 : 30 + STRETCH - 1] = 0
    labels = Labels(0, np.zeros(frames, np.uint16), latent, np.zeros(frames, np.float32), np.ones(frames, np.bool_))
    book = np.array([[1, 0], [0, 1], [2, 0]], np.float32)
    episode = CheckedEpisode.of("demo_0", labels, 2, book)
    kept = kept_transitions(episode, np.array([20]), delete=False)
    assert np.flatnonzero(~kept).tolist() == [*range(5, 5 + STRETCH), 18, 19]
    assert not kept_transitions(episode, np.array([20]), delete=True).any()
