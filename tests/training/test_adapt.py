"""Adaptation on video whose motion is known: codes tell more of it, keep their numbers, and nothing gets worse."""

from __future__ import annotations

import shutil
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

import h5py
import numpy as np
import pytest
import torch
from safetensors.torch import load_file, save_file

from genie_cli.adapt import print_report
from genie_core.data import AutoSteps, hold_out_episodes, open_dataset, resize_frames
from genie_core.errors import DatasetError, ModelError
from genie_core.inference import Labeller, Simulator
from genie_core.models.bundle import load_bundle
from genie_core.models.config import MendingConfig, MoverConfig, QuantizerConfig
from genie_core.models.quantizer import VectorQuantizer
from genie_core.training.adapt import AdaptJob, AdaptReport, adapt, read
from genie_core.training.adapt_data import adapt_video
from genie_core.training.clips import build_store
from genie_core.training.codebook import MOST_COMMON, fit_codes, number_as, order_of, renumber
from genie_core.training.pipeline import TrainingSplit
from genie_core.training.tuning import go_on_reading
from tests.factories.bundles import make_motion_bundle, make_nano_bundle
from tests.factories.data import make_robomimic
from tests.factories.squares import make_squares


class Silent:
    def start(self, stage: str, step: int, steps: int) -> None:
        pass

    def step(self, stage: str, step: int, metrics: dict[str, float]) -> None:
        pass


@pytest.fixture(autouse=True)
def condensed_from_few(monkeypatch: pytest.MonkeyPatch) -> None:
    """Optical flow of thousands of pairs takes most of the time of tuning for a step."""
    monkeypatch.setattr("genie_core.training.stages._MOTION_BATCHES", 4)


@dataclass(frozen=True)
class Rateless:
    """Reads an episode of a file that states no frame rate."""

    reader: Any
    fps: None = None

    def __getattr__(self, name: str) -> Any:
        return getattr(self.reader, name)


@pytest.fixture(scope="module")
def video(tmp_path_factory: pytest.TempPathFactory) -> TrainingSplit:
    path = make_squares(tmp_path_factory.mktemp("squares") / "squares.hdf5", episodes=15, frames=24)
    return TrainingSplit(*hold_out_episodes(open_dataset(path).episodes, 0.3, 0))


