"""Whether a GPU's labels depend on anything but bundle and episode, and how far they agree with the CPU's.

Blocks are encoded as a server does: in batches of one fixed size, filled up where there are fewer.
"""

from __future__ import annotations

import hashlib
import os
import subprocess
import sys
from collections.abc import Callable, Iterator, Sequence
from concurrent.futures import ThreadPoolExecutor
from functools import partial

import numpy as np
from numpy.typing import NDArray

from benchmarks.episodes import make_clip
from benchmarks.gpu.found import Found
from benchmarks.gpu.parts import Setting
from benchmarks.gpu.precisions import FORMATS, arithmetic, weights
from genie_core.bundles import models_dir
from genie_core.data import Labels
from genie_core.inference import Encoded, Labeller
from genie_core.inference.shapes import threads_of_this_thread
from genie_core.models.bundle import load_bundle

BATCH = 32
"""Blocks a batch: what `genie serve` takes on a GPU."""

MOTION_BATCH = 8
"""The same of `motion`, whose optical flow would be computed for what fills a batch up, too, on the CPU."""

AGREEMENT = 0.999
"""Share of transitions whose code must be the CPU's."""


def label_in_batches(
    labeller: Labeller, episodes: Sequence[NDArray[np.uint8]], *, size: int, together: int, chunk: int
) -> list[Labels]:
    """Label episodes, `together` at a time, fed `chunk` frames at a time, in batches of exactly `size` blocks."""
    with threads_of_this_thread(1):  # what the CPU computes must not depend on how many cores are free either
        return _label_in_batches(labeller, episodes, size, together, chunk)


def _label_in_batches(
    labeller: Labeller, episodes: Sequence[NDArray[np.uint8]], size: int, together: int, chunk: int
) -> list[Labels]:
    done: list[Labels] = []
    for first in range(0, len(episodes), together):
        some = episodes[first : first + together]
        streams = [labeller.stream(1) for _ in some]
        parts: list[list[Labels]] = [[] for _ in some]
        longest = max(map(len, some))
        for at in range(0, longest + chunk, chunk):
            for stream, frames in zip(streams, some, strict=True):
                if at < len(frames):
                    stream.feed(frames[at : at + chunk])
                else:
                    stream.end()
            while ready := [(i, blocks) for i, stream in enumerate(streams) if (blocks := stream.work())]:
                blocks = [block for _, found in ready for block in found]
                encoded: list[Encoded] = []
                for start in range(0, len(blocks), size):
                    batch = blocks[start : start + size]
                    filled = batch + [batch[0]] * (size - len(batch))
                    encoded += labeller.encode(filled)[: len(batch)]
                for i, found in ready:
                    parts[i].append(streams[i].take(encoded[: len(found)]))
                    del encoded[: len(found)]
        done += [Labels.concatenate([*part, stream.rest()]) for part, stream in zip(parts, streams, strict=True)]
    return done


def digest(labels: Sequence[Labels]) -> str:
    """Return the SHA-256 of all that labels say."""
    found = hashlib.sha256()
    for one in labels:
        for array in (one.code, one.latent, one.confidence, one.valid):
            found.update(np.ascontiguousarray(array).data)
    return found.hexdigest()


def clips(dry: bool, count: int = 64, longest: int = 160) -> list[NDArray[np.uint8]]:
    """Return episodes of several lengths, (T, 64, 64, 3) uint8."""
    if dry:
        count, longest = 2, 20
    return [make_clip(longest - 7 * (i % 5), seed=100 + i) for i in range(count)]


def _clips_for(name: str, dry: bool) -> list[NDArray[np.uint8]]:
    return clips(dry, 24, 80) if name == "motion" else clips(dry)


def measure(setting: Setting) -> Iterator[Found]:
    """Yield `tiny` in float32 in many ways, then its agreement with the CPU in each format."""
    return _measure(setting, "tiny", BATCH)


def measure_motion(setting: Setting) -> Iterator[Found]:
    """Yield the same of `motion`, of fewer and shorter episodes, as its optical flow is the CPU's."""
    return _measure(setting, "motion", MOTION_BATCH)


def _measure(setting: Setting, name: str, batch: int) -> Iterator[Found]:
    episodes, batch = _clips_for(name, setting.dry), 2 if setting.dry else batch
    reference = _on_cpu(name, episodes)
    for kind in FORMATS:
        with arithmetic(kind):
            labeller = Labeller(load_bundle(models_dir() / name, setting.device, weights(kind)))
            found = label_in_batches(labeller, episodes, size=batch, together=len(episodes), chunk=1000)
            if kind != "tf32":
                yield from _same_bits(setting, name, kind, labeller, episodes, batch, found)
            yield _agreement(name, kind, reference, found)


