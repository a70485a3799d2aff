"""Labels of long transitions as sums of those of short ones, of a model whose latents add up."""

from __future__ import annotations

import itertools

import numpy as np
import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st

from genie_core.data import Labels
from genie_core.inference import BLOCK, Labeller, part_length
from genie_core.models.bundle import load_bundle
from genie_core.models.presets import preset
from tests.factories.bundles import make_motion_bundle
from tests.factories.data import make_frames

FRAMES = 2 * BLOCK + 9


@pytest.fixture(scope="module")
def labeller(tmp_path_factory: pytest.TempPathFactory) -> Labeller:
    return Labeller(load_bundle(make_motion_bundle(tmp_path_factory.mktemp("bundles") / "motion")))


@pytest.mark.parametrize("step", [2, 5, 40])
def test_the_label_of_a_long_transition_is_the_sum_of_those_from_frame_to_frame(labeller: Labeller, step: int) -> None:
    frames = make_frames(FRAMES, 32, 32)
    single, labels = labeller.label(frames, 1, feature=True), labeller.label(frames, step, feature=True)
    assert labels.valid.tolist() == [True] * (FRAMES - step) + [False] * step
    for name in ("latent", "feature"):
        of, parts = getattr(labels, name), getattr(single, name)
        total = sum(parts[row : row + FRAMES - step].astype(np.float64) for row in range(step))
        np.testing.assert_allclose(of[: FRAMES - step], total, rtol=1e-4, atol=1e-5)
        assert not of[FRAMES - step :].any()


def test_latents_without_length_do_not_add_up(labeller: Labeller) -> None:
    assert part_length(preset("motion").lam, 9) == labeller.part_length(9) == 1
    assert part_length(preset("nano").lam, 9) == 9


def test_codes_of_sums_are_those_of_the_models_own_quantizers(labeller: Labeller) -> None:
    labels, lam = labeller.label(make_frames(FRAMES, 32, 32), 4), labeller.bundle.genie.lam
    latent_TD = torch.from_numpy(labels.latent[labels.valid])
    assert lam.fine_quantizer is not None
    assert labels.fine_code is not None
    np.testing.assert_array_equal(labels.code[labels.valid], lam.quantizer.nearest(latent_TD).numpy())
    np.testing.assert_array_equal(labels.fine_code[labels.valid], lam.fine_quantizer.nearest(latent_TD).numpy())
    confidence_T = lam.quantizer.confidence(latent_TD).numpy()
    np.testing.assert_allclose(labels.confidence[labels.valid], confidence_T, atol=1e-5)


@given(cuts=st.lists(st.integers(0, FRAMES), max_size=6), step=st.sampled_from([2, 4, 6, 9]), strided=st.booleans())
@settings(max_examples=12)
def test_sums_do_not_depend_on_how_frames_arrive(labeller: Labeller, cuts: list[int], step: int, strided: bool) -> None:
    frames, density = make_frames(FRAMES, 32, 32), "strided" if strided else "dense"
    stream = labeller.stream(step, density)
    parts = [stream.push(frames[a:b]) for a, b in itertools.pairwise([0, *sorted(cuts), FRAMES])]
    joined, whole = Labels.concatenate([*parts, stream.finish()]), labeller.label(frames, step, density)
    for name in ("code", "latent", "confidence", "valid", "fine_code"):
        np.testing.assert_array_equal(getattr(joined, name), getattr(whole, name))
    assert len(joined) == FRAMES


def test_strided_sums_are_every_step_th_dense_one(labeller: Labeller) -> None:
    frames = make_frames(FRAMES, 32, 32)
    dense, strided = labeller.label(frames, 6), labeller.label(frames, 6, "strided")
    assert strided.valid.nonzero()[0].tolist() == list(range(0, FRAMES - 6, 6))
    np.testing.assert_array_equal(strided.latent[strided.valid], dense.latent[strided.valid])
    np.testing.assert_array_equal(strided.code[strided.valid], dense.code[strided.valid])


def test_an_episode_no_longer_than_a_transition_has_no_label(labeller: Labeller) -> None:
    for count in (0, 1, 3, 6):
        labels = labeller.label(make_frames(count, 32, 32), 6)
        assert len(labels) == count
        assert not labels.valid.any()


def test_a_picture_that_stands_still_between_its_ends_is_still(labeller: Labeller) -> None:
    frames = np.repeat(make_frames(1, 32, 32), FRAMES, axis=0)
    assert not labeller.label(frames, 6).latent.any()
