"""The measure of motion in a picture, and the agreement of directions."""

from __future__ import annotations

import math

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from numpy.typing import NDArray

from genie_core.evaluation.consistency import applied_codes, direction_agreement
from genie_core.evaluation.image_motion import image_motion


def blob_video(moves: list[tuple[float, float]], seed: int = 0, size: int = 64) -> NDArray[np.uint8]:
    """A soft bright blob over a textured, still background; `moves` are dx, dy."""
    y, x = np.mgrid[:size, :size]
    background = np.random.default_rng(seed).uniform(60, 100, (size, size))
    place, frames = np.array([size / 2, size / 2]), []
    for move in [(0.0, 0.0), *moves]:
        place = place + move
        blob = np.clip(1.5 - np.hypot(x - place[0], y - place[1]) / 8, 0, 1)
        frames.append(background * (1 - blob) + 240 * blob)
    return np.repeat(np.stack(frames)[..., None], 3, axis=-1).round().astype(np.uint8)


@given(st.floats(0, 2 * math.pi), st.floats(1.5, 4), st.integers(0, 5))
@settings(max_examples=30)
def test_motion_is_found_to_a_few_degrees(angle: float, length: float, seed: int) -> None:
    move = (length * math.cos(angle), length * math.sin(angle))
    found = image_motion(blob_video([move], seed))[0]
    assert np.dot(found, move) / (np.linalg.norm(found) * length) > math.cos(math.radians(12))
    assert np.linalg.norm(found) == pytest.approx(length, rel=0.4)


def test_nothing_moves_where_nothing_changes_or_only_noise_does() -> None:
    video = blob_video([(0, 0)] * 3)
    np.testing.assert_array_equal(image_motion(video), 0)
    noisy = video + np.random.default_rng(0).integers(0, 6, video.shape, dtype=np.uint8)
    np.testing.assert_array_equal(image_motion(noisy), 0)


def test_motions_add_up_along_a_video() -> None:
    found = image_motion(blob_video([(3, 0), (0, -3), (3, 0)])).sum(axis=0)
    np.testing.assert_allclose(found, [6, -3], atol=1.5)


def unit(degrees: float) -> tuple[float, float]:
    return 5 * math.cos(math.radians(degrees)), 5 * math.sin(math.radians(degrees))


def test_agreement_by_hand() -> None:
    """Code 0 goes right but for one start that goes left; code 1 never moves; code 2 always goes down."""
    motion = np.zeros((5, 3, 2))
    motion[:, 0] = [unit(0), unit(10), unit(-10), unit(5), unit(180)]
    motion[:, 1] = 0.1
    motion[:, 2] = unit(-90)
    agrees = direction_agreement(motion, 1.0)
    assert agrees[:, 0].tolist() == [1, 1, 1, 1, 0]
    assert np.isnan(agrees[:, 1]).all()
    assert agrees[:, 2].tolist() == [1, 1, 1, 1, 1]


def test_a_rollout_is_not_its_own_witness() -> None:
    """Two opposite directions agree with nothing, though each agrees with a mean that contains it."""
    motion = np.array([[unit(0)], [unit(180)]])
    assert direction_agreement(motion, 1.0).tolist() == [[0], [0]]
    assert np.isnan(direction_agreement(motion[:1], 1.0)).all()


def test_random_directions_agree_a_quarter_of_the_time() -> None:
    angles = np.random.default_rng(0).uniform(0, 2 * math.pi, (400, 20))
    motion = 5 * np.stack((np.cos(angles), np.sin(angles)), axis=-1)
    assert direction_agreement(motion, 1.0).mean() == pytest.approx(0.25, abs=0.03)


def test_of_a_large_codebook_the_frequent_codes_are_applied() -> None:
    assert applied_codes(np.array([3, 3, 1]), 8) == list(range(8))
    frequent = np.repeat(np.arange(100), np.r_[np.zeros(60, int), np.arange(1, 41)])
    assert applied_codes(frequent, 100) == list(range(84, 100))
