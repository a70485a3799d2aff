"""Labels of several views, fused: the mean of latents, coded as the model's own quantizer does."""

from dataclasses import replace

import numpy as np
import pytest
import torch

from genie_core.bundles import shipped
from genie_core.data import Labels
from genie_core.data.labelled.fusing import fuse, nearest
from genie_core.data.labelled.provenance import LabelModel
from genie_core.models.bundle import load_bundle
from tests.factories.labelled import make_labels

MODEL = LabelModel("ab" * 32, "fake", 10.0, np.random.default_rng(0).normal(size=(8, 4)).astype(np.float32))


def test_codes_and_confidences_are_those_of_the_models_own_quantizer() -> None:
    bundle = load_bundle(shipped())
    info, quantizer = bundle.info, bundle.genie.lam.quantizer
    rng = np.random.default_rng(0)
    lengths = 10 ** rng.uniform(-2, 2, (2000, 1))
    latents = (rng.normal(size=(2000, info.codebook.shape[1])) * lengths).astype(np.float32)
    code, confidence = nearest(latents, info.codebook, info.latent_radius)
    with torch.inference_mode():
        wanted = quantizer.nearest(torch.from_numpy(latents)).numpy()
        sure = quantizer.confidence(torch.from_numpy(latents)).numpy()
    clear = sure > 1e-5  # closer than that, single precision cannot tell
    np.testing.assert_array_equal(code[clear], wanted[clear])
    assert clear.mean() > 0.99
    np.testing.assert_allclose(confidence, sure, atol=1e-4)
    assert len(np.unique(code)) == len(info.codebook)


def test_fused_labels_are_the_mean_and_where_one_view_shows_nothing_there_is_none() -> None:
    front, wrist = make_labels(9), replace(make_labels(9), latent=make_labels(9).latent[::-1].copy())
    reason = np.zeros(9, np.uint8)
    reason[3] = 1
    valid = front.valid.copy()
    valid[3] = False
    wrist = replace(wrist, valid=valid, reason=reason)
    fused = fuse({"front": front, "wrist": wrist}, MODEL, 1.0)
    both = front.valid & valid
    expected = (front.latent.astype(np.float64) + wrist.latent) / 2
    np.testing.assert_array_equal(fused.latent, np.where(both[:, None], expected, 0).astype(np.float32))
    np.testing.assert_array_equal(fused.valid, both)
    assert fused.reason is not None
    assert fused.reason.tolist() == [0, 0, 0, 1, 0, 0, 0, 0, 0]
    assert not fused.code[~both].any()
    assert fused.views == {"front": front, "wrist": wrist}
    assert fused.part(2, 5).views["wrist"].start == 2  # type: ignore[index]


def test_a_view_fused_with_itself_keeps_its_latents_to_the_bit() -> None:
    view = make_labels(30)
    fused = fuse({"a": view, "b": view}, MODEL, 1.0)
    np.testing.assert_array_equal(fused.latent, view.latent)


def test_latents_of_unit_length_keep_it() -> None:
    view = make_labels(20)
    latent = view.latent / np.maximum(np.linalg.norm(view.latent, axis=1, keepdims=True), 1e-9)
    turned = replace(view, latent=np.roll(latent, 1, axis=1))
    fused = fuse({"a": replace(view, latent=latent), "b": turned}, MODEL, None)
    np.testing.assert_allclose(np.linalg.norm(fused.latent[fused.valid], axis=1), 1, atol=1e-5)


@pytest.mark.parametrize("views", [{"a": make_labels(5)}, {"a": make_labels(5), "b": make_labels(6)}])
def test_one_view_or_views_of_other_lengths_are_refused(views: dict[str, Labels]) -> None:
    with pytest.raises(ValueError, match="views: got"):
        fuse(views, MODEL, 1.0)
