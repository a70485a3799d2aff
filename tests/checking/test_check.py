"""Files of which it is known what is wrong get the verdict that they deserve, and for that reason."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path

import h5py
import numpy as np
import pytest
from numpy.typing import NDArray

from genie_core.checking.codes import CheckedEpisode
from genie_core.checking.mask import FILTER_KEY, KEEP
from genie_core.checking.report import CheckReport, delete_command, episode_row
from genie_core.checking.run import CheckPlan, check_data, check_labelled
from genie_core.checking.sample import Sampling
from genie_core.data import LabelModel, Labels, LabelWriter, open_dataset, open_labelled
from genie_core.errors import DatasetError, ModelError
from genie_core.inference import Labeller
from genie_core.models.bundle import load_bundle
from genie_core.progress import silent
from tests.factories.bundles import make_motion_bundle
from tests.factories.data import make_robomimic
from tests.factories.lerobot import make_lerobot_v30
from tests.factories.squares import make_squares

CODES, DIM, EPISODES, FRAMES = 4, 6, 6, 60
LABELS_ALONE = CheckPlan(None, pictures=False)

CODEBOOK = np.concatenate([np.eye(2), -np.eye(2)]).astype(np.float32) @ np.diag([1.0, 1.5]).astype(np.float32)
CODEBOOK = np.concatenate([CODEBOOK, np.zeros((CODES, DIM - 2), np.float32)], axis=1)

Latents = Callable[[int, np.random.Generator], NDArray[np.float32]]


def turning(_index: int, rng: np.random.Generator) -> NDArray[np.float32]:
    """A robot that moves now here, now there, a bit at a time: latents that go round, (T, D)."""
    angle_T = rng.uniform(0, 2 * np.pi) + np.cumsum(rng.normal(0.3, 0.15, FRAMES))
    latent_TD = rng.normal(0, 0.1, (FRAMES, DIM))
    latent_TD[:, 0] += np.cos(angle_T)
    latent_TD[:, 1] += 1.5 * np.sin(angle_T)
    return latent_TD.astype(np.float32)


def leaking(index: int, rng: np.random.Generator) -> NDArray[np.float32]:
    """The same, with a number that is the episode's own."""
    latent_TD = turning(index, rng)
    latent_TD[:, 2:] += 2 * np.random.default_rng([index, 5]).normal(size=DIM - 2).astype(np.float32)
    return latent_TD


def noise(_index: int, rng: np.random.Generator) -> NDArray[np.float32]:
    return rng.normal(size=(FRAMES, DIM)).astype(np.float32)


def nearest(latent_TD: NDArray[np.float32], _rng: np.random.Generator) -> NDArray[np.int64]:
    return np.linalg.norm(latent_TD[:, None] - CODEBOOK, axis=2).argmin(axis=1)


def any_code(latent_TD: NDArray[np.float32], rng: np.random.Generator) -> NDArray[np.int64]:
    return rng.integers(CODES, size=len(latent_TD))


def one_code(latent_TD: NDArray[np.float32], _rng: np.random.Generator) -> NDArray[np.int64]:
    return np.ones(len(latent_TD), np.int64)


def still_at_one(index: int, rng: np.random.Generator) -> NDArray[np.float32]:
    """Motion, but for the second episode."""
    return turning(index, rng) * np.float32(index != 1)


def checked(
    folder: Path,
    latents: Latents,
    codes: Callable[[NDArray[np.float32], np.random.Generator], NDArray[np.int64]],
    source: Path | None = None,
) -> CheckReport:
    dataset = open_dataset(source or make_robomimic(folder / "a.hdf5", episodes=EPISODES, frames=FRAMES, size=8))
    model = LabelModel("ab" * 32, "fake", 10.0, CODEBOOK)
    writer = LabelWriter(folder / "a.labelled.hdf5", dataset, model, step=1)
    for index, episode in enumerate(writer.pending()):
        rng = np.random.default_rng([index, 1])
        latent_TD = latents(index, rng)
        valid = np.arange(FRAMES) < FRAMES - 1
        labels = Labels(
            0,
            np.where(valid, codes(latent_TD, rng), 0).astype(np.uint16),
            np.where(valid[:, None], latent_TD, 0).astype(np.float32),
            np.where(valid, 0.3, 0).astype(np.float32),
            valid,
        )
        with writer.episode(episode) as part:
            for chunk in episode.chunks(64):
                part.add_frames(chunk)
            part.add_labels(labels)
    return check_labelled(writer.finish(), LABELS_ALONE, silent)


