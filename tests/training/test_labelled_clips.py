from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest
import torch

from genie_core.errors import DatasetError
from genie_core.models.bundle import load_bundle
from genie_core.models.motion_lam import MotionActionModel
from genie_core.training.clips import ClipStore, Span
from genie_core.training.labelled_clips import LabelledClips, kept_latents, read_latents
from tests.factories.bundles import make_motion_bundle


@pytest.fixture(scope="module")
def lam(tmp_path_factory: pytest.TempPathFactory) -> MotionActionModel:
    lam = load_bundle(make_motion_bundle(tmp_path_factory.mktemp("bundles") / "motion")).genie.lam
    assert isinstance(lam, MotionActionModel)
    return lam


@pytest.fixture(scope="module")
def store() -> ClipStore:
    """A square that moves, in an episode of every frame and one of every other."""
    frames = np.full((24, 32, 32, 3), 40, np.uint8)
    for t in range(24):
        frames[t, 8:16, t % 12 : t % 12 + 8] = 200
    return ClipStore(frames, (Span("a", "x", 0, 12, 1, 10.0), Span("b", "y", 12, 12, 2, 20.0)))


def test_latents_are_those_of_pairs_a_step_apart_and_kept(
    lam: MotionActionModel, store: ClipStore, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    latent_2ND = kept_latents(lam, store, tmp_path)
    frames = torch.from_numpy(np.asarray(store.frames)).permute(0, 3, 1, 2).float() / 255 - 0.5
    for at, step in ((3, 1), (15, 2)):
        for mirrored in (0, 1):
            pair = frames[[at, at + step]].flip(-1) if mirrored else frames[[at, at + step]]
            np.testing.assert_allclose(latent_2ND[mirrored, at], lam.latents(pair[None])[0, 0], atol=2e-3)
    assert not latent_2ND[:, [11, 22, 23]].any()
    monkeypatch.setattr("genie_core.training.labelled_clips.read_latents", None)  # is not called again
    np.testing.assert_array_equal(kept_latents(lam, store, tmp_path), latent_2ND)


def test_clips_have_the_latents_of_their_direction_and_stride(lam: MotionActionModel, store: ClipStore) -> None:
    clips = LabelledClips.of(store, read_latents(lam, store, threads=1), torch.device("cpu"))
    rows = clips.draw(np.random.default_rng(0), 32, 4, 2)
    gaps = np.diff(rows[:, :4], axis=1)
    assert {tuple(row) for row in np.stack((gaps[:, 0], rows[:, 4]), 1).tolist()} == {(1, 1), (2, 1), (2, 2)}
    torch.manual_seed(0)
    clip_BTCHW, latent_BTD = clips.read(torch.from_numpy(rows))
    again = torch.stack([lam.latents(clip_BTCHW[i : i + 1])[0] for i in range(len(rows))])
    # A sum of two steps is not to the bit what both read together, and mirrored or reversed is.
    single = torch.from_numpy(gaps[:, 0] == rows[:, 4])
    torch.testing.assert_close(latent_BTD[single], again[single], atol=5e-3, rtol=1e-2)
    alike = torch.nn.functional.cosine_similarity(latent_BTD[~single].flatten(1), again[~single].flatten(1))
    assert alike.min() > 0.5


def test_an_episode_too_short_at_the_models_rate_is_not_drawn(store: ClipStore) -> None:
    """Of 12 frames, every other of which is one of the model: six."""
    clips = LabelledClips.of(store, np.zeros((2, 24, 6), np.float16), torch.device("cpu"))
    assert set(clips.draw(np.random.default_rng(0), 64, 6, 2)[:, -1]) == {1, 2}
    rows = clips.draw(np.random.default_rng(0), 64, 7, 2)
    assert set(rows[:, -1]) == {1}
    assert rows[:, :-1].max() < 12
    with pytest.raises(DatasetError, match="long enough for a clip of 13 frames"):
        clips.draw(np.random.default_rng(0), 1, 13, 2)
