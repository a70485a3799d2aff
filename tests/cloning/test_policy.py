"""Policies and what they learn from, on a drawn task."""

from __future__ import annotations

import numpy as np
import pytest
import torch

from genie_core.cloning.policy import Policy, PolicyConfig, moments, train_policy
from tests.support.dot_task import Dots

QUICK = PolicyConfig(steps=250, batch=64, shift=0)


def videos(count, length=5, side=8, seed=0):
    rng = np.random.default_rng(seed)
    return [rng.integers(0, 256, (length, side, side, 3), dtype=np.uint8) for _ in range(count)]


def test_a_moment_is_the_last_frames_of_its_own_video():
    two = videos(2, length=3)
    seen = moments(two, frames=3)
    assert seen.seen_MF.tolist() == [[0, 0, 0], [0, 0, 1], [3, 3, 3], [3, 3, 4]]
    np.testing.assert_array_equal(seen.frames_NHWC[seen.seen_MF[3, -1]], two[1][1])


def test_taking_moments_takes_no_other_frames():
    seen = moments(videos(3), frames=2)
    rows = np.array([9, 1, 5])
    some = seen.take(rows)
    np.testing.assert_array_equal(some.frames_NHWC[some.seen_MF], seen.frames_NHWC[seen.seen_MF[rows]])
    assert len(some.frames_NHWC) == len(np.unique(seen.seen_MF[rows]))


def test_training_is_a_function_of_the_seed_and_leaves_torch_alone():
    seen, targets = moments(videos(4), 2), np.random.default_rng(0).normal(size=(16, 3))
    config = PolicyConfig(steps=5)
    state = torch.random.get_rng_state()
    some, same, other = (train_policy(seen, targets, "numbers", 3, config, seed).predict for seed in (1, 1, 2))
    assert torch.equal(torch.random.get_rng_state(), state)
    last = videos(1)[0][:2]
    np.testing.assert_array_equal(some(last), same(last))
    assert not np.array_equal(some(last), other(last))


def test_targets_of_another_number_are_refused():
    with pytest.raises(ValueError, match="16 moments and 3 targets"):
        train_policy(moments(videos(4), 2), np.zeros((3, 2)), "numbers", 2, QUICK, 0)


@pytest.fixture(scope="module")
def seen_and_wanted():
    """Pictures of the drawn task, and what the expert would do."""
    world, frames, wanted = Dots(0), [], []
    for number in range(500):
        world.reset(number)
        frames.append(np.stack([world.frame()] * 2))  # one moment each
        wanted.append(world.expert())
    return moments(frames, 1), np.array(wanted)


def held_out_predictions(policy: Policy):
    world, predicted, wanted = Dots(9), [], []
    for number in range(100):
        world.reset(number)
        predicted.append(policy.predict(world.frame()[None]))
        wanted.append(world.expert())
    return np.array(predicted), np.array(wanted)


def test_numbers_are_learnt_from_pictures(seen_and_wanted):
    seen, wanted = seen_and_wanted
    predicted, truth = held_out_predictions(train_policy(seen, wanted, "numbers", 2, QUICK, 0))
    assert 1 - np.square(predicted - truth).sum() / np.square(truth - truth.mean(0)).sum() > 0.7


def test_codes_are_learnt_from_pictures(seen_and_wanted):
    seen, wanted = seen_and_wanted
    codes = 2 * (wanted[:, 0] > 0) + (wanted[:, 1] > 0)
    share, truth = held_out_predictions(train_policy(seen, codes.astype(np.int64), "codes", 4, QUICK, 0))
    np.testing.assert_allclose(share.sum(axis=1), 1)
    assert (share.argmax(axis=1) == 2 * (truth[:, 0] > 0) + (truth[:, 1] > 0)).mean() > 0.7