def test_labels_of_motion_are_fit(tmp_path: Path) -> None:
    report = checked(tmp_path, turning, nearest)
    assert report.verdict == "fit", report.decided_by
    assert report.metrics["moving_transitions"].value == EPISODES * (FRAMES - 1)
    assert len(report.decided_by) == 2
    assert sum(report.code_share) == pytest.approx(1)


def test_codes_that_are_noise_are_not_to_be_used(tmp_path: Path) -> None:
    report = checked(tmp_path, turning, any_code)
    assert report.verdict == "do not use"
    assert report.decided_by[0].name == "code_agreement"
    assert report.decided_by[0].value < 0.1


def test_one_code_for_everything_is_not_to_be_used(tmp_path: Path) -> None:
    report = checked(tmp_path, turning, one_code)
    assert report.verdict == "do not use"
    stopped = {one.name for one in report.judged if one.level == "stop"}
    assert stopped == {"top_code_share_moving", "code_perplexity_moving", "code_agreement"}
    assert report.metrics["code_perplexity_moving"].value == pytest.approx(1)
    assert report.metrics["code_agreement"].value == pytest.approx(0)


def test_latents_that_know_their_scene_are_not_to_be_used(tmp_path: Path) -> None:
    report = checked(tmp_path, leaking, nearest)
    assert report.verdict == "do not use"
    assert report.decided_by[0].name == "scene_told_by_latent"
    assert report.decided_by[0].value > 0.9
    assert report.metrics["scene_told_by_code"].value < 0.7


def test_latents_that_are_noise_call_for_care(tmp_path: Path) -> None:
    report = checked(tmp_path, noise, nearest)
    assert report.verdict == "fit with care"
    assert "continuity" in {one.name for one in report.decided_by}
    assert abs(report.metrics["continuity"].value) < 0.1


def labelled_squares(folder: Path, spoil: bool) -> tuple[Path, Path]:
    """Squares labelled by an untrained bundle, and that bundle; spoilt: each code is one further than it was."""
    source = make_squares(folder / "sq.hdf5", episodes=2 if spoil else 3, frames=10 if spoil else 24)
    folder_of_bundle = make_motion_bundle(folder / "motion")
    bundle = load_bundle(folder_of_bundle)
    info, labeller = bundle.info, Labeller(bundle)
    model = LabelModel(
        info.bundle_id, info.name, info.config.fps, info.codebook, bundle.computation, info.fine_codebook
    )
    writer = LabelWriter(folder / "sq.labelled.hdf5", open_dataset(source), model, step=1)
    for episode in writer.pending():
        labels = labeller.label(episode.frames(), 1)
        if spoil:
            labels.code[labels.valid] = (labels.code[labels.valid] + 1) % len(info.codebook)
        with writer.episode(episode) as part:
            for chunk in episode.chunks(64):
                part.add_frames(chunk)
            part.add_labels(labels)
    return Path(str(writer.finish())), folder_of_bundle


def test_pictures_bundle_and_actions_are_asked_where_they_are_at_hand(tmp_path: Path) -> None:
    path, bundle = labelled_squares(tmp_path, spoil=False)
    report = check_labelled(path, CheckPlan(bundle), silent)
    assert report.metrics["relabelled_same"].value == 1
    assert report.metrics["still_norm"].value == 0
    assert report.metrics["reversal"].value == pytest.approx(1)
    assert {"psnr_over_copy_db", "psnr_over_shuffled_db", "unchanged_shift", "additivity", "unusual_motion"} <= set(
        report.metrics
    )
    assert report.metrics["probe_shuffled"].value == pytest.approx(1, abs=0.2)
    assert report.metrics["probe_flow"].value < 0.8  # the actions are the square's motion
    assert not report.missing


def test_labels_that_the_bundle_does_not_give_are_not_to_be_used(tmp_path: Path) -> None:
    path, bundle = labelled_squares(tmp_path, spoil=True)
    report = check_labelled(path, CheckPlan(bundle), silent)
    assert report.metrics["relabelled_same"].value == 0
    assert report.verdict == "do not use"
    assert next(one for one in report.judged if one.name == "relabelled_same").level == "stop"


