"""The real pipeline on a small dataset: it learns, it resumes to the bit, and it refuses what it must."""

from __future__ import annotations

import json
import shutil
from collections.abc import Callable
from dataclasses import replace
from functools import cache
from pathlib import Path

import numpy as np
import pytest
import torch
from safetensors.torch import load_file
from typer.testing import CliRunner

from genie_cli.train import adjusted
from genie_core.data import open_dataset
from genie_core.errors import DatasetError, ModelError, RequestError
from genie_core.inference import Labeller, Simulator
from genie_core.models.bundle import BundleInfo, load_bundle
from genie_core.models.config import MendingConfig, MotionActionConfig, MoverConfig, QuantizerConfig, RefinerConfig
from genie_core.models.genie import Genie
from genie_core.models.motion_lam import MotionActionModel
from genie_core.models.patches import to_pixels
from genie_core.models.presets import preset
from genie_core.training import stages
from genie_core.training.clips import ClipStore, Span, build_store, stream_store
from genie_core.training.config import MendingTraining, StageConfig, TrainingConfig, training_preset
from genie_core.training.pipeline import Alone, TrainingJob, TrainingSplit, train, train_alone
from tests.factories.data import make_robomimic, make_video
from tests.factories.squares import make_squares


class Recorder:
    """Keeps every reported loss; may stop the run, as a kill would, at one step of one stage."""

    def __init__(self, stop: tuple[str, int] | None = None) -> None:
        self.losses: dict[tuple[str, int], float] = {}
        self.stop = stop

    def start(self, stage: str, step: int, steps: int) -> None:
        pass

    def step(self, stage: str, step: int, metrics: dict[str, float]) -> None:
        if "loss" in metrics:
            self.losses[stage, step] = metrics["loss"]
        if (stage, step) == self.stop:
            raise KeyboardInterrupt


