"""Distances of real and simulated clips, on an untrained bundle and a stand-in for I3D called as I3D is."""

from __future__ import annotations

import re
from pathlib import Path

import numpy as np
import pytest
import torch
from torch import Tensor, nn

from genie_core.errors import ModelError
from genie_core.evaluation.i3d import LEAST_FRAMES, load_i3d
from genie_core.evaluation.material import Film, Start, Study, label_film
from genie_core.evaluation.metrics import Findings, Metric, Missing
from genie_core.evaluation.options import EvaluationOptions
from genie_core.evaluation.rollouts import LENGTH, rollout_findings
from genie_core.evaluation.video_distance import (
    CLIP_FRAMES,
    COMPARED,
    FVD,
    KEYS,
    OWN,
    ClipReader,
    clip_reader,
    distance_findings,
    tokenizer_features,
)
from genie_core.inference import Labeller, Sampling
from genie_core.models.bundle import Bundle, load_bundle
from genie_core.models.patches import to_pixels
from tests.factories.bundles import make_nano_bundle
from tests.factories.data import make_frames
from tests.factories.i3d import StandIn, make_i3d, save_network

CPU = torch.device("cpu")


class NoKeywords(nn.Module):
    def forward(self, x: Tensor) -> Tensor:
        return x


class NotFinite(nn.Module):
    def forward(self, x: Tensor, rescale: bool = False, resize: bool = False, return_features: bool = False) -> Tensor:
        return torch.full([x.size(0), 400], float("nan"))


def rng(seed: int = 0) -> np.random.Generator:
    return np.random.default_rng(seed)


@pytest.fixture(scope="module")
def bundle(tmp_path_factory: pytest.TempPathFactory) -> Bundle:
    return load_bundle(make_nano_bundle(tmp_path_factory.mktemp("bundles") / "nano"))


def study(bundle: Bundle, lengths: list[int], i3d: Path | None = None, rollouts: int = 4) -> Study:
    labeller = Labeller(bundle)
    films = [Film(f"demo_{i}", make_frames(n, 32, 32, seed=i), None, None) for i, n in enumerate(lengths)]
    options = EvaluationOptions(rollouts=rollouts, i3d=i3d)
    sampling = Sampling(maskgit_steps=1, temperature=1.0)
    takes = [label_film(labeller, film) for film in films]
    return Study(labeller, takes, [], [], options, sampling, lambda part, done, total: None)


def metric(findings: Findings, name: str) -> Metric:
    found = findings.metrics[name]
    assert isinstance(found, Metric)
    return found


def test_i3d_is_called_with_colours_from_0_to_255(tmp_path: Path) -> None:
    i3d = load_i3d(make_i3d(tmp_path / "i3d.pt"), CPU)
    clips = np.zeros((2, LEAST_FRAMES, 16, 16, 3), np.uint8)
    clips[1] = [255, 51, 0]
    found = i3d.features(clips)
    assert (found.shape, found.dtype) == ((2, 400), np.float64)
    np.testing.assert_allclose(found[:, :6], [[-1, -1, -1, 0, 0, 0], [1, -0.6, -1, 0, 0, 0]], atol=1e-6)


@pytest.mark.parametrize(
    ("make", "message"),
    [
        (lambda path: None, "no such file, expected I3D's weights as TorchScript (i3d_torchscript.pt)"),
        (lambda path: path.write_bytes(b"no archive"), "is not TorchScript"),
        (lambda path: torch.save({"weight": torch.zeros(2)}, path), "is not TorchScript"),
        (
            lambda path: save_network(StandIn(numbers=8), path),
            "is not I3D: its features are of shape (1, 8), expected (1, 400)",
        ),
        (
            lambda path: save_network(NoKeywords(), path),
            "cannot be called as I3D is, with (video, rescale, resize, return_",
        ),
        (lambda path: save_network(NotFinite(), path), "is not I3D: its features are not finite"),
    ],
)
def test_a_file_that_is_not_i3d_is_named(tmp_path: Path, make: object, message: str) -> None:
    assert callable(make)
    make(tmp_path / "weights.pt")
    with pytest.raises(ModelError, match=re.escape(message)) as caught:
        load_i3d(tmp_path / "weights.pt", CPU)
    assert str(tmp_path / "weights.pt") in str(caught.value)
    assert "\n" not in str(caught.value)


def test_both_distances_of_one_set_of_rollouts(bundle: Bundle, tmp_path: Path) -> None:
    """17 frames an episode leave 16 after the one start; the tokenizer is untrained, copying is not."""
    i3d = make_i3d(tmp_path / "i3d.pt")
    found = rollout_findings(study(bundle, [17, 17, 17, 17], i3d), rng())
    assert metric(found, CLIP_FRAMES) == Metric(value=LENGTH, ci95=None, n=4, episodes=4)
    for name in KEYS[1:]:
        distance = metric(found, name)
        assert (distance.n, distance.episodes) == (4, 4)
        assert distance.ci95 is not None
        assert 0 <= distance.ci95[0] <= distance.value <= distance.ci95[1]
    assert len(found.curves["dynamics.inferred_psnr_db_by_horizon"]) == LENGTH
    assert len(found.videos[0].tracks["inferred"]) == LENGTH + 1


