"""Motion of training's kind is told by latents, other motion is not."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest
from numpy.typing import NDArray

from genie_core.bundles import shipped
from genie_core.checking.flow_left import flow_left
from genie_core.data import open_dataset, resize_frames
from genie_core.data.samples import sample_path
from genie_core.evaluation.metrics import Metric, Missing
from genie_core.inference import Labeller
from genie_core.models.bundle import load_bundle
from tests.factories.bundles import make_nano_bundle

FRAMES = 16


@pytest.fixture(scope="module")
def labeller() -> Labeller:
    return Labeller(load_bundle(shipped("motion")))


def left(labeller: Labeller, film_THWC: NDArray[np.uint8]) -> Metric:
    latent_SD = labeller.label(film_THWC, 1).latent[:-1]
    before = latent_SD.copy()
    found = flow_left(labeller.bundle, [film_THWC], [latent_SD], np.random.default_rng(0))
    np.testing.assert_array_equal(latent_SD, before)
    assert isinstance(found, Metric)
    return found


def test_a_robot_is_told_and_noise_is_not(labeller: Labeller) -> None:
    (episode, *_) = open_dataset(sample_path()).episodes
    robot = resize_frames(episode.frames(0, FRAMES), 64, 64)
    noise = np.random.default_rng(0).integers(0, 256, (FRAMES, 64, 64, 3), np.uint8)
    assert left(labeller, robot).value < 0.6
    assert left(labeller, noise).value > 0.7


def test_where_nothing_moves_or_the_model_reads_no_flow_it_says_so(labeller: Labeller, tmp_path: Path) -> None:
    still = np.full((3, 64, 64, 3), 90, np.uint8)
    rng = np.random.default_rng(0)
    found = flow_left(labeller.bundle, [still], [labeller.label(still, 1).latent[:-1]], rng)
    assert found == Missing("nothing moves in the pictures")
    nano = load_bundle(make_nano_bundle(tmp_path / "nano"))
    assert isinstance(flow_left(nano, [], [], rng), Missing)
