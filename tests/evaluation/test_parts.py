"""The parts of an evaluation on the real networks of an untrained bundle, and their summaries by hand."""

from __future__ import annotations

from dataclasses import replace

import numpy as np
import pytest
import torch

from genie_core.evaluation import consistency, latent_actions, supervised
from genie_core.evaluation.consistency import apply_codes, consistency_findings
from genie_core.evaluation.disturbances import DISTURBANCES as NEVER_TRAINED
from genie_core.evaluation.ground_truth import ground_truth_findings
from genie_core.evaluation.latent_actions import DISTURBANCES, add_noise, brighten, crop, latent_action_findings, shift
from genie_core.evaluation.material import Film, Start, Study, label_film, read_codes
from genie_core.evaluation.metrics import Findings, Metric, Missing
from genie_core.evaluation.options import EvaluationOptions
from genie_core.evaluation.rollouts import (
    DELTA_T,
    HORIZON,
    VIDEOS,
    Comparison,
    compare,
    delta_t_psnr,
    rollout_findings,
    summarise,
    token_accuracy,
)
from genie_core.evaluation.supervised import Lesson, supervised_predictions
from genie_core.evaluation.tokenizer import redraw, tokenizer_findings
from genie_core.inference import Labeller, Sampling, Simulator
from genie_core.models.bundle import load_bundle
from genie_core.models.dynamics import previous_tokens
from genie_core.models.patches import to_pixels
from tests.factories.bundles import make_nano_bundle
from tests.factories.data import make_frames


def rng(seed: int = 0) -> np.random.Generator:
    return np.random.default_rng(seed)


def film(seed: int, frames: int = 14) -> Film:
    video = make_frames(frames, 32, 32, seed=seed)
    return Film(f"demo_{seed}", video, rng(seed).normal(size=(frames, 3)), None)


@pytest.fixture(scope="module")
def study(tmp_path_factory: pytest.TempPathFactory) -> Study:
    labeller = Labeller(load_bundle(make_nano_bundle(tmp_path_factory.mktemp("bundles") / "nano")))
    options = EvaluationOptions(rollouts=3, starts=3, applications=2, supervised_steps=3)
    takes = [label_film(labeller, film(seed)) for seed in range(3)]
    sampling = Sampling(maskgit_steps=2, temperature=1.0)
    return Study(labeller, takes, [film(7)], [], options, sampling, lambda part, done, total: None)


def value(findings: Findings, name: str) -> float:
    metric = findings.metrics[name]
    assert isinstance(metric, Metric)
    return metric.value


def reason(findings: Findings, name: str) -> str:
    missing = findings.metrics[name]
    assert isinstance(missing, Missing)
    return missing.reason


def test_tokenizer_figures_are_those_of_the_network(study: Study) -> None:
    found = tokenizer_findings(study, rng())
    errors, used = [], set()
    for take in study.takes:
        pixels = to_pixels(torch.from_numpy(take.film.frames_THWC)[None])
        with torch.inference_mode():
            tokens = study.bundle.genie.tokenizer.encode(pixels)
            drawn = study.bundle.genie.tokenizer.decode(tokens).clamp(-0.5, 0.5)
        errors.append(float((drawn - pixels).square().mean()))
        used |= set(tokens.flatten().tolist())
    assert value(found, "tokenizer.psnr_db") == pytest.approx(-10 * np.log10(np.mean(errors)), abs=0.01)
    assert value(found, "tokenizer.codebook_use") == pytest.approx(len(used) / 64)


def test_a_residual_decoder_that_has_learnt_nothing_copies(study: Study) -> None:
    found = latent_action_findings(study, rng())
    assert value(found, "lam.psnr_over_copy_db") == pytest.approx(0, abs=1e-4)
    assert value(found, "lam.psnr_over_random_db") == pytest.approx(0, abs=1e-4)
    codes = np.concatenate([t.code_S for t in study.takes])
    share = np.bincount(codes, minlength=8) / len(codes)
    assert value(found, "lam.code_perplexity") == pytest.approx(
        np.exp(-(share[share > 0] * np.log(share[share > 0])).sum())
    )
    shares = [f.value for f in found.curves["lam.code_share"] if isinstance(f, Metric)]
    np.testing.assert_allclose(shares, share)
    same = np.concatenate([t.code_S[1:] == t.code_S[:-1] for t in study.takes])
    assert value(found, "lam.temporal_stability") == pytest.approx(same.mean())


@pytest.mark.parametrize("name", DISTURBANCES)
def test_disturbances_are_mild_and_change_every_frame_alike(name: str) -> None:
    frames = np.full((4, 32, 32, 3), 128, np.uint8)
    frames[:, :, 16:] = 100
    changed = DISTURBANCES[name](frames, rng(1))
    assert changed.dtype == np.uint8
    assert changed.shape == frames.shape
    assert np.abs(changed.astype(int) - frames).mean() < 15
    if name != "noise":
        assert (changed == changed[:1]).all()


