"""Trains the tokens that mend moved frames (`motion-tokens`), for as long as it is given, on the data given.

Labels and mover are those of the shipped bundle. Frames are decoded in threads and kept in memory; latents are read by
processes while the tokenizer is trained, since flow is the CPU's. How many steps fit is tried first and written down,
so that a run that was stopped goes on as the same. The bundle is written every half minute.
"""

from __future__ import annotations

import json
import multiprocessing
import os
import time
from collections.abc import Callable, Iterator, Sequence
from concurrent.futures import Future, ProcessPoolExecutor, ThreadPoolExecutor
from dataclasses import replace
from itertools import pairwise
from pathlib import Path
from statistics import median

import numpy as np
import torch
from numpy.typing import NDArray

from benchmarks.gpu.found import Found
from benchmarks.gpu.opencv_video import episodes_of
from benchmarks.gpu.parts import Setting
from benchmarks.gpu.token_rollouts import compare
from genie_core.bundles import models_dir
from genie_core.data import Episode, resize_frames
from genie_core.models.bundle import load_bundle, save_bundle
from genie_core.models.genie import Genie
from genie_core.models.motion_lam import MotionActionModel
from genie_core.models.presets import preset
from genie_core.training.clips import ClipStore, Span, stream_store
from genie_core.training.config import StageConfig, TrainingConfig, training_preset
from genie_core.training.labelled_clips import latents_file, read_latents
from genie_core.training.loop import TrainingRun
from genie_core.training.stages import train_mending, train_tokenizer

TRAIN, HELD = "train", "held"
"""Folders of the data: to train on, and to compare rollouts on."""

_TOKENIZER_SHARE, _KEPT_S = 0.3, 60.0
"""Of the time given; and seconds of it that are kept for the comparison."""

_TRIAL, _FIRST = 24, 8
"""Steps that are timed, and those before them that are not."""

_SAVED_S = 30.0


class _Saver:
    """Prints progress now and then, writes the bundle every half minute, and stops the time of steps."""

    def __init__(self, out: Path, genie: Genie) -> None:
        self._out, self._genie = out, genie
        self._said = self._saved = time.monotonic()
        self.at: list[float] = []

    def start(self, stage: str, step: int, steps: int) -> None:
        """A stage begins."""
        print(f"  {stage}: from {step} to {steps}", flush=True)

    def step(self, stage: str, step: int, metrics: dict[str, float]) -> None:
        """Note how far it is."""
        now = time.monotonic()
        self.at.append(now)
        if metrics and now - self._said > 5:
            self._said = now
            print(f"  {stage} {step}: " + "  ".join(f"{k} {v:.3g}" for k, v in metrics.items()), flush=True)
        if now - self._saved > _SAVED_S:
            save_bundle(self._out, self._genie, "", half=True)
            self._saved = time.monotonic()


