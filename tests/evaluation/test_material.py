from __future__ import annotations

from pathlib import Path

import h5py
import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from genie_core.data import hold_out_episodes, open_dataset, resize_frames
from genie_core.errors import DatasetError
from genie_core.evaluation.material import (
    Film,
    Start,
    Take,
    by_take,
    choose_episodes,
    draw_starts,
    label_film,
    load_film,
    read_film,
)
from genie_core.evaluation.options import EvaluationOptions
from genie_core.inference import Labeller
from genie_core.models.bundle import load_bundle
from genie_core.models.presets import preset
from tests.factories.bundles import make_motion_bundle, make_nano_bundle
from tests.factories.data import make_frames, make_robomimic

NANO = preset("nano")


def take(frames: int) -> Take:
    film = Film("", np.zeros((frames, 4, 4, 3), np.uint8), None, None)
    return Take(film, np.zeros(frames - 1, np.int64), np.zeros((frames - 1, 2), np.float32))


@pytest.mark.parametrize("step", [1, 2, 3])
def test_a_film_is_the_episode_at_the_models_rate(tmp_path: Path, step: int) -> None:
    """Its labels are those that labelling the whole episode gives, its truth is what lies at those frames."""
    dataset = open_dataset(make_robomimic(tmp_path / "data.hdf5", frames=150, size=40, fps=10 * step))
    labeller = Labeller(load_bundle(make_nano_bundle(tmp_path / "nano")))
    episode = dataset.episodes[0]
    film = load_film(episode, NANO, EvaluationOptions())
    assert film is not None
    np.testing.assert_array_equal(film.frames_THWC, resize_frames(episode.frames()[::step], 32, 32))
    whole = labeller.label(episode.frames(), step, "strided")
    found = label_film(labeller, film)
    np.testing.assert_array_equal(found.code_S, whole.code[whole.valid])
    np.testing.assert_array_equal(found.latent_SD, whole.latent[whole.valid])
    position, actions = episode.array("obs/robot0_eef_pos"), episode.actions
    assert position is not None
    assert actions is not None
    assert film.displacement_SK is not None
    assert film.action_SA is not None
    np.testing.assert_allclose(film.displacement_SK[1], position[2 * step] - position[step])
    np.testing.assert_allclose(film.action_SA[1], actions[step : 2 * step].mean(axis=0))
    assert len(film.displacement_SK) == len(film.action_SA) == len(found.code_S) == len(film.frames_THWC) - 1


@pytest.mark.parametrize("frames", [150, 151])
def test_long_transitions_are_read_as_sums_where_video_is_labelled_so(tmp_path: Path, frames: int) -> None:
    """Of models that read motion, also when the frames in between are changed; the film itself is as ever."""
    path = make_robomimic(tmp_path / "data.hdf5", frames=frames, size=32, fps=30)
    episode = open_dataset(path).episodes[0]
    bundle = load_bundle(make_motion_bundle(tmp_path / "motion"))
    labeller, options = Labeller(bundle), EvaluationOptions(frames=40)
    film = load_film(episode, bundle.config, options)
    assert film is not None
    np.testing.assert_array_equal(film.frames_THWC, episode.frames()[:118:3])
    whole = labeller.label(episode.frames()[:118], 3, "strided")
    pairs = labeller.label(film.frames_THWC, 1)
    found = label_film(labeller, film)
    np.testing.assert_array_equal(found.latent_SD, whole.latent[whole.valid])
    np.testing.assert_array_equal(found.code_S, whole.code[whole.valid])
    assert not np.allclose(found.latent_SD, pairs.latent[pairs.valid], atol=0.05)
    backwards = read_film(labeller, film, lambda frames_FHWC: frames_FHWC[::-1])[1]
    np.testing.assert_allclose(backwards, -found.latent_SD[::-1], atol=1e-4)


def test_a_film_is_no_longer_than_asked_for(tmp_path: Path) -> None:
    episode = open_dataset(make_robomimic(tmp_path / "data.hdf5", frames=150, size=32, fps=20)).episodes[0]
    film = load_film(episode, NANO, EvaluationOptions(frames=40))
    assert film is not None
    np.testing.assert_array_equal(film.frames_THWC, episode.frames()[:79:2])


