from __future__ import annotations

import itertools

import numpy as np
import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st
from numpy.typing import NDArray

from genie_core.data import Labels
from genie_core.errors import RequestError
from genie_core.inference import BLOCK, Labeller
from genie_core.models.bundle import load_bundle
from genie_core.models.patches import to_pixels
from tests.factories.bundles import make_nano_bundle

FRAMES = 75


@pytest.fixture(scope="module")
def labeller(tmp_path_factory: pytest.TempPathFactory) -> Labeller:
    return Labeller(load_bundle(make_nano_bundle(tmp_path_factory.mktemp("bundles") / "nano")))


def video(frames: int = FRAMES, seed: int = 0, size: tuple[int, int] = (32, 32)) -> NDArray[np.uint8]:
    return np.random.default_rng(seed).integers(256, size=(frames, *size, 3), dtype=np.uint8)


def assert_same(a: Labels, b: Labels) -> None:
    assert a.start == b.start
    for name in ("code", "latent", "confidence", "valid"):
        np.testing.assert_array_equal(getattr(a, name), getattr(b, name))


@given(cuts=st.lists(st.integers(0, FRAMES), max_size=8), step=st.integers(1, 4), strided=st.booleans())
@settings(max_examples=25)
def test_labels_do_not_depend_on_how_frames_arrive(
    labeller: Labeller, cuts: list[int], step: int, strided: bool
) -> None:
    frames, density = video(), "strided" if strided else "dense"
    stream = labeller.stream(step, density)
    edges = [0, *sorted(cuts), FRAMES]
    parts = [stream.push(frames[a:b]) for a, b in itertools.pairwise(edges)]
    assert_same(Labels.concatenate([*parts, stream.finish()]), labeller.label(frames, step, density))


@pytest.mark.parametrize("threads", [1, 2])
def test_labels_do_not_depend_on_threads(labeller: Labeller, threads: int) -> None:
    before = torch.get_num_threads()
    reference = labeller.label(video(), 2)
    torch.set_num_threads(threads)
    try:
        assert_same(labeller.label(video(), 2), reference)
    finally:
        torch.set_num_threads(before)


@pytest.mark.parametrize("step", [1, 3])
def test_one_label_a_frame_and_the_last_step_are_invalid(labeller: Labeller, step: int) -> None:
    labels = labeller.label(video(), step)
    assert labels.start == 0
    assert len(labels) == FRAMES
    assert labels.valid.tolist() == [True] * (FRAMES - step) + [False] * step
    assert not labels.latent[~labels.valid].any()
    assert ((labels.confidence >= 0) & (labels.confidence <= 1)).all()
    np.testing.assert_allclose(np.linalg.norm(labels.latent[labels.valid], axis=1), 1, atol=1e-5)


def test_strided_labels_are_every_step_th_dense_label(labeller: Labeller) -> None:
    dense, strided = labeller.label(video(), 3), labeller.label(video(), 3, "strided")
    assert strided.valid.nonzero()[0].tolist() == list(range(0, FRAMES - 3, 3))
    np.testing.assert_array_equal(strided.code[strided.valid], dense.code[strided.valid])


def test_a_label_describes_the_frame_a_step_ahead(labeller: Labeller) -> None:
    changed = video()
    changed[40] = 255 - changed[40]
    step = 3
    a, b = labeller.label(video(), step), labeller.label(changed, step)
    moved = np.flatnonzero((a.latent != b.latent).any(axis=1))
    assert moved[0] == 40 - step
    assert set(moved % step) == {40 % step}


def test_the_stream_agrees_with_the_whole_clip(labeller: Labeller) -> None:
    frames = video()
    lam = labeller.bundle.genie.lam
    with torch.inference_mode():
        whole = lam.latents(to_pixels(torch.from_numpy(frames[None])))[0].numpy()
    np.testing.assert_allclose(labeller.label(frames, 1).latent[:-1], whole, atol=1e-5)


def test_codes_and_confidence_follow_from_the_latent(labeller: Labeller) -> None:
    labels = labeller.label(video(), 1)
    distance = np.linalg.norm(labels.latent[:, None] - labeller.bundle.codebook, axis=2)
    nearest = np.sort(distance, axis=1)
    at = labels.valid
    np.testing.assert_array_equal(labels.code[at], distance.argmin(axis=1)[at])
    margin = (nearest[:, 1] - nearest[:, 0]) / (nearest[:, 1] + nearest[:, 0])
    np.testing.assert_allclose(labels.confidence[at], margin[at], atol=1e-5)


def test_frames_of_any_size_are_resized_as_everywhere(labeller: Labeller) -> None:
    from genie_core.data import resize_frames

    large = video(20, size=(48, 80))
    assert_same(labeller.label(large, 1), labeller.label(resize_frames(large, 32, 32), 1))


def test_whoever_feeds_a_stream_has_resized_the_frames(labeller: Labeller) -> None:
    with pytest.raises(RequestError, match="got 48 x 80 pixels, expected the model's 32 x 32"):
        labeller.stream(1).feed(video(20, size=(48, 80)))


@pytest.mark.parametrize("count", [1, 2, BLOCK, BLOCK + 1])
def test_short_episodes(labeller: Labeller, count: int) -> None:
    labels = labeller.label(video(count), 1)
    assert len(labels) == count
    assert labels.valid.sum() == count - 1


def test_bad_arguments_are_named(labeller: Labeller) -> None:
    with pytest.raises(RequestError, match="step: got 0"):
        labeller.stream(0)
    with pytest.raises(RequestError, match="density"):
        labeller.stream(1, "sparse")  # type: ignore[arg-type]
    with pytest.raises(RequestError, match="uint8"):
        labeller.stream(1).push(np.zeros((2, 32, 32, 3), np.float32))  # type: ignore[arg-type]