def measure(setting: Setting) -> Iterator[Found]:
    """Train, or go on, and compare rollouts with those of the shipped bundle."""
    if setting.data is None:
        raise ValueError("tokens: got no --data, expected a folder with `train` and `held` of video")
    began = time.monotonic()
    torch.backends.cuda.matmul.allow_tf32 = torch.backends.cudnn.allow_tf32 = True
    out, work = setting.folder / "tokens", setting.folder / "tokens.run"
    work.mkdir(parents=True, exist_ok=True)
    out.mkdir(parents=True, exist_ok=True)
    device = torch.device(setting.device)
    parent = load_bundle(models_dir() / "motion")
    model = preset("motion-tokens")
    torch.manual_seed(0)
    genie = Genie(model)
    for network in ("lam", "mover"):
        getattr(genie, network).load_state_dict(getattr(parent.genie, network).state_dict(), strict=False)
    lam = genie.lam
    assert isinstance(lam, MotionActionModel)
    data, some = Path(setting.data), 4 if setting.dry else None
    store = _in_memory(_episodes(data / TRAIN, some), model.height, model.width, model.fps)
    held = _in_memory(_episodes(data / HELD, some), model.height, model.width, model.fps)
    print(f"  {store.frames.shape[0]} frames after {time.monotonic() - began:.0f} s", flush=True)
    reading = _start_reading(lam, store, work)
    genie.to(device)
    saver = _Saver(out / "bundle", genie)
    run = TrainingRun(
        work, 0, device, bf16=True, reporter=saver, init=parent.bundle_id, checkpoint_seconds=30, report_every=20
    )
    recipe = _sized(training_preset("motion-tokens"), setting.dry)
    end = began + 60 * setting.minutes - (0 if setting.dry else _KEPT_S)
    for stage, train, share in (
        ("tokenizer", train_tokenizer, _TOKENIZER_SHARE),
        ("dynamics", train_mending, 1.0),
    ):
        if stage == "dynamics":
            reading()
        seconds = share * (end - time.monotonic())
        recipe = _planned(recipe, stage, seconds, setting, train, run, genie, store)
        first = time.monotonic()
        train(run, genie, store, recipe)
        steps = getattr(recipe, stage).steps
        note = f"batch {getattr(recipe, stage).batch}, {time.monotonic() - first:.0f} s this time"
        yield Found(f"tokens: steps of {stage}", steps, "steps", None, note)
    genie.eval()
    save_bundle(out / "bundle", genie, _card(setting, recipe), half=True)
    mending = load_bundle(out / "bundle", setting.device)
    shipped = load_bundle(models_dir() / "motion", setting.device)
    yield from compare(shipped, mending, held, out, starts=2 if setting.dry else 96)
    print(f"  done after {time.monotonic() - began:.0f} s", flush=True)


Train = Callable[[TrainingRun, Genie, ClipStore, TrainingConfig], None]


def _planned(
    recipe: TrainingConfig,
    stage: str,
    seconds: float,
    setting: Setting,
    train: Train,
    run: TrainingRun,
    genie: Genie,
    store: ClipStore,
) -> TrainingConfig:
    """Return the recipe with as many steps as fit, or were written down; times a few of a copy that is thrown away."""
    plan = run.folder / f"{stage}.json"
    config: StageConfig = getattr(recipe, stage)
    if not plan.exists():
        steps = 3
        if not setting.dry:
            trial = run.folder / "trial"
            for old in trial.glob("*.safetensors"):
                old.unlink()
            saver = _Saver(trial / "bundle", genie)
            short = recipe.model_copy(
                update={
                    stage: config.model_copy(update={"steps": _FIRST + _TRIAL}),
                    "tokenizer_training": recipe.tokenizer_training.model_copy(update={"continuous_steps": 0}),
                }
            )
            tried = TrainingRun(trial, 0, run.device, run.bf16, saver, checkpoint_seconds=1e9, report_every=1)
            trial.mkdir(exist_ok=True)
            for kept in run.folder.glob("latents-*.npy"):
                if not (trial / kept.name).exists():
                    (trial / kept.name).symlink_to(kept.resolve())
            before = {name: tensor.clone() for name, tensor in genie.state_dict().items()}
            began = time.monotonic()
            train(tried, genie, store, short)
            genie.load_state_dict(before)
            genie.requires_grad_(True)
            # Some steps of the trial are recorded, which takes longer.
            each = median(later - at for at, later in pairwise(saver.at[-_TRIAL - 1 :]))
            steps = max(_TRIAL, round((seconds - (time.monotonic() - began)) / each))
            print(f"  {stage}: {1 / each:.1f} steps/s, so {steps} in {seconds:.0f} s", flush=True)
        plan.write_text(json.dumps({"steps": steps, "minutes": setting.minutes}))
    return recipe.model_copy(
        update={stage: config.model_copy(update={"steps": int(json.loads(plan.read_text())["steps"])})}
    )