def test_an_episode_of_one_frame_at_the_models_rate_is_no_film(tmp_path: Path) -> None:
    episode = open_dataset(make_robomimic(tmp_path / "data.hdf5", frames=3, size=32, fps=30)).episodes[0]
    assert load_film(episode, NANO, EvaluationOptions()) is None


def test_held_out_episodes_are_chosen(tmp_path: Path) -> None:
    dataset = open_dataset(make_robomimic(tmp_path / "data.hdf5", episodes=5))
    subset, chosen, others = choose_episodes(dataset, EvaluationOptions())
    assert (subset, [e.name for e in chosen], len(others)) == ("valid", ["demo_4"], 4)
    subset, chosen, others = choose_episodes(dataset, EvaluationOptions(subset="all", episodes=3))
    assert (subset, len(chosen), len(others)) == ("all", 3, 2)
    assert not {e.name for e in chosen} & {e.name for e in others}
    with pytest.raises(DatasetError, match="no filter key `test`; there are: train, valid"):
        choose_episodes(dataset, EvaluationOptions(subset="test"))


def test_what_training_held_out_is_chosen(tmp_path: Path) -> None:
    dataset = open_dataset(make_robomimic(tmp_path / "data.hdf5", episodes=7, frames=4))
    training, held_out = hold_out_episodes(dataset.episodes, 0.4, 5)
    subset, chosen, others = choose_episodes(dataset, EvaluationOptions(hold_out=0.4, seed=5))
    assert (subset, chosen, others) == ("held out 0.4", held_out, training)
    with pytest.raises(DatasetError, match=r"subset all and hold_out 0\.4: choose one"):
        choose_episodes(dataset, EvaluationOptions(hold_out=0.4, subset="all"))


def test_truth_that_does_not_fit_is_refused(tmp_path: Path) -> None:
    path = make_robomimic(tmp_path / "data.hdf5")
    with h5py.File(path, "a") as file:
        del file["data/demo_0/obs/robot0_eef_pos"]
        file["data/demo_0/obs/robot0_eef_pos"] = np.zeros((5, 3))
        file["data/demo_1/obs/robot0_eef_pos"][0] = np.nan
    first, second = open_dataset(path).episodes
    with pytest.raises(DatasetError, match=r"expected a row of numbers for each of 12 frames"):
        load_film(first, NANO, EvaluationOptions())
    with pytest.raises(DatasetError, match="not finite"):
        load_film(second, NANO, EvaluationOptions())


@given(st.lists(st.integers(2, 12), min_size=1, max_size=5), st.integers(1, 30), st.integers(0, 8))
def test_starts_are_different_have_room_and_spread_evenly(lengths: list[int], count: int, after: int) -> None:
    starts = draw_starts([take(n) for n in lengths], count, after, np.random.default_rng(0))
    assert len(set(starts)) == len(starts) == min(count, sum(max(0, n - after) for n in lengths))
    assert all(s.frame + after < lengths[s.take] for s in starts)
    used = [sum(s.take == i for s in starts) for i in range(len(lengths))]
    for i, n in enumerate(lengths):
        assert used[i] >= min(max(used) - 1, max(0, n - after))


def test_starts_with_as_many_frames_after_as_wanted_come_first() -> None:
    """Of 12 and 4 frames, 5 wanted and 2 needed: the first 7 of the long one in any order, then what leaves most."""
    starts = draw_starts([take(12), take(4)], 20, 2, np.random.default_rng(0), wanted=5)
    long, short = ([s.frame for s in starts if s.take == i] for i in (0, 1))
    assert sorted(long[:7]) == list(range(7))
    assert long[7:] == [7, 8, 9]
    assert short == [0, 1]


def test_values_are_gathered_by_take() -> None:
    starts = [Start(2, 0), Start(0, 1), Start(2, 5)]
    groups = by_take(starts, [np.array([1.0]), np.array([2.0]), np.array([3.0])])
    assert sorted(g.tolist() for g in groups) == [[[1.0], [3.0]], [[2.0]]]


def test_make_frames_is_what_the_film_reads(tmp_path: Path) -> None:
    episode = open_dataset(make_robomimic(tmp_path / "data.hdf5", frames=8, size=32)).episodes[1]
    film = load_film(episode, NANO, EvaluationOptions())
    assert film is not None
    np.testing.assert_array_equal(film.frames_THWC, make_frames(8, 32, 32, seed=1))