@pytest.fixture(scope="module")
def data(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return make_robomimic(tmp_path_factory.mktemp("data") / "robot.hdf5", episodes=3, frames=14, size=32, fps=10)


def short(lead: bool = True) -> TrainingConfig:
    values = training_preset("nano").model_dump()
    for stage in ("tokenizer", "lam", "dynamics"):
        values[stage]["steps"] = 12
    values["tokenizer_training"] |= {"continuous_steps": 4}
    values["lam_training"] |= {"continuous_steps": 5, "quantized_share": 0.5, "lead": lead}
    return TrainingConfig.model_validate(values)


def job(data: Path, out: Path, *, lead: bool = True) -> TrainingJob:
    episodes = list(open_dataset(data).episodes)
    return TrainingJob(preset("nano"), short(lead), TrainingSplit(episodes[:2], episodes[2:]), out, rollouts=1)


@pytest.fixture(scope="module")
def whole(data: Path, tmp_path_factory: pytest.TempPathFactory) -> Callable[[bool], BundleInfo]:
    """Return the bundle of a run that nothing stopped, with `lead` or without; each is trained once."""
    folder = tmp_path_factory.mktemp("whole")
    return cache(lambda lead: train(job(data, folder / f"{lead}", lead=lead), Recorder()))


@pytest.mark.parametrize("lead", [True, False])
@pytest.mark.parametrize("stop", [("tokenizer", 7), ("lam", 5), ("dynamics", 8)])
def test_a_killed_run_resumes_to_the_same_weights(
    data: Path, whole: Callable[[bool], BundleInfo], tmp_path: Path, lead: bool, stop: tuple[str, int]
) -> None:
    if not lead and stop[0] != "tokenizer":
        stop = ("lam_and_dynamics", stop[1])
    reference = whole(lead)
    with pytest.raises(KeyboardInterrupt):
        train(job(data, tmp_path / "cut", lead=lead), Recorder(stop), checkpoint_seconds=0, report_every=1)
    assert not (tmp_path / "cut").exists()
    resumed = Recorder()
    info = train(job(data, tmp_path / "cut", lead=lead), resumed, report_every=1)
    for component in ("tokenizer", "lam", "dynamics"):
        a = load_file(reference.path / f"{component}.safetensors")
        b = load_file(tmp_path / "cut" / f"{component}.safetensors")
        assert all(torch.equal(a[k], b[k]) for k in a)
    assert info.bundle_id == reference.bundle_id
    assert min(step for stage, step in resumed.losses if stage == stop[0]) == stop[1]


def test_stages_trained_alone_are_those_of_a_whole_run(
    data: Path, whole: Callable[[bool], BundleInfo], tmp_path: Path
) -> None:
    stages: tuple[Alone, ...] = ("lam", "tokenizer")
    for stage in stages:
        recorder = Recorder()
        train_alone(job(data, tmp_path / "parts"), stage, recorder)
        assert {s for s, _ in recorder.losses} == {stage}
    assert not (tmp_path / "parts").exists()
    recorder = Recorder()
    assert train(job(data, tmp_path / "parts"), recorder).bundle_id == whole(True).bundle_id
    assert {s for s, _ in recorder.losses} == {"dynamics"}
    with pytest.raises(ModelError, match="alone only where it reads pixels"):
        train_alone(job(data, tmp_path / "joint", lead=False), "lam", Recorder())


def test_training_learns(data: Path, tmp_path: Path) -> None:
    recorder = Recorder()
    episodes = list(open_dataset(data).episodes)
    bundle = load_bundle(
        train(
            TrainingJob(preset("nano"), training_preset("nano"), TrainingSplit(episodes), tmp_path / "b", rollouts=1),
            recorder,
        ).path
    )
    for stage in ("tokenizer", "dynamics"):
        losses = [v for (s, _), v in recorder.losses.items() if s == stage]
        assert losses[-1] < 0.9 * losses[0]
    assert "TRAINING episodes" in bundle.card
    assert "| frames decoded from their tokens, against the frames |" in bundle.card


def test_changing_one_recipe_keeps_the_stages_before_it(
    data: Path, whole: Callable[[bool], BundleInfo], tmp_path: Path
) -> None:
    finished = whole(True).path
    shutil.copytree(finished, tmp_path / "b")
    shutil.copytree(finished.with_name(f"{finished.name}.run"), tmp_path / "b.run")
    first = job(data, tmp_path / "b")
    changed = first.training.model_copy(update={"dynamics": first.training.dynamics.model_copy(update={"lr": 1e-3})})
    again = replace(first, training=changed)
    with pytest.raises(ModelError, match="another configuration"):
        train(again, Recorder())
    (tmp_path / "b.run" / "dynamics.safetensors").unlink()
    recorder = Recorder()
    train(again, recorder)
    assert {stage for stage, _ in recorder.losses} == {"dynamics"}


def test_more_data_for_the_latent_action_model_alone(
    data: Path, whole: Callable[[bool], BundleInfo], tmp_path: Path
) -> None:
    other = make_robomimic(tmp_path / "other.hdf5", episodes=3, frames=11, size=48, fps=10)
    extra = list(open_dataset(other).episodes)
    both = replace(job(data, tmp_path / "b"), lam_data=TrainingSplit(extra[:2], extra[2:]))
    card = train(both, Recorder()).card
    assert "all networks trained on: `robot.hdf5`, 2 episodes, 28 frames" in card
    assert "latent action model trained on besides: `other.hdf5`, 2 episodes, 22 frames" in card
    assert card.count("## Figures on") == 2
    alone = load_bundle(whole(True).path)
    tokenizers = [load_file(path / "tokenizer.safetensors") for path in (alone.info.path, tmp_path / "b")]
    assert all(torch.equal(v, tokenizers[1][k]) for k, v in tokenizers[0].items())
    assert not np.array_equal(alone.codebook, load_bundle(tmp_path / "b").codebook)
    with pytest.raises(ModelError, match="lead"):
        train(replace(job(data, tmp_path / "c", lead=False), lam_data=both.lam_data), Recorder())


def test_the_card_tells_each_files_figures(data: Path, tmp_path: Path) -> None:
    other = make_robomimic(tmp_path / "other.hdf5", episodes=2, frames=11, size=32, fps=10)
    first, second = list(open_dataset(data).episodes), list(open_dataset(other).episodes)
    split = TrainingSplit([*first[:2], *second[:1]], [*first[2:], *second[1:]])
    card = train(replace(job(data, tmp_path / "b"), data=split), Recorder()).card
    for source in ("robot.hdf5", "other.hdf5"):
        assert f"## Figures on held-out episodes of `{source}`" in card


def test_a_damaged_checkpoint_is_named(data: Path, tmp_path: Path) -> None:
    (tmp_path / "b.run").mkdir()
    (tmp_path / "b.run" / "tokenizer.safetensors").write_bytes(b"nonsense")
    with pytest.raises(ModelError, match=r"tokenizer\.safetensors is not a checkpoint"):
        train(job(data, tmp_path / "b"), Recorder())


def test_clips_are_drawn_at_the_models_rate_and_within_one_episode() -> None:
    frames = np.arange(60, dtype=np.uint8)[:, None, None, None] * np.ones((1, 2, 2, 3), np.uint8)
    store = ClipStore(
        frames, (Span("a", "x", 0, 20, 1, 10.0), Span("b", "x", 20, 37, 3, 30.0), Span("short", "x", 57, 3, 1, 10.0))
    )
    clips = store.sample(np.random.default_rng(0), 500, 5)[:, :, 0, 0, 0].astype(int)
    gaps = np.diff(clips, axis=1)
    in_b = clips[:, 0] >= 20
    assert (gaps[~in_b] == 1).all()
    assert (gaps[in_b] == 3).all()
    assert clips[~in_b].max() == 19
    assert clips[in_b].max() == 56
    starts = set(clips[:, 0].tolist())
    assert starts == set(range(16)) | set(range(20, 45))
    with pytest.raises(DatasetError, match="long enough"):
        store.sample(np.random.default_rng(0), 1, 50)


def test_stored_frames_are_reused_and_a_cut_off_file_is_noticed(data: Path, tmp_path: Path) -> None:
    episodes = list(open_dataset(data).episodes)
    build_store(episodes, tmp_path, height=16, width=16, fps=10)
    stamp = (tmp_path / "frames.bin").stat().st_mtime_ns
    store = build_store(episodes, tmp_path, height=16, width=16, fps=10)
    assert (tmp_path / "frames.bin").stat().st_mtime_ns == stamp
    assert store.frames.shape == (42, 16, 16, 3)
    with (tmp_path / "frames.bin").open("rb+") as file:
        file.truncate(100)
    with pytest.raises(DatasetError, match=r"frames\.bin has 100 bytes"):
        build_store(episodes, tmp_path, height=16, width=16, fps=10)


def test_streamed_frames_are_the_stored_ones_and_nothing_is_written(data: Path, tmp_path: Path) -> None:
    clips = tmp_path / "clips"
    clips.mkdir()
    for number in range(3):
        make_video(clips / f"{number}.mp4", frames=90 + number, size=(48, 32), fps=20)
    episodes = [*open_dataset(data).episodes, *open_dataset(clips).episodes]
    stored = build_store(episodes, tmp_path / "store", height=16, width=16, fps=10)
    streamed = stream_store(episodes, height=16, width=16, fps=10)
    assert (streamed.spans, streamed.frames.shape) == (stored.spans, stored.frames.shape)
    for seed in range(3):
        one, other = (store.sample(np.random.default_rng(seed), 12, 9) for store in (stored, streamed))
        assert np.array_equal(one, other)
        one, other = (
            store.sample_apart(np.random.default_rng(seed), 12, 2, (0.1, 4.0)) for store in (stored, streamed)
        )
        assert np.array_equal(one, other)
    for span in stored.spans:
        assert np.array_equal(stored.episode(span), streamed.episode(span))


def test_a_run_may_go_on_with_streamed_frames_and_gives_the_same_weights(data: Path, tmp_path: Path) -> None:
    reference = train(job(data, tmp_path / "whole"), Recorder())
    with pytest.raises(KeyboardInterrupt):
        train(job(data, tmp_path / "cut"), Recorder(("tokenizer", 7)), checkpoint_seconds=0, report_every=1)
    shutil.rmtree(tmp_path / "cut.run" / "frames")
    streaming = replace(job(data, tmp_path / "cut"), stream=True)
    info = train(streaming, Recorder())
    assert info.bundle_id == reference.bundle_id
    assert not (tmp_path / "cut.run" / "frames").exists()


def test_data_without_a_frame_rate_is_refused(tmp_path: Path) -> None:
    path = make_robomimic(tmp_path / "r.hdf5", episodes=1, frames=5, size=16, fps=None)
    with pytest.raises(DatasetError, match="fps"):
        build_store(open_dataset(path).episodes, tmp_path / "s", height=16, width=16, fps=10)


def test_the_command_trains_and_dry_runs(data: Path, tmp_path: Path) -> None:
    import typer

    from genie_cli.train import train as command

    app = typer.Typer()
    app.command()(command)
    opened = CliRunner().invoke(app, [str(data), "--preset", "nano", "--dry-run"])
    assert f"{data}: " in opened.output
    assert " episodes, " in opened.output
    gone = CliRunner().invoke(app, [str(tmp_path / "gone.hdf5"), "--preset", "nano", "--dry-run"])
    assert isinstance(gone.exception, DatasetError)
    shown = CliRunner().invoke(app, ["--preset", "robotics", "--dry-run"])
    assert shown.exit_code == 0
    assert "total 2,499,828,080 parameters" in shown.output
    recipe = tmp_path / "recipe.json"
    recipe.write_text(json.dumps({"lam": {"lr": 1e-3}, "model": {"name": "own", "lam": {"quantizer": {"codes": 5}}}}))
    arguments = [str(data), "--preset", "nano", "--out", str(tmp_path / "b"), "--scale", "0.1", "--recipe", str(recipe)]
    done = CliRunner().invoke(app, [*arguments, "--hold-out", "0.34"])
    assert done.exit_code == 0, done.output
    bundle = load_bundle(tmp_path / "b")
    card = bundle.card
    assert (bundle.name, len(bundle.codebook)) == ("own", 5)
    assert "held-out episodes" in card
    assert '"lr": 0.001' in card
    assert list((tmp_path / "b.run" / "tensorboard").iterdir())


@pytest.mark.parametrize(
    ("text", "complaint"),
    [
        ("[1]", "got a list, expected an object"),
        ("{", "cannot be read"),
        ('{"lam": {"speed": 3}}', "lam.speed"),
        ('{"model": {"lam": {"quantizer": {"codes": 0}}}}', "quantizer.codes"),
        ('{"model": 3}', "--recipe .*: `model`: got a int"),
    ],
)
def test_a_recipe_that_does_not_fit_is_refused(tmp_path: Path, text: str, complaint: str) -> None:
    recipe = tmp_path / "recipe.json"
    recipe.write_text(text)
    with pytest.raises(ModelError, match=complaint):
        adjusted(preset("nano"), training_preset("nano"), 1.0, 0, recipe)


@pytest.fixture(scope="module")
def squares(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return make_squares(tmp_path_factory.mktemp("squares") / "robot.hdf5", episodes=3, frames=14, size=32)


def motion_job(data: Path, out: Path, steps: int = 60, mover: MoverConfig | None = None) -> TrainingJob:
    lam = MotionActionConfig(quantizer=QuantizerConfig(codes=4, dim=8, metric="euclidean"), width=8, decoder_width=8)
    model = preset("nano").model_copy(update={"lam": lam, "simulates": False, "mover": mover})
    stage = StageConfig(steps=steps, batch=8, clip_frames=2, lr=1e-2, warmup=5)
    rest = {
        "mover": stage.model_copy(update={"lr": 3e-2}),
        "refiner": stage.model_copy(update={"steps": 20, "batch": 4, "clip_frames": 4}),
    }
    training = short().model_copy(update={"lam": stage, **rest})
    episodes = list(open_dataset(data).episodes)
    return TrainingJob(model, training, TrainingSplit(episodes[:2], episodes[2:]), out)


def test_motion_is_learnt_and_a_killed_run_resumes_to_the_same_bundle(squares: Path, tmp_path: Path) -> None:
    whole, mover = Recorder(), MoverConfig(width=8, blocks=1, refiner=RefinerConfig(width=8, blocks=1))
    info = train(motion_job(squares, tmp_path / "whole", mover=mover), whole, report_every=1)
    for stage in ("lam", "mover", "refiner"):
        losses = [loss for (of, _), loss in whole.losses.items() if of == stage]
        assert np.mean(losses[-10:]) < 0.93 * np.mean(losses[:5])
    for stop in (("lam", 30), ("mover", 20), ("refiner", 10)):
        job = motion_job(squares, tmp_path / "cut", mover=mover)
        with pytest.raises(KeyboardInterrupt):
            train(job, Recorder(stop), checkpoint_seconds=0, report_every=1)
    resumed = train(motion_job(squares, tmp_path / "cut", mover=mover), Recorder(), report_every=1)
    assert resumed.bundle_id == info.bundle_id
    assert sorted(p.name for p in info.path.glob("*.safetensors")) == ["lam.safetensors", "mover.safetensors"]
    assert "| the same of the rollout with inferred latents: a replay |" in info.card
    assert "next frame predicted right" not in info.card  # it has no tokens


def test_tokens_learn_to_mend_what_a_finished_mover_moves_and_a_killed_run_resumes(
    squares: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Labels and mover stay those of the bundle that training starts from."""
    monkeypatch.setattr(stages, "_MOTION_BATCHES", 16)  # of pairs that codes are fitted to
    mover = MoverConfig(width=8, blocks=1)
    parent = train(motion_job(squares, tmp_path / "parent", steps=10, mover=mover), Recorder())
    plain = motion_job(squares, tmp_path / "x", mover=mover.model_copy(update={"mending": MendingConfig()}))
    dynamics = plain.model.dynamics.model_copy(update={"temporal": "none"})
    stage = StageConfig(steps=16, batch=4, clip_frames=4, lr=1e-2, warmup=2)
    training = plain.training.model_copy(
        update={
            "tokenizer": stage,
            "dynamics": stage,
            "mending_training": MendingTraining(steps=2, sure_weight=1),
        }
    )
    job = replace(
        plain, model=plain.model.model_copy(update={"dynamics": dynamics}), training=training, init=parent.path
    )
    recorded = Recorder()
    info = train(replace(job, out=tmp_path / "whole"), recorded, report_every=1)
    for stage_name in ("tokenizer", "dynamics"):
        losses = [loss for (of, _), loss in recorded.losses.items() if of == stage_name]
        assert np.mean(losses[-5:]) < 0.93 * np.mean(losses[:3])
    assert not any(of in ("lam", "mover") for of, _ in recorded.losses)
    for name in ("lam", "mover"):
        ours, theirs = (load_file(at / f"{name}.safetensors") for at in (info.path, parent.path))
        assert all(torch.equal(ours[key], theirs[key]) for key in theirs)
    with pytest.raises(KeyboardInterrupt):
        train(replace(job, out=tmp_path / "cut"), Recorder(("dynamics", 10)), checkpoint_seconds=0, report_every=1)
    assert train(replace(job, out=tmp_path / "cut"), Recorder(), report_every=1).bundle_id == info.bundle_id


def test_a_bundle_that_moves_frames_simulates_by_codes_and_by_latents(squares: Path, tmp_path: Path) -> None:
    plain, recorded = MoverConfig(width=8, places=4, steady_px=0), Recorder()
    bundle = load_bundle(train(motion_job(squares, tmp_path / "b", mover=plain), recorded, report_every=1).path)
    losses = [loss for (stage, _), loss in recorded.losses.items() if stage == "mover"]
    assert losses[-1] < losses[0] < 1.6  # it begins with what latents tell by themselves: nothing moved costs about 2
    episode = next(iter(open_dataset(squares).episodes))
    labels, simulator = Labeller(bundle).label(episode.frames(), 1), Simulator(bundle)
    assert simulator.context_frames == MoverConfig().prompt_frames
    replayed = simulator.rollout(episode.frames(0, 1), list(labels.latent[:4]))
    assert replayed.shape == (4, 32, 32, 3)
    again = np.concatenate(
        [
            simulator.rollout(episode.frames(0, 1), list(labels.latent[:2])),
            simulator.rollout(replayed[1:2], list(labels.latent[2:4])),
        ]
    )
    np.testing.assert_array_equal(again, replayed)
    coded = simulator.rollout(episode.frames(0, 1), [int(code) for code in labels.code[:4]])
    np.testing.assert_array_equal(
        coded, simulator.rollout(episode.frames(0, 1), list(bundle.codebook[labels.code[:4]]))
    )
    # Frames before the last say how fast things move here: a code then moves as their latents did.
    prompt_PHWC = episode.frames(0, 5)
    seen = Labeller(bundle).label(prompt_PHWC, 1)
    told = simulator.rollout(prompt_PHWC, [int(seen.code[3])])
    alike_ND = seen.latent[:4][seen.code[:4] == seen.code[3]]
    own = (alike_ND.sum(0) + 2 * bundle.codebook[seen.code[3]]) / (len(alike_ND) + 2)
    np.testing.assert_array_equal(told, simulator.rollout(prompt_PHWC[-1:], [own.astype(np.float32)]))
    np.testing.assert_array_equal(  # a latent says its size itself
        simulator.rollout(prompt_PHWC, [labels.latent[0]]), simulator.rollout(prompt_PHWC[-1:], [labels.latent[0]])
    )
    with pytest.raises(RequestError, match="expected a latent of 8 finite numbers"):
        simulator.rollout(episode.frames(0, 1), [np.zeros(7, np.float32)])
    with pytest.raises(RequestError, match="some not finite"):
        simulator.rollout(episode.frames(0, 1), [np.full(8, np.nan, np.float32)])


def test_a_bundle_of_labels_alone_labels_and_says_that_it_does_not_simulate(squares: Path, tmp_path: Path) -> None:
    info = train(motion_job(squares, tmp_path / "labels", steps=1), Recorder())
    bundle = load_bundle(info.path)
    episode = next(iter(open_dataset(squares).episodes))
    labels = Labeller(bundle).label(episode.frames(), 1)
    assert labels.valid.sum() == episode.num_frames - 1
    with pytest.raises(RequestError, match="labels video and has neither"):
        Simulator(bundle).start(episode.frames(0, 1))
    assert (bundle.config.context_frames, bundle.config.components) == (0, ("lam",))


def test_pairs_come_from_every_source_and_lie_within_the_gap() -> None:
    frames = np.zeros((110, 1, 1, 3), np.uint8)
    frames[:, 0, 0, 0] = np.arange(110)
    spans = (Span("a", "large", 0, 100, 1, 10.0), Span("b", "small", 100, 10, 1, 5.0))
    pairs = ClipStore(frames, spans).sample_apart(np.random.default_rng(0), 400, 2, (0.1, 0.7))[..., 0].reshape(-1, 2)
    gap, small = pairs[:, 1].astype(int) - pairs[:, 0], pairs[:, 0] >= 100
    assert (set(gap[~small]), set(gap[small])) == ({1, 2, 3, 4, 5, 6, 7}, {1, 2, 3})
    assert small.mean() == pytest.approx(10**0.5 / (10**0.5 + 10), abs=0.08)  # 0.24, not 0.09
    runs = ClipStore(frames, spans).sample_runs(np.random.default_rng(0), 400, (0.1, 0.7))
    for run, (first, last) in zip(runs, pairs.astype(int).tolist(), strict=True):
        assert run[:, 0, 0, 0].tolist() == list(range(first, last + 1))


def test_codes_are_fitted_to_latents_as_labels_have_them(monkeypatch: pytest.MonkeyPatch) -> None:
    """They are sums from frame to frame; pairs that are mirrored or reversed are so with all frames between them."""
    monkeypatch.setattr(stages, "_MOTION_BATCHES", 1)
    monkeypatch.setattr(stages, "turned", lambda clip_BTCHW: clip_BTCHW)
    store = ClipStore(
        np.random.default_rng(0).integers(0, 256, (30, 32, 32, 3), np.uint8), (Span("a", "a", 0, 30, 1, 10),)
    )
    quantizer = QuantizerConfig(codes=4, dim=6, metric="euclidean")
    model = preset("nano").model_copy(update={"lam": MotionActionConfig(quantizer=quantizer, width=8, sums=True)})
    lam, training = Genie(model).lam.eval(), training_preset("motion")
    assert isinstance(lam, MotionActionModel)
    found_ND = stages.summed_latents(lam, store, training)
    runs = list(store.sample_runs(np.random.default_rng([0, 3, 0]), training.lam.batch, (0.1, 0.7)))
    assert {2, 3, 4} < {len(run) for run in runs}
    for latent_D, run_THWC in zip(found_ND, runs, strict=True):
        parts = [
            lam.latents(to_pixels(torch.from_numpy(run_THWC[None, i : i + 2])))[0, 0] for i in range(len(run_THWC) - 1)
        ]
        torch.testing.assert_close(latent_D, torch.stack(parts).sum(0), atol=1e-4, rtol=1e-4)


def test_training_goes_on_from_a_bundle_and_refuses_one_of_other_networks(
    data: Path, squares: Path, tmp_path: Path
) -> None:
    first = train(motion_job(squares, tmp_path / "first"), Recorder())
    more = replace(motion_job(squares, tmp_path / "more", steps=1), init=first.path)
    fresh, resumed = Recorder(), Recorder()
    train(motion_job(squares, tmp_path / "fresh", steps=1), fresh, report_every=1)
    train(more, resumed, report_every=1)
    assert resumed.losses["lam", 1] < fresh.losses["lam", 1]
    with pytest.raises(ModelError, match=r"lam: got .*, expected "):
        train(replace(job(data, tmp_path / "other"), init=first.path), Recorder())


def test_sources_are_read_each_in_its_own_way(data: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    import typer

    from genie_cli.train import train as command

    monkeypatch.setattr(stages, "_MOTION_BATCHES", 8)  # of pairs that codes are fitted to
    listed = tmp_path / "sources.json"
    listed.write_text(json.dumps([{"path": str(data), "camera": "agentview_image", "fps": 10}]))
    app = typer.Typer()
    app.command()(command)
    out = tmp_path / "bundle"
    recipe = tmp_path / "recipe.json"
    small = {"kind": "motion", "quantizer": {"codes": 4, "dim": 8, "metric": "euclidean"}, "width": 8, "sums": True}
    recipe.write_text(json.dumps({"model": {"lam": small}}))
    options = ["--preset", "motion", "--sources", str(listed), "--scale", "0.0004", "--recipe", str(recipe)]
    result = CliRunner().invoke(app, [*options, "--out", str(out)])
    assert result.exit_code == 0, result.output
    assert load_bundle(out).config.components == ("lam", "mover")
    listed.write_text('[{"file": "x"}]')
    with pytest.raises(DatasetError, match="expected a JSON list of objects with a `path`"):
        CliRunner().invoke(app, [*options, "--out", str(out)], catch_exceptions=False)
