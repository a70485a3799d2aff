"""How many frames a GPU labels in a second: with the frames in memory, and from MP4 to labels."""

from __future__ import annotations

import os
import time
from collections.abc import Callable, Iterator
from concurrent.futures import ThreadPoolExecutor
from functools import partial
from pathlib import Path

import numpy as np
import torch
from numpy.typing import NDArray

from benchmarks.episodes import make_clip
from benchmarks.gpu.found import Found
from benchmarks.gpu.labels import BATCH, MOTION_BATCH, label_in_batches
from benchmarks.gpu.parts import Setting
from benchmarks.gpu.precisions import FORMATS, arithmetic, finish, weights
from benchmarks.gpu.videos import read_video, sample_video
from genie_core.bundles import models_dir
from genie_core.data import resize_frames
from genie_core.inference import BLOCK, Block, Labeller
from genie_core.inference.shapes import threads_of_this_thread
from genie_core.models.bundle import load_bundle
from genie_core.models.lam import LatentActionModel

GOAL = 30_000
"""Frames/s at 64 x 64 on one H100, decoding apart."""

SIZES = {"tiny": (BATCH, 128, 512), "motion": (2, MOTION_BATCH)}
"""Blocks a batch to choose the best of; a server's default for `tiny` is the first. Of `motion`, whose optical flow is
the CPU's, every lane computes its own."""

FRAMES = 120
"""Of each file."""

VIDEO_SIZES = ((180, 320), (480, 640))
"""Height and width, pixels."""


def measure(setting: Setting) -> Iterator[Found]:
    """Yield `tiny` from memory in each format."""
    return _measure(setting, "tiny")


def measure_motion(setting: Setting) -> Iterator[Found]:
    """Yield `motion` from memory in each format."""
    return _measure(setting, "motion")


def measure_video(setting: Setting) -> Iterator[Found]:
    """Yield both from MP4 to labels, in float32."""
    with arithmetic("fp32"):
        for name in SIZES:
            yield from _from_video(setting, name, Labeller(load_bundle(models_dir() / name, setting.device)))


def _measure(setting: Setting, name: str) -> Iterator[Found]:
    for kind in FORMATS:
        with arithmetic(kind):
            labeller = Labeller(load_bundle(models_dir() / name, setting.device, weights(kind)))
            yield from _from_memory(setting, name, kind, labeller)


def _from_memory(setting: Setting, name: str, kind: str, labeller: Labeller) -> Iterator[Found]:
    seconds = 0.05 if setting.dry else 1.5
    lanes = _cores() if name == "motion" and not setting.dry else 1
    best, notes = 0.0, []
    for size in (2,) if setting.dry else SIZES[name]:
        clip = make_clip(BLOCK, seed=size)
        blocks = [Block(np.roll(clip, i, axis=0), labeller.initial_state()) for i in range(size)]
        rate = size * BLOCK * _per_second(partial(_encode, labeller, blocks), seconds, lanes)
        notes.append(f"batch {size}: {rate:,.0f}")
        best = max(best, rate)
    note = "; ".join(notes) + (f"; {lanes} lanes, which optical flow needs" if lanes > 1 else "")
    yield Found(f"{name} {kind}: labelled from memory", best, "frames/s", GOAL if name == "tiny" else None, note)
    if isinstance(labeller.bundle.genie.lam, LatentActionModel):
        yield _network_alone(setting, name, kind, labeller.bundle.genie.lam, seconds)


def _encode(labeller: Labeller, blocks: list[Block]) -> None:
    with threads_of_this_thread(1):
        labeller.encode(blocks)


def _cores() -> int:
    return min(16, os.cpu_count() or 1)


def _network_alone(setting: Setting, name: str, kind: str, lam: LatentActionModel, seconds: float) -> Found:
    """Measure the encoder on frames that are on the GPU already: the device's own part."""
    size = 2 if setting.dry else SIZES["tiny"][-1]
    dtype = next(lam.parameters()).dtype
    pixels = torch.rand(size, BLOCK, 3, 64, 64, device=setting.device, dtype=dtype) - 0.5

    @torch.inference_mode()
    def run() -> None:
        lam.latents(pixels)
        finish(setting.device)

    rate = size * BLOCK * _per_second(run, seconds, 1)
    return Found(f"{name} {kind}: the encoder alone", rate, "frames/s", None, f"batch {size}, frames on the device")


def _per_second(work: Callable[[], object], seconds: float, lanes: int) -> float:
    """Return calls a second of `lanes` threads together, after one call each that does not count."""
    with ThreadPoolExecutor(lanes) as pool:
        list(pool.map(lambda _: work(), range(lanes)))
        began = time.perf_counter()

        def repeat(_: int) -> int:
            count = 0
            while time.perf_counter() - began < seconds or not count:
                work()
                count += 1
            return count

        calls = sum(pool.map(repeat, range(lanes)))
    return calls / (time.perf_counter() - began)


def _from_video(setting: Setting, name: str, labeller: Labeller) -> Iterator[Found]:
    """Label files that are decoded, resized and labelled in threads, a file in each."""
    size = 2 if setting.dry else MOTION_BATCH
    for height, width in VIDEO_SIZES[:1] if setting.dry else VIDEO_SIZES:
        made = sample_video(setting.folder, height, width, 24 if setting.dry else FRAMES)
        threads = _cores()
        files = [made.path] * (2 if setting.dry else 4 * threads)

        def frames_of(path: Path) -> NDArray[np.uint8]:
            parts = [resize_frames(chunk, labeller.height, labeller.width) for chunk in read_video(path)]
            return np.concatenate(parts)

        def label(path: Path) -> int:
            frames = frames_of(path)
            label_in_batches(labeller, [frames], size=size, together=1, chunk=len(frames))
            return len(frames)

        with ThreadPoolExecutor(threads) as pool:
            list(pool.map(label, files[:threads]))  # the first time is slower than all others
            began = time.perf_counter()
            count = sum(len(frames) for frames in pool.map(frames_of, files))
            decoding = count / (time.perf_counter() - began)
            began = time.perf_counter()
            rate = sum(pool.map(label, files)) / (time.perf_counter() - began)
        note = f"{made.codec}, {made.library}, {threads} threads; decoding and resizing alone {decoding:,.0f}"
        yield Found(f"{name} fp32: labelled from MP4 of {width} x {height}", rate, "frames/s", None, note)


__all__ = ["measure", "measure_motion", "measure_video"]
