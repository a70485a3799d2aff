"""Frames of any size, where they are moved: motion is read at the model's size, and has no pixels of its own."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest
from numpy.typing import NDArray

from genie_core.bundles import shipped
from genie_core.data import resize_frames
from genie_core.errors import RequestError
from genie_core.inference import Labeller, Sampling, Simulator
from genie_core.models.bundle import load_bundle
from genie_core.models.config import MendingConfig, MoverConfig, RefinerConfig
from genie_core.models.mover import Moving
from tests.factories.bundles import make_motion_bundle, make_nano_bundle

SIZE = (48, 80)


def clip(frames: int = 3, seed: int = 0) -> NDArray[np.uint8]:
    return np.random.default_rng(seed).integers(256, size=(frames, 60, 100, 3), dtype=np.uint8)


def moves(tmp_path: Path, **mover: object) -> Simulator:
    config = MoverConfig.model_validate({"width": 8, "blocks": 1, **mover})
    return Simulator(load_bundle(make_motion_bundle(tmp_path / "moving", mover=config)))


def test_the_models_own_size_is_the_default_to_the_bit(tmp_path: Path) -> None:
    simulator = moves(tmp_path, steady_px=1.0)
    latents = list(np.random.default_rng(0).normal(size=(2, 6)).astype(np.float32))
    own = simulator.rollout(clip(), latents)
    assert own.shape == (2, 32, 32, 3)
    np.testing.assert_array_equal(simulator.rollout(clip(), latents, frame_size=(32, 32)), own)


@pytest.mark.parametrize("steady_px", [0.0, 1.0])
def test_branches_of_another_size_are_single_rollouts_and_take_the_memory_that_is_charged(
    tmp_path: Path, steady_px: float
) -> None:
    simulator = moves(tmp_path, steady_px=steady_px)
    latents = np.random.default_rng(0).normal(size=(3, 6)).astype(np.float32)
    sequences = [[0, 1, 2], list(latents), [0, latents[1], 3]]
    together = simulator.start(clip(), 3, frame_size=SIZE)
    frames = np.stack([together.step([s[t] for s in sequences]) for t in range(3)], axis=1)
    assert frames.shape == (3, 3, *SIZE, 3)
    for branch, actions in zip(frames, sequences, strict=True):
        np.testing.assert_array_equal(branch, simulator.rollout(clip(), actions, frame_size=SIZE))
    stream = together.branches[0]
    assert isinstance(stream.past, Moving)
    held = sum(tensor.nbytes for tensor in (*stream.past.tensors, stream.spoken_KD))
    assert simulator.state_bytes(SIZE) == held
    assert simulator.rollout_bytes(3, SIZE) > 6 * held


def test_no_motion_shows_the_last_frame_of_the_prompt(tmp_path: Path) -> None:
    simulator = moves(tmp_path, steady_px=1.0)
    still = [np.zeros(6, np.float32)] * 2
    wanted = resize_frames(clip()[-1:], *SIZE)
    np.testing.assert_array_equal(simulator.rollout(clip(), still, frame_size=SIZE), np.repeat(wanted, 2, axis=0))


def test_what_moves_at_the_models_size_moves_in_large_pictures_and_stays_sharp() -> None:
    """Four frames of a disc that moves by 2.5% of the picture each time, replayed by its latents."""
    bundle = load_bundle(shipped())
    labeller, simulator = Labeller(bundle), Simulator(bundle)
    height, width = 120, 200
    y, x = np.mgrid[:height, :width]
    video = np.repeat(np.random.default_rng(0).integers(40, 200, (1, height, width, 3), np.uint8), 9, axis=0)
    for t, frame in enumerate(video):
        frame[(y - 60) ** 2 + (x - 60 - 5 * t) ** 2 < 35**2] = 230
    latents = list(labeller.label(video, step=1).latent[4:8])
    rolled = simulator.rollout(video[:5], latents, frame_size=(height, width))
    small = simulator.rollout(video[:5], latents)
    assert rolled.shape == (4, height, width, 3)

    def error(frames: NDArray[np.uint8]) -> float:
        return float(np.square(frames.astype(float) - video[5:9]).mean())

    assert error(rolled) < 0.8 * error(np.repeat(video[4:5], 4, axis=0))
    assert error(rolled) < 0.5 * error(resize_frames(small, height, width))


@pytest.mark.parametrize(
    ("mover", "sampling", "size", "words"),
    [
        ({"refiner": RefinerConfig(width=8, blocks=1)}, None, SIZE, "draws frames of its own size alone"),
        ({"mending": MendingConfig(doubt_px=1e-6)}, Sampling(3), SIZE, "got 48 x 80 and 3 MaskGIT steps"),
        ({}, None, (7, 80), "at least 8 pixels a side"),
    ],
)
def test_other_sizes_are_refused_where_a_network_mends_frames(
    tmp_path: Path, mover: dict[str, object], sampling: Sampling | None, size: tuple[int, int], words: str
) -> None:
    with pytest.raises(RequestError, match="frame_size") as error:
        moves(tmp_path, **mover).start(clip(), 1, sampling, size)
    assert words in str(error.value)


def test_a_model_with_tokens_moves_frames_of_any_size_without_them(tmp_path: Path) -> None:
    simulator = moves(tmp_path, mending=MendingConfig(doubt_px=1e-6))
    assert simulator.rollout(clip(), [1], Sampling(0), SIZE).shape == (1, *SIZE, 3)


def test_a_model_that_draws_frames_has_one_size(tmp_path: Path) -> None:
    simulator = Simulator(load_bundle(make_nano_bundle(tmp_path / "nano")))
    assert simulator.rollout(clip(1), [1], Sampling(2), (32, 32)).shape == (1, 32, 32, 3)
    with pytest.raises(RequestError, match="expected 32 x 32"):
        simulator.rollout(clip(1), [1], Sampling(2), SIZE)