def test_fvd_is_the_distance_of_i3ds_features(bundle: Bundle, tmp_path: Path) -> None:
    """Clips that differ from the real ones by a constant colour: the distance is its square, as often as it occurs."""
    reader = clip_reader(study(bundle, [12], make_i3d(tmp_path / "i3d.pt")), [11, 11])
    assert reader.frames == 11
    starts, read = [], []
    for take in range(3):
        real = make_frames(12, 32, 32, seed=take) // 2
        tracks = {"real": real, "inferred": real + 51, "tokenizer": real, "copy": real[:1].repeat(12, axis=0)}
        read.append(reader.read(tracks))
        starts.append(Start(take, 0))
    assert read[0][FVD].shape == (1 + len(COMPARED), 400)
    found = distance_findings(reader, starts, read, rng())
    # 400 numbers are 66 times 6, the first 3 of each about colour, and 4 more: 201 in all.
    assert metric(found, FVD).value == pytest.approx(201 * 0.4**2, rel=1e-4)
    assert metric(found, f"{FVD}_redrawn").value == pytest.approx(0, abs=1e-6)
    assert metric(found, f"{OWN}_redrawn").value == pytest.approx(0, abs=1e-6)
    assert metric(found, f"{OWN}_copy").value > 0


def test_the_tokenizers_features_are_means_and_changes_of_its_latents(bundle: Bundle) -> None:
    clips = np.stack([make_frames(5, 32, 32, seed=1), make_frames(5, 32, 32, seed=2)])
    found = tokenizer_features(bundle, clips)
    for clip, features in zip(clips, found, strict=True):
        latent = bundle.genie.tokenizer.latents(to_pixels(torch.from_numpy(clip)[None]))[0].detach().numpy()
        wanted = [latent.mean(axis=(0, 1)), np.abs(latent[1:] - latent[:-1]).mean(axis=(0, 1))]
        np.testing.assert_allclose(features, np.concatenate(wanted), atol=1e-5)


def test_own_distances_are_in_units_of_the_real_clips_spread() -> None:
    """A feature of 10 times the size weighs no more than another, and one that never varies divides by no 0."""
    reader = ClipReader(16, {OWN: lambda clips: np.zeros((4, 3)), FVD: Missing("not here")})
    real, away = rng(0).normal(size=(40, 3)) * [1, 10, 0], np.array([2, 20, 0.1])
    read = [{OWN: np.stack((r, r + away, r, r))} for r in real]
    found = distance_findings(reader, [Start(i, 0) for i in range(40)], read, rng())
    spread = real.std(axis=0)
    spread[2] = 0.01 * spread.mean()
    assert metric(found, OWN).value == pytest.approx(np.square(away / spread).sum(), rel=1e-6)


def test_without_a_file_there_is_no_fvd_and_the_report_says_so(bundle: Bundle) -> None:
    found = rollout_findings(study(bundle, [12, 12], rollouts=2), rng())
    assert metric(found, OWN).n == 2
    assert all(found.metrics[f"{FVD}{e}"] == Missing("it takes I3D's weights, `--i3d FILE`") for e in COMPARED.values())


def test_clips_too_short_for_i3d_have_no_fvd(bundle: Bundle, tmp_path: Path) -> None:
    i3d = make_i3d(tmp_path / "i3d.pt")
    found = rollout_findings(study(bundle, [9, 10], i3d, rollouts=2), rng())
    missing = found.metrics[FVD]
    assert isinstance(missing, Missing)
    assert missing.reason == "I3D takes clips of 10 frames at least, these have 8"
    assert metric(found, CLIP_FRAMES).value == 8


def test_clips_are_as_long_as_half_of_the_rollouts(bundle: Bundle) -> None:
    """Of episodes with 16, 16 and 9 frames after the start: two of 16, the third is compared by horizon only."""
    found = rollout_findings(study(bundle, [17, 10, 17], rollouts=3), rng())
    assert metric(found, CLIP_FRAMES) == Metric(value=16, ci95=None, n=2, episodes=2)
    assert metric(found, OWN).n == 2
    assert metric(found, "dynamics.psnr_4_db").n == 3
    counts = [f.n for f in found.curves["dynamics.copy_psnr_db_by_horizon"] if isinstance(f, Metric)]
    assert counts == [3] * 9 + [2] * 7


def test_one_rollout_is_no_distribution(bundle: Bundle) -> None:
    found = rollout_findings(study(bundle, [17], rollouts=1), rng())
    assert isinstance(found.metrics[OWN], Missing)
    assert metric(found, CLIP_FRAMES).n == 1


def test_short_episodes_have_no_distances(bundle: Bundle) -> None:
    found = rollout_findings(study(bundle, [8]), rng())
    assert all(isinstance(found.metrics[name], Missing) for name in KEYS)