def test_labels_are_disturbed_beyond_training_too(study: Study, monkeypatch: pytest.MonkeyPatch) -> None:
    found = latent_action_findings(study, rng())
    for name in NEVER_TRAINED:
        assert 0 <= value(found, f"lam.unchanged_{name}") <= 1
    assert 0 < value(found, "lam.frozen_still_share") <= 1
    assert value(found, "lam.frozen_length") == pytest.approx(1, abs=1e-4)  # latents of this bundle have unit length
    shaken = {"shake": lambda frames, rng: frames}
    monkeypatch.setattr(latent_actions, "NEVER_TRAINED", shaken)
    assert value(latent_action_findings(study, rng()), "lam.unchanged_shake") == 1


def test_disturbances_by_hand() -> None:
    frames = np.zeros((1, 8, 8, 3), np.uint8)
    frames[0, 4, 4] = 255
    assert set(np.unique(brighten(frames, rng(0)))) <= {0, 13, 242, 255}
    moved = [np.argwhere(shift(frames, rng(seed))[0, ..., 0])[0].tolist() for seed in range(30)]
    assert {tuple(m) for m in moved} == {(2, 4), (6, 4), (4, 2), (4, 6)}
    ring = np.full((2, 32, 48, 3), 90, np.uint8)
    ring[:, 2:-2, 2:-2] = 180
    assert (crop(ring, rng(0)) == 180).all()
    grey = np.full((20, 32, 32, 3), 128, np.uint8)
    assert add_noise(grey, rng(0)).std() == pytest.approx(0.02 * 255, rel=0.02)


def test_a_comparison_is_of_the_right_frames(study: Study) -> None:
    comparison, video, codes = compare(study, Simulator(study.bundle), Start(1, 3), rng())
    after = 14 - 1 - 3  # fewer than are simulated where there are more
    assert comparison.mse_VH.shape == comparison.ssim_VH.shape == (len(VIDEOS), after)
    real = study.takes[1].film.frames_THWC / 255
    copied = [np.square(real[3] - real[3 + h]).mean() for h in range(1, after + 1)]
    np.testing.assert_allclose(comparison.mse_VH[VIDEOS.index("copy")], copied)
    assert codes["inferred"] == study.takes[1].code_S[3:].tolist()
    np.testing.assert_array_equal(video.tracks["real"], study.takes[1].film.frames_THWC[3:])
    drawn = video.tracks["inferred"][1:] / 255
    np.testing.assert_allclose(comparison.mse_VH[0], np.square(drawn - real[4:]).mean(axis=(1, 2, 3)))


def test_token_accuracy_is_that_of_one_forward_pass_a_frame(study: Study) -> None:
    """The carried state gives what the whole past gives; window 4, nine frames."""
    take, genie = study.takes[0], study.bundle.genie
    _, tokens = redraw(study.bundle, take.film.frames_THWC[:9])
    token = torch.from_numpy(tokens)[None]
    action = torch.cat(
        (torch.zeros(1, 1, 8), genie.lam.quantizer.lookup(torch.from_numpy(take.code_S[:8])[None])), dim=1
    )
    right = []
    for t in range(1, 9):
        shown = token[:, : t + 1].clone()
        shown[:, t] = genie.dynamics.mask_token
        with torch.inference_mode():
            logits = genie.dynamics(shown, previous_tokens(token[:, : t + 1], 64), action[:, : t + 1])
        right.append((logits[:, t].argmax(-1) == token[:, t]).float().mean().item())
    assert token_accuracy(study.bundle, tokens, take.code_S[:8]) == pytest.approx(np.mean(right))


def test_delta_t_psnr_is_the_papers() -> None:
    """PSNR with inferred codes less PSNR with random ones, at the fourth frame, averaged over starts."""
    mse = np.ones((2, len(VIDEOS), HORIZON))
    mse[:, VIDEOS.index("inferred"), DELTA_T - 1] = [0.01, 0.001]
    mse[:, VIDEOS.index("random"), DELTA_T - 1] = [0.1, 0.1]
    np.testing.assert_allclose(delta_t_psnr(mse), [10, 20])
    found = summarise(
        [Start(0, 0), Start(1, 0)], [Comparison(m, np.zeros((len(VIDEOS), HORIZON)), 0.5, 0.25) for m in mse], rng()
    )
    assert value(found, "dynamics.delta_t_psnr_4") == pytest.approx(15)
    assert value(found, "dynamics.psnr_4_db") == pytest.approx(-10 * np.log10(0.0055))
    assert value(found, "dynamics.next_token_accuracy") == 0.5
    assert value(found, "dynamics.next_token_accuracy_copy") == 0.25
    assert value(found, "dynamics.worst_psnr_over_copy_db") == 0


def test_the_worst_horizon_counts() -> None:
    mse = np.full((1, len(VIDEOS), HORIZON), 0.01)
    mse[0, VIDEOS.index("copy")] = 0.1
    mse[0, VIDEOS.index("inferred"), 5] = 1
    found = summarise([Start(0, 0)], [Comparison(mse[0], mse[0], 0.0, 0.0)], rng())
    assert value(found, "dynamics.worst_psnr_over_copy_db") == pytest.approx(-10)


