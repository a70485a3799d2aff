from __future__ import annotations

import numpy as np
from hypothesis import given
from hypothesis import strategies as st

from genie_core.alignment.dictionary import Dictionary

CODES = 5
codes = st.lists(st.integers(0, CODES - 1), min_size=1, max_size=40)


def fill(seen: list[int]) -> tuple[Dictionary, np.ndarray, np.ndarray]:
    """A dictionary of labelled transitions whose actions are all different, their codes, and the actions."""
    code_N = np.array(seen)
    action_NA = np.stack([np.arange(len(seen)), -np.arange(len(seen))], axis=1).astype(np.float64)
    return Dictionary.fill(code_N, action_NA, CODES), code_N, action_NA


@given(codes, codes, st.integers(0, 2**64 - 1))
def test_a_draw_is_an_action_seen_under_that_code(seen: list[int], asked: list[int], seed: int) -> None:
    dictionary, code_N, action_NA = fill(seen)
    for code, action in zip(asked, dictionary.draw(np.array(asked), seed), strict=True):
        of_code = action_NA[code_N == code] if code in seen else action_NA
        assert (of_code == action).all(axis=1).any()


@given(codes, codes, st.integers(0, 2**64 - 1), st.data())
def test_chunks_draw_what_the_whole_draws(seen: list[int], asked: list[int], seed: int, data: st.DataObject) -> None:
    dictionary, asked_T = fill(seen)[0], np.array(asked)
    cut = data.draw(st.integers(0, len(asked)))
    parts = dictionary.draw(asked_T[:cut], seed), dictionary.draw(asked_T[cut:], seed, start=cut)
    np.testing.assert_array_equal(np.concatenate(parts), dictionary.draw(asked_T, seed))


@given(codes)
def test_the_mean_is_that_of_the_code_or_of_all(seen: list[int]) -> None:
    dictionary, code_N, action_NA = fill(seen)
    for code, mean in enumerate(dictionary.mean(np.arange(CODES))):
        np.testing.assert_allclose(mean, (action_NA[code_N == code] if code in seen else action_NA).mean(axis=0))


def test_draws_reach_every_action_of_a_code_alike() -> None:
    dictionary, _, action_NA = fill([1, 3, 1, 1, 3, 1])
    drawn = dictionary.draw(np.ones(4000, np.int64), seed=9)[:, 0]
    shares = [float((drawn == action).mean()) for action in action_NA[[0, 2, 3, 5], 0]]
    assert sum(shares) == 1
    assert np.abs(np.array(shares) - 0.25).max() < 0.03
    assert not np.array_equal(drawn, dictionary.draw(np.ones(4000, np.int64), seed=10)[:, 0])