def _on_cpu(name: str, episodes: Sequence[NDArray[np.uint8]]) -> list[Labels]:
    labeller = Labeller(load_bundle(models_dir() / name))

    def label(some: Sequence[NDArray[np.uint8]]) -> list[Labels]:
        with threads_of_this_thread(1):
            return labeller.label_many(some, 1)

    lanes = min(16, os.cpu_count() or 1)
    share = -(-len(episodes) // lanes)
    with ThreadPoolExecutor(lanes) as pool:
        parts = pool.map(label, [episodes[at : at + share] for at in range(0, len(episodes), share)])
        return [labels for part in parts for labels in part]


def _same_bits(
    setting: Setting,
    name: str,
    kind: str,
    labeller: Labeller,
    episodes: list[NDArray[np.uint8]],
    size: int,
    found: list[Labels],
) -> Iterator[Found]:
    label = partial(label_in_batches, labeller, size=size)
    ways: dict[str, Callable[[], list[Labels]]] = {
        "batch": lambda: label(episodes, together=1, chunk=1000),
        "order": lambda: label(episodes[::-1], together=7, chunk=1000)[::-1],
        "chunk": lambda: label(episodes, together=len(episodes), chunk=7),
        "threads": lambda: _in_threads(label, episodes),
    }
    for way, run in ways.items():
        same = _equal(found, run())
        yield Found(f"{name} {kind}: labels of the same bits, {way}", same, "x", 1.0)
    if kind == "fp32" and not (setting.dry and name == "tiny"):
        again = _in_another_process(setting, name, size)
        yield Found(
            f"{name} {kind}: labels of the same bits, restart", float(again == digest(found)), "x", 1.0, again[:12]
        )
        alone = label_in_batches(labeller, episodes, size=1, together=1, chunk=1000)
        note = f"a batch of 1 beside {size}; codes {_same_codes(found, alone):.6f}"
        yield Found(f"{name} {kind}: labels of the same bits, size", _equal(found, alone), "x", None, note)


def _in_threads(label: partial[list[Labels]], episodes: list[NDArray[np.uint8]]) -> list[Labels]:
    with ThreadPoolExecutor(4) as pool:
        parts = [episodes[i::4] for i in range(4)]
        found = list(pool.map(lambda some: label(some, together=5, chunk=33) if some else [], parts))
    return [found[i % 4][i // 4] for i in range(len(episodes))]


def _in_another_process(setting: Setting, name: str, size: int) -> str:
    words = [sys.executable, "-m", "benchmarks.gpu.labels", name, setting.device, str(size), str(int(setting.dry))]
    return subprocess.run(words, check=True, stdout=subprocess.PIPE, text=True).stdout.split()[-1]


def _equal(some: Sequence[Labels], others: Sequence[Labels]) -> float:
    """Return the share of transitions whose latent, code and confidence are the same bits."""
    same = [
        (a.latent == b.latent).all(axis=1) & (a.code == b.code) & (a.confidence == b.confidence)
        for a, b in zip(some, others, strict=True)
    ]
    return float(np.concatenate(same).mean())


def _same_codes(some: Sequence[Labels], others: Sequence[Labels]) -> float:
    return float(np.concatenate([(a.code == b.code)[a.valid] for a, b in zip(some, others, strict=True)]).mean())


def _agreement(name: str, kind: str, reference: Sequence[Labels], found: Sequence[Labels]) -> Found:
    apart = np.concatenate([a.confidence[a.valid & (a.code != b.code)] for a, b in zip(reference, found, strict=True)])
    count = sum(int(a.valid.sum()) for a in reference)
    worst = f"; confidence where not: at most {apart.max():.4f}" if len(apart) else ""
    share = _same_codes(reference, found)
    return Found(f"{name} {kind}: codes of the CPU", share, "x", AGREEMENT, f"{count:,} transitions{worst}")


def main() -> None:
    """Print the digest of the labels: ``python -m benchmarks.gpu.labels BUNDLE DEVICE BATCH DRY``."""
    name, device, size, dry = sys.argv[1:]
    episodes = _clips_for(name, bool(int(dry)))
    with arithmetic("fp32"):
        labeller = Labeller(load_bundle(models_dir() / name, device))
        found = label_in_batches(labeller, episodes, size=int(size), together=len(episodes), chunk=1000)
    print(digest(found))


if __name__ == "__main__":
    main()


__all__ = ["clips", "digest", "label_in_batches", "measure", "measure_motion"]