@pytest.fixture(scope="module")
def parent(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Its codes are of other robots: here nearly all that moves is one of them."""
    folder = make_motion_bundle(tmp_path_factory.mktemp("parent") / "motion", usual_norm=0.1)
    tensors = load_file(folder / "lam.safetensors")
    codebook = tensors["quantizer.codebook"]
    tensors["quantizer.codebook"] = codebook[:1] + 0.01 * codebook
    save_file(tensors, folder / "lam.safetensors")
    return folder


@pytest.fixture(scope="module")
def adapted(tmp_path_factory: pytest.TempPathFactory, parent: Path, video: TrainingSplit) -> AdaptReport:
    return adapt(AdaptJob(parent, video, tmp_path_factory.mktemp("mine") / "mine", command="genie adapt ..."), Silent())


def test_codes_tell_more_of_the_motion_and_latents_stay_as_they_are(
    adapted: AdaptReport, parent: Path, video: TrainingSplit
) -> None:
    assert adapted.after["code"] > adapted.before["code"] + 0.05
    assert adapted.after["fine_code"] > adapted.after["code"]
    assert adapted.after["latent"] == adapted.before["latent"]
    assert adapted.top_after <= MOST_COMMON
    episode = video.held_out[0]
    before, after = (Labeller(load_bundle(p)).label(episode.frames(), 1) for p in (parent, adapted.info.path))
    np.testing.assert_array_equal(after.latent, before.latent)
    assert adapted.info.name == "mine"
    for words in (load_bundle(parent).bundle_id, "Adapted from `motion`", "Untrained: random weights", "genie adapt"):
        assert words in adapted.info.card


def test_codes_are_fitted_to_latents_as_labels_have_them(parent: Path, tmp_path: Path) -> None:
    """Of transitions of several frames that is their sum from frame to frame, in episodes of any rate."""
    paths = [make_squares(tmp_path / f"{fps}.hdf5", episodes=1, fps=fps) for fps in (10, 30, 50)]
    episodes = [open_dataset(path).episodes[0] for path in paths]
    bundle, steps = load_bundle(parent), AutoSteps.of([(10.0, 1), (30.0, 3), (50.0, 5)])
    data = TrainingSplit(episodes[:2], episodes[2:])
    video = adapt_video(data, tmp_path / "run", bundle.config, steps, 2, 0, Silent(), tunes=False)
    for part, first, some in ((video.train, 0, (1, 3)), (video.held_out, 48, (5,))):
        labelled = [Labeller(bundle).label(e.frames(), k).latent for e, k in zip(episodes, (1, 3, 5), strict=True)]
        wanted = np.concatenate(labelled)[part.row_BT[:, 0]]
        assert set(part.step_B.tolist()) == set(some)
        assert part.row_BT[:, 0].min() >= first
        np.testing.assert_allclose(read(bundle, part).latent_ND, wanted, atol=1e-5)


def test_latents_that_tuning_made_worse_are_told_of(adapted: AdaptReport, capsys: pytest.CaptureFixture[str]) -> None:
    """Codes may tell so much more that the bundle as a whole is better."""
    worse = replace(adapted, tuned_steps=5, after={**adapted.after, "latent": adapted.before["latent"] - 0.01})
    for report, told in ((adapted, False), (replace(adapted, tuned_steps=5), False), (worse, True)):
        print_report(report)
        assert ("latents tell less" in capsys.readouterr().out) is told


def test_scores_that_are_worse_than_the_mean_are_said_to_be(
    adapted: AdaptReport, capsys: pytest.CaptureFixture[str]
) -> None:
    print_report(adapted)
    assert "note:" not in capsys.readouterr().out
    print_report(replace(adapted, after={"code": -0.2, "latent": -0.01}))
    assert "note: below 0 labels tell less than the mean motion does" in capsys.readouterr().out


def test_video_whose_rate_nobody_knows_is_adapted_to_by_the_steps_that_are_found(
    adapted: AdaptReport, parent: Path, video: TrainingSplit, tmp_path: Path
) -> None:
    unknown = TrainingSplit(
        *([replace(e, reader=Rateless(e.reader)) for e in of] for of in (video.train, video.held_out))
    )
    found = adapt(AdaptJob(parent, unknown, tmp_path / "mine"), Silent())
    assert found.auto_steps is not None
    assert adapted.auto_steps is not None
    assert [(f.fps, f.step) for f in found.auto_steps.found] == [(None, f.step) for f in adapted.auto_steps.found]
    assert (found.info.bundle_id, found.after) == (adapted.info.bundle_id, adapted.after)
    with pytest.raises(
        DatasetError, match=r"fps: got none of episode demo_\d+ of .*squares\.hdf5, expected its frames"
    ):
        build_store(unknown.train, tmp_path / "frames", height=8, width=8, fps=10)


def test_the_same_job_gives_the_same_bundle(
    adapted: AdaptReport, parent: Path, video: TrainingSplit, tmp_path: Path
) -> None:
    again = adapt(AdaptJob(parent, video, tmp_path / "mine"), Silent())
    assert again.info.bundle_id == adapted.info.bundle_id
    other = adapt(AdaptJob(parent, video, tmp_path / "other", seed=1, force=True), Silent())
    assert other.info.bundle_id != adapted.info.bundle_id


def test_codes_keep_their_numbers_where_they_mean_the_same(
    adapted: AdaptReport, video: TrainingSplit, tmp_path: Path
) -> None:
    again = adapt(AdaptJob(adapted.info.path, video, tmp_path / "again", force=True), Silent())
    assert again.renumbered["code"].same_K.all()
    codes = [
        Labeller(load_bundle(p)).label(video.held_out[0].frames(), 1).code for p in (adapted.info.path, again.info.path)
    ]
    assert (codes[0] == codes[1]).mean() > 0.9


def test_a_bundle_that_is_no_better_is_not_written_unless_forced(
    adapted: AdaptReport, parent: Path, video: TrainingSplit, tmp_path: Path
) -> None:
    out = tmp_path / "mine"
    shutil.copytree(adapted.info.path, out)
    worse = AdaptJob(parent, video, out, keep_codes=True)  # better than the parent by its fine codes alone
    with pytest.raises(ModelError, match=r"not better: .* those of the bundle that is at .*mine"):
        adapt(worse, Silent())
    assert load_bundle(out).bundle_id == adapted.info.bundle_id
    forced = adapt(replace(worse, force=True), Silent())
    assert load_bundle(out).bundle_id == forced.info.bundle_id != adapted.info.bundle_id
    with pytest.raises(ModelError, match="those of the parent"):
        adapt(AdaptJob(adapted.info.path, video, tmp_path / "child", fine_codes=2, keep_codes=True), Silent())
    assert not (tmp_path / "child").exists()


def test_fine_codes_alone_are_fitted_where_codes_are_kept(parent: Path, video: TrainingSplit, tmp_path: Path) -> None:
    report = adapt(AdaptJob(parent, video, tmp_path / "fine", fine_codes=7, keep_codes=True), Silent())
    np.testing.assert_array_equal(report.info.codebook, load_bundle(parent).codebook)
    assert report.info.fine_codebook is not None
    assert report.info.fine_codebook.shape == (7, 6)


def test_the_encoder_is_tuned_for_the_steps_given_and_the_same_again(
    parent: Path, video: TrainingSplit, tmp_path: Path
) -> None:
    a, b = (adapt(AdaptJob(parent, video, tmp_path / n, steps=2, force=True), Silent()) for n in ("a", "b"))
    # The name is part of the configuration, so that only the weights can be the same.
    weights = [load_bundle(r.info.path).genie.lam.motion_encoder.to_latent.weight for r in (a, b)]
    assert torch.equal(*weights)
    assert not torch.equal(weights[0], load_bundle(parent).genie.lam.motion_encoder.to_latent.weight)
    assert a.tuned_steps == 2
    timed = adapt(AdaptJob(parent, video, tmp_path / "timed", minutes=1e-4, force=True), Silent())
    assert timed.tuned_steps >= 1


def test_a_mover_stays_with_fitted_codes(video: TrainingSplit, tmp_path: Path) -> None:
    moving = make_motion_bundle(tmp_path / "moving", usual_norm=0.1, mover=MoverConfig(width=8, blocks=1))
    fitted = adapt(AdaptJob(moving, video, tmp_path / "fitted", force=True), Silent()).info
    assert fitted.config.components == ("lam", "mover")
    before, after = (load_file(path / "mover.safetensors") for path in (moving, fitted.path))
    spoken_KD = after.pop("spoken_codebook")
    assert all(torch.equal(after[name], tensor) for name, tensor in before.items())
    assert after.keys() == before.keys()
    assert fitted.config.context_frames == MoverConfig().prompt_frames
    # Codes are short in a metric in which size hardly counts; what they stand for is as long as motions are here.
    code_KD = torch.from_numpy(fitted.codebook)
    assert spoken_KD.norm(dim=1).median() > code_KD.norm(dim=1).median()
    assert (torch.nn.functional.cosine_similarity(spoken_KD, code_KD) > 0.5).all()


MENDING = MoverConfig(width=8, blocks=1, mending=MendingConfig(steps=1))


@pytest.mark.parametrize("mover", [MoverConfig(width=8, blocks=1), MENDING], ids=["moves", "mends"])
def test_tuning_keeps_what_rollouts_are_made_by_and_tunes_it_too(
    mover: MoverConfig, video: TrainingSplit, tmp_path: Path
) -> None:
    moving = make_motion_bundle(tmp_path / "moving", usual_norm=0.1, mover=mover)
    job = AdaptJob(moving, video, tmp_path / "tuned", steps=2, force=True)
    tuned = adapt(job, Silent()).info
    config = load_bundle(moving).config
    assert (tuned.config.components, tuned.config.context_frames) == (config.components, 8)
    for component in config.components:
        before, after = (load_file(path / f"{component}.safetensors") for path in (moving, tuned.path))
        changed = {name for name, tensor in before.items() if not torch.equal(after[name], tensor)}
        # Tokens know any video; the dynamics model is only to read the new latents as it read the old ones.
        kept = {"tokenizer": set[str](), "dynamics": {"action.weight"}}
        assert changed == kept[component] if component in kept else changed, component
    for name in ["lam", "mover", "frames/frames"]:
        assert list((tmp_path / "tuned.run").glob(f"{name}.*")), name  # a run that is interrupted goes on from there
    assert adapt(job, Silent()).info.bundle_id == tuned.bundle_id
    shown = Simulator(load_bundle(tuned.path)).rollout(video.held_out[0].frames(0, 4), [1, 2])
    assert shown.shape[0] == 2


def test_tuned_latents_are_read_as_the_former_ones_were(tmp_path: Path) -> None:
    genie = load_bundle(make_motion_bundle(tmp_path / "moving", mover=MoverConfig(width=8, blocks=1, places=4))).genie
    assert genie.mover is not None
    torch.manual_seed(0)
    torch.nn.init.normal_(genie.mover.to_places.weight)
    was_ND, frames = torch.randn(50, 6), torch.rand(50, 3, 32, 32) - 0.5
    turn_KK = torch.linalg.qr(torch.randn(4, 4))[0]
    now_ND = torch.cat((was_ND[:, :4] @ turn_KK, was_ND[:, 4:]), dim=1)
    wanted = genie.mover(frames, was_ND).detach()
    assert (genie.mover(frames, now_ND) - wanted).abs().max() > 1e-4
    go_on_reading(genie, was_ND, now_ND)
    torch.testing.assert_close(genie.mover(frames, now_ND).detach(), wanted, atol=1e-5, rtol=1e-4)


def test_codes_of_a_bundle_that_reads_no_motion_are_fitted_without_its_rollouts_or_all_is_tuned(
    video: TrainingSplit, tmp_path: Path
) -> None:
    nano = make_nano_bundle(tmp_path / "nano")
    report = adapt(AdaptJob(nano, video, tmp_path / "mine", force=True), Silent())
    assert not report.info.config.simulates
    assert report.info.codebook.shape == (8, 8)
    tuned = adapt(AdaptJob(nano, video, tmp_path / "tuned", minutes=1e-4, force=True), Silent())
    assert tuned.tuned_steps >= 1
    for component in ("tokenizer", "lam", "dynamics"):
        before, after = (load_file(path / f"{component}.safetensors") for path in (nano, tuned.info.path))
        assert any(not torch.equal(after[name], tensor) for name, tensor in before.items()), component
    with pytest.raises(ModelError, match="--keep-codes: latents of a tuned encoder are others"):
        adapt(AdaptJob(nano, video, tmp_path / "kept", steps=1, fine_codes=9, keep_codes=True), Silent())


def test_too_little_video_and_still_video_are_refused(parent: Path, tmp_path: Path) -> None:
    short = open_dataset(make_robomimic(tmp_path / "short.hdf5", episodes=2, frames=12, size=32)).episodes
    with pytest.raises(DatasetError, match=r"too little video: got .* transitions to fit 12 codes to, expected 120"):
        adapt(AdaptJob(parent, TrainingSplit(short), tmp_path / "a"), Silent())
    still = make_robomimic(tmp_path / "still.hdf5", episodes=3, frames=80, size=32)
    with h5py.File(still, "r+") as file:
        for demo in file["data"].values():
            demo["obs/agentview_image"][...] = demo["obs/agentview_image"][0]
    with pytest.raises(DatasetError, match=r"too little moves: got 0 of .* transitions"):
        adapt(AdaptJob(parent, TrainingSplit(open_dataset(still).episodes), tmp_path / "b"), Silent())


def test_no_code_gets_more_than_its_share_of_what_moves() -> None:
    torch.manual_seed(0)
    quantizer = VectorQuantizer(QuantizerConfig(codes=5, dim=2, metric="euclidean"))
    crowd, few = torch.randn(900, 2) * 0.2 + 3, torch.randn(40, 2) * 0.05
    corners = torch.tensor([[-9.0, 9.0], [9.0, -9.0], [-9.0, -9.0]]).repeat_interleave(20, 0) + 0.1 * torch.randn(60, 2)
    latents = torch.cat((crowd, few, corners))
    moving = torch.ones(1000, dtype=torch.bool)
    quantizer.fit(latents, restarts=8)
    plain = torch.bincount(quantizer.nearest(latents), minlength=5)
    fit_codes(quantizer, latents, moving, seed=0)
    count = torch.bincount(quantizer.nearest(latents), minlength=5)
    assert plain.max() > 600
    assert count.max() <= 600
    assert (count > 0).all()


def test_codes_are_renumbered_by_what_they_do() -> None:
    torch.manual_seed(0)
    quantizer = VectorQuantizer(QuantizerConfig(codes=6, dim=3, metric="euclidean"))
    wanted, order = quantizer.codebook.clone(), torch.tensor([3, 0, 5, 1, 4, 2])
    quantizer.reorder(order)
    found = renumber(quantizer, quantizer.codebook.clone(), wanted)
    torch.testing.assert_close(quantizer.codebook, wanted)
    assert found.same_K.all()
    moved = wanted.clone()
    moved[2] = -moved[2]
    assert renumber(quantizer, quantizer.codebook.clone(), moved).same_K.sum() <= 5


def test_another_bundles_numbers_are_taken_on_from_transitions_that_both_label(
    parent: Path, video: TrainingSplit, tmp_path: Path
) -> None:
    other = load_bundle(make_motion_bundle(tmp_path / "motion"))
    genie = load_bundle(tmp_path / "motion").genie
    genie.lam.quantizer.reorder(torch.tensor([2, 0, 3, 1]))
    clips = [episode.frames(0, 8)[None] for episode in video.train[:4]]
    height, width = other.config.height, other.config.width
    number_as(genie, other, [resize_frames(clip[0], height, width)[None] for clip in clips])
    joint = number_as(genie, other, [resize_frames(clip[0], height, width)[None] for clip in clips]).joint_KL
    assert (joint == np.diag(np.diag(joint))).all()  # every transition has the same number now
    assert order_of(np.array([2, -1, 0, -1])).tolist() == [2, 1, 0, 3]
