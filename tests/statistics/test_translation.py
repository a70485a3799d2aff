"""Codes of one codebook in terms of another, where the right answer is known."""

from __future__ import annotations

import numpy as np

from genie_core.statistics.translation import agreement_of, joint_counts, joint_of, translate


def test_another_order_is_found_and_agreement_is_what_was_left_alone() -> None:
    rng = np.random.default_rng(0)
    old_N = rng.integers(8, size=4000)
    order = rng.permutation(8)
    new_N = order[old_N]
    wrong = rng.random(4000) < 0.25
    new_N[wrong] = rng.integers(8, size=int(wrong.sum()))
    found = translate(joint_counts(old_N, new_N, 8, 8))
    np.testing.assert_array_equal(found.old_of_new_L[order], np.arange(8))
    same = (found.of(new_N) == old_N).mean()
    assert found.agreement == same
    assert abs(found.kappa - 0.75) < 0.03  # a quarter is drawn anew, an eighth of that by chance as before


def test_codebooks_of_other_sizes_leave_codes_over() -> None:
    old_N = np.array([0, 0, 1, 1, 2, 2])
    found = translate(joint_counts(old_N, np.array([1, 1, 0, 0, 0, 0]), 3, 2))
    assert found.old_of_new_L.tolist() in ([1, 0], [2, 0])
    found = translate(joint_counts(np.array([0, 0, 1, 1]), np.array([2, 2, 3, 3]), 2, 4))
    assert found.old_of_new_L[[2, 3]].tolist() == [0, 1]
    assert set(found.old_of_new_L[[0, 1]].tolist()) == {-1}
    assert found.agreement == 1.0


def test_agreement_of_episodes_is_counted_under_one_translation() -> None:
    joint = joint_of([(np.array([0, 1]), np.array([1, 0])), (np.array([0, 1]), np.array([1, 1]))], 2, 2)
    found = translate(joint.sum(axis=0))
    assert agreement_of(joint.astype(float), found.old_of_new_L).tolist() == [1.0, 0.5]
    assert np.isnan(translate(np.zeros((2, 2), np.int64)).agreement)