def test_short_episodes_have_no_rollouts(study: Study) -> None:
    takes = [label_film(study.labeller, film(0, frames=HORIZON))]
    found = rollout_findings(Study(study.labeller, takes, [], [], study.options, study.sampling, study.progress), rng())
    assert all(isinstance(f, Missing) and "9 frames" in f.reason for f in found.metrics.values())


def test_applied_codes_are_what_a_plain_rollout_draws(study: Study) -> None:
    """Every code from one start: the last frames are those of single rollouts; a round trip reads each transition."""
    applied = apply_codes(study, Simulator(study.bundle), Start(0, 2), [1, 5], rng(4))
    assert applied.read_CA.shape == (2, 2)
    sampling = study.draw_sampling(rng(4))
    prompt = study.takes[0].film.frames_THWC[2:3]
    np.testing.assert_array_equal(applied.last_CHWC[1], Simulator(study.bundle).rollout(prompt, [5, 5], sampling)[-1])


def test_consistency_counts_every_application(study: Study) -> None:
    found = consistency_findings(study, rng())
    metric = found.metrics["consistency.round_trip_accuracy"]
    assert isinstance(metric, Metric)
    assert (metric.n, metric.episodes) == (3 * 8 * 2, 3)
    by_application = found.curves["consistency.round_trip_accuracy_by_application"]
    shares = [f.value for f in by_application if isinstance(f, Metric)]
    assert len(shares) == 2
    assert np.mean(shares) == pytest.approx(metric.value)
    assert len(found.curves["consistency.round_trip_accuracy_by_code"]) == 8
    assert len(found.curves["consistency.halted_by_application"]) == 2
    assert [p.name for p in found.images] == ["fig13"]


def test_a_tokenizer_that_loses_everything_loses_the_labels(study: Study, monkeypatch: pytest.MonkeyPatch) -> None:
    """The limit of the round trip is of the labels of real video, read again off what the tokenizer draws."""
    monkeypatch.setattr(consistency, "redraw", lambda bundle, frames_THWC: (frames_THWC, None))
    assert value(consistency_findings(study, rng()), "consistency.round_trip_tokenizer") == 1
    monkeypatch.setattr(consistency, "redraw", lambda bundle, frames_THWC: (0 * frames_THWC, None))
    found = consistency_findings(study, rng())
    black = [read_codes(study.labeller, 0 * t.film.frames_THWC)[0] == t.code_S for t in study.takes]
    assert value(found, "consistency.round_trip_tokenizer") == pytest.approx(np.concatenate(black).mean())


def test_the_supervised_bound_learns_and_leaves_the_bundle_alone(study: Study) -> None:
    """The truth is the change of mean brightness, which the encoder can see."""

    def lit(seed: int) -> Lesson:
        levels = rng(seed).integers(40, 200, 12)
        video = np.broadcast_to(levels[:, None, None, None], (12, 32, 32, 3)).astype(np.uint8)
        return Lesson(video, np.diff(levels[:, None] / 255, axis=0))

    before = {k: v.clone() for k, v in study.bundle.genie.lam.state_dict().items()}
    test = [lit(100), lit(101)]
    lessons, shown = [lit(seed) for seed in range(30)], [lesson.frames_THWC for lesson in test]
    read = supervised_predictions(study.bundle, lessons, shown, 80, 0, study.progress).predicted
    truth = np.concatenate([lesson.truth_SK for lesson in test])
    assert np.corrcoef(np.concatenate(read)[:, 0], truth[:, 0])[0, 1] > 0.8
    assert all(torch.equal(v, before[k]) for k, v in study.bundle.genie.lam.state_dict().items())


def test_supervised_inverse_dynamics_is_a_bound_only_once_its_held_out_error_has_stopped_falling(
    study: Study, monkeypatch: pytest.MonkeyPatch
) -> None:
    """What nothing tells stops falling at once; after 3 steps nobody can say."""
    found = ground_truth_findings(replace(study, others=[]), rng())
    assert "had not stopped falling after 3 steps" in reason(found, "probe.supervised_to_displacement_r2_mean")
    assert "bounds nothing" in reason(found, "probe.latent_share_of_supervised")
    lessons = [
        Lesson(take.film.frames_THWC, rng(i).normal(size=(take.film.frames_THWC.shape[0] - 1, 1)))
        for i, take in enumerate(study.takes)
    ]
    monkeypatch.setattr(supervised, "CHECK_EVERY", 2)
    read = supervised_predictions(study.bundle, lessons, [lessons[0].frames_THWC], 200, 0, study.progress)
    assert read.settled
    assert read.steps < 200
    alone = supervised_predictions(study.bundle, lessons[:1], [lessons[0].frames_THWC], 3, 0, study.progress)
    assert (alone.settled, alone.steps) == (False, 3)  # nothing to set aside
