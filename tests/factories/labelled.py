"""Makes labelled files without any model, for tests of what reads them."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import replace
from pathlib import Path

import numpy as np

from genie_core.data import (
    FramesMode,
    LabelledFile,
    LabelModel,
    Labels,
    LabelWriter,
    ReadOptions,
    open_dataset,
    open_labelled,
)
from genie_core.data.dataset import fused_views
from genie_core.data.labelled.fusing import fuse

CODES, LATENT_DIM = 8, 4


def make_labels(count: int, step: int = 1, code: int | None = None) -> Labels:
    """Labels of a whole episode: `code` everywhere, or 0, 1, 2 ... one after another."""
    valid = np.arange(count) < count - step
    codes = np.arange(count) % CODES if code is None else np.full(count, code)
    rng = np.random.default_rng(count)
    return Labels(
        start=0,
        code=np.where(valid, codes, 0).astype(np.uint16),
        latent=np.where(valid[:, None], rng.normal(size=(count, LATENT_DIM)), 0).astype(np.float32),
        confidence=np.where(valid, 0.5, 0).astype(np.float32),
        valid=valid,
    )


def label_file(
    source: Path,
    *,
    step: int | None = None,
    code: int | None = None,
    frames: FramesMode | None = None,
    options: ReadOptions | None = None,
    fused: Sequence[str] = (),
) -> LabelledFile:
    """Label the robot video at `source` into ``X.labelled.hdf5`` beside it; `fused`: as these cameras see it."""
    options = options or ReadOptions()
    seen = [open_dataset(source, options=replace(options, camera=camera)) for camera in fused]
    dataset = fused_views(seen) if seen else open_dataset(source, options=options)
    codebook = np.zeros((CODES, LATENT_DIM), np.float32)
    model = LabelModel("ab" * 32, "fake", 10.0, codebook)
    output = source.with_name(f"{source.stem}.labelled.hdf5")
    writer = LabelWriter(output, dataset, model, step=step, frames=frames)
    for episode in writer.pending():
        labels = make_labels(episode.num_frames, writer.step(episode).step, code)
        if fused:
            turned = replace(labels, latent=labels.latent[:, ::-1])
            labels = fuse({camera: (labels, turned)[at % 2] for at, camera in enumerate(dataset.fused)}, model, 1.0)
        with writer.episode(episode) as part:
            for chunk in episode.chunks(64):
                part.add_frames(chunk)
            part.add_labels(labels)
    return open_labelled(writer.finish())


__all__ = ["label_file", "make_labels"]