def _sized(recipe: TrainingConfig, dry: bool) -> TrainingConfig:
    """Return the recipe with a GPU's batches, or tiny ones."""
    tokenizer, dynamics = (2, 2) if dry else (128, 64)
    mending = recipe.mending_training.model_copy(update={"steps": 2 if dry else 5})
    continuous = recipe.tokenizer_training.model_copy(update={"continuous_steps": 1 if dry else 200})
    return recipe.model_copy(
        update={
            "tokenizer": recipe.tokenizer.model_copy(update={"batch": tokenizer}),
            "dynamics": recipe.dynamics.model_copy(update={"batch": dynamics, "clip_frames": 4 if dry else 12}),
            "mending_training": mending,
            "tokenizer_training": continuous,
        }
    )


def _episodes(folder: Path, some: int | None) -> list[Episode]:
    """Return the videos of a folder that are long enough to roll out; `some` of them, evenly, or all."""
    found = [episode for episode in episodes_of(folder) if episode.num_frames >= 12]
    return found if some is None else found[:: max(1, len(found) // some)][:some]


def _in_memory(episodes: Sequence[Episode], height: int, width: int, fps: float) -> ClipStore:
    """Decode and resize in threads."""

    def read(episode: Episode) -> NDArray[np.uint8]:
        return np.concatenate([resize_frames(chunk, height, width) for chunk in episode.chunks(256)])

    with ThreadPoolExecutor(os.cpu_count() or 1) as pool:
        frames_NHWC = np.concatenate(list(pool.map(read, episodes)))
    spans = stream_store(episodes, height=height, width=width, fps=fps).spans
    # A folder is a source, of however many files.
    named = (replace(span, source=Path(str(e.source)).parent.name) for span, e in zip(spans, episodes, strict=True))
    return ClipStore(frames_NHWC, tuple(named))


def _start_reading(lam: MotionActionModel, store: ClipStore, work: Path) -> Callable[[], None]:
    """Read latents in other processes; returns what waits for them and puts them where training looks."""
    path = latents_file(lam, store, work)
    if path.exists():
        return lambda: None
    frames = work / "frames.npy"
    np.save(frames, np.asarray(store.frames[:]), allow_pickle=False)
    workers = max(1, (os.cpu_count() or 2) - 2)
    # Long ones first, so that all end together.
    order = sorted(store.spans, key=lambda span: -span.count)
    pool = ProcessPoolExecutor(workers, mp_context=multiprocessing.get_context("spawn"))
    parts: list[Future[tuple[list[Span], list[NDArray[np.float16]]]]] = [
        pool.submit(_latents_of, frames, order[i :: 4 * workers]) for i in range(4 * workers) if order[i :: 4 * workers]
    ]

    def wait() -> None:
        began = time.monotonic()
        latent_2ND = np.zeros((2, len(np.asarray(store.frames)), lam.config.quantizer.dim), np.float16)
        for part in parts:
            for span, found in zip(*part.result(), strict=True):
                latent_2ND[:, span.first : span.first + span.count] = found
        with path.open("wb") as file:
            np.save(file, latent_2ND, allow_pickle=False)
        pool.shutdown()
        print(f"  waited {time.monotonic() - began:.0f} s for latents", flush=True)

    return wait


def _latents_of(frames: Path, spans: list[Span]) -> tuple[list[Span], list[NDArray[np.float16]]]:
    """Read the latents of some episodes, in one thread of this process."""
    torch.set_num_threads(1)
    lam = load_bundle(models_dir() / "motion").genie.lam
    assert isinstance(lam, MotionActionModel)
    held = np.load(frames, mmap_mode="r", allow_pickle=False)
    found = []
    for span in spans:
        alone = Span(span.name, span.source, 0, span.count, span.step, span.fps)
        store = ClipStore(np.array(held[span.first : span.first + span.count]), (alone,))
        found.append(read_latents(lam, store, threads=1))
    return spans, found


def _card(setting: Setting, recipe: TrainingConfig) -> str:
    return (
        "# motion-tokens\n\nLabels and mover of the shipped bundle `motion`; tokens that mend moved frames, by\n\n"
        f"    python -m benchmarks.gpu tokens --data VIDEOS --train-minutes {setting.minutes:g}\n\n"
        f"```json\n{recipe.model_dump_json(indent=2)}\n```\n"
    )


__all__ = ["measure"]