def test_another_bundle_is_refused(tmp_path: Path) -> None:
    path, _ = labelled_squares(tmp_path, spoil=False)
    other = make_motion_bundle(tmp_path / "other", seed=1)
    with pytest.raises(ModelError, match=r"expected .* which made the labels"):
        check_labelled(path, CheckPlan(other), silent)


def test_a_lerobot_dataset_gets_the_line_that_deletes_its_bad_episodes(tmp_path: Path) -> None:
    source = make_lerobot_v30(tmp_path / "pick", lengths=(FRAMES,) * 3)
    report = checked(tmp_path, still_at_one, nearest, source)
    assert [(row.source_name, row.delete) for row in report.episodes] == [
        ("episode_000000", False),
        ("episode_000001", True),
        ("episode_000002", False),
    ]
    assert report.delete_command == delete_command(source, ["episode_000001"])


def test_an_episode_in_which_little_moves_is_better_deleted() -> None:
    still = np.zeros((50, DIM), np.float32)
    still[:2] = 1
    every = np.ones(50, np.bool_)
    labels = Labels(0, np.zeros(50, np.uint16), still, np.zeros(50, np.float32), every)
    row = episode_row(CheckedEpisode.of("demo_0", labels, 1, CODEBOOK), "a.hdf5", "demo_0", CODES)
    assert (row.labelled, row.moving, row.delete) == (50, 2, True)
    assert row.why == "2 of 50 transitions move and have a label"
    command = delete_command(Path("/data/my sets/pick"), ["episode_000012", "episode_000003"])
    assert command == (
        "HF_LEROBOT_HOME='/data/my sets' lerobot-edit-dataset --repo_id pick --new_repo_id pick_checked "
        '--operation.type delete_episodes --operation.episode_indices "[3, 12]"'
    )


def test_data_are_checked_by_labelling_a_sample_of_them(tmp_path: Path) -> None:
    source, bundle = make_squares(tmp_path / "sq.hdf5", episodes=3, frames=24), make_motion_bundle(tmp_path / "motion")
    before = sorted(tmp_path.iterdir())
    report = check_data(open_dataset(source), bundle, CheckPlan(None), Sampling(step=1), silent)
    assert report.path == str(source)
    assert [row.episode for row in report.episodes] == ["demo_0", "demo_1", "demo_2"]
    assert report.metrics["relabelled_same"].value == 1
    assert report.metrics["probe_flow"].value < 0.8  # its actions are found, beside the frames
    assert report.metrics["cut_share"].value < 0.1
    assert sorted(tmp_path.iterdir()) == before
    fewer = check_data(open_dataset(source), bundle, CheckPlan(None), Sampling(step=1, episodes=2), silent)
    assert len(fewer.episodes) == 2
    with pytest.raises(DatasetError, match="label the data first"):
        check_data(open_dataset(source), bundle, CheckPlan(None, mask=True), Sampling(step=1), silent)


def test_a_mask_leaves_out_still_episodes_cuts_and_what_has_no_label(tmp_path: Path) -> None:
    path, bundle = labelled_squares(tmp_path, spoil=False)
    source = tmp_path / "sq.hdf5"
    with h5py.File(source, "a") as file:
        frames = file["data/demo_1/obs/agentview_image"]
        frames[12:] = np.rot90(frames[12:], 2, axes=(1, 2))  # from there on another scene
        frames[:, :4] = np.where(np.arange(24)[:, None, None, None] < 12, 255, 0)
    report = check_labelled(path, CheckPlan(bundle, mask=True), silent)
    cuts = {row.episode: row.cuts for row in report.episodes}
    assert cuts == {"demo_0": 0, "demo_1": 1, "demo_2": 0}
    assert report.metrics["cut_share"].value == pytest.approx(1 / 69)
    labelled = open_labelled(path)
    for name in ("demo_0", "demo_1"):
        valid = labelled.labels(name)[0].valid
        with h5py.File(path) as file:
            kept = file[f"data/{name}/{KEEP}"][:]
            names = [one.decode() for one in file[f"mask/{FILTER_KEY}"]]
        assert (kept == (valid & ((name != "demo_1") | (np.arange(24) != 11)))).all()
        assert labelled.is_intact(name)
    assert names == ["demo_0", "demo_1", "demo_2"]
    assert open_dataset(path).masks[FILTER_KEY] == tuple(names)
    check_labelled(path, CheckPlan(bundle, mask=True), silent)  # replaces the first
