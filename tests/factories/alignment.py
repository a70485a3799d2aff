"""Labelled files whose latents say what the robot did, made without running any network."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path

import h5py
import numpy as np
from numpy.typing import NDArray

from genie_core.alignment import Alignment, AlignmentInfo
from genie_core.alignment.dictionary import Dictionary
from genie_core.alignment.observation import Observation
from genie_core.alignment.regressor import LINEAR, Inputs, Kernel, fit_regressor
from genie_core.alignment.way_back import fit_way_back
from genie_core.data import Density, FramesMode, LabelModel, Labels, LabelWriter, open_dataset
from genie_core.models.bundle import BundleInfo
from tests.factories.data import make_robomimic

NUMBERS = 3

Edit = Callable[[h5py.File], None]


def make_aligned(
    path: Path,
    info: BundleInfo,
    *,
    episodes: int = 6,
    frames: int = 20,
    step: int = 1,
    density: Density = "dense",
    kept: FramesMode = "link",
    noise: float = 0.05,
    actions: bool = True,
) -> Path:
    """A labelled file beside its source, whose actions are linear in the latents (but for `noise`).

    The third number of an action is noise alone. Actions are constant over a transition, so that every way to reduce
    them but ``change`` gives the same.
    """
    source = make_robomimic(path.with_name(f"{path.name.split('.')[0]}.hdf5"), episodes, frames, size=32)
    labels = [make_labels(info.codebook, frames, step, index, density) for index in range(episodes)]
    with h5py.File(source, "a") as file:
        for index, label in enumerate(labels):
            del file[f"data/demo_{index}/actions"]
            if actions:
                file[f"data/demo_{index}/actions"] = actions_of(label, noise, index)
    dataset = open_dataset(source)
    model = LabelModel(info.bundle_id, info.name, info.config.fps, info.codebook)
    writer = LabelWriter(path, dataset, model, step=step, density=density, frames=kept)
    for episode, label in zip(writer.pending(), labels, strict=True):
        writer.add(episode, label)
    return writer.finish()


def make_labels(codebook: NDArray[np.float32], frames: int, step: int, seed: int, density: Density) -> Labels:
    """Random unit latents with their nearest codes, valid where there is a transition."""
    rng = np.random.default_rng(seed)
    latent = rng.normal(size=(frames, codebook.shape[1])).astype(np.float32)
    latent /= np.linalg.norm(latent, axis=1, keepdims=True)
    code = (latent @ codebook.T).argmax(axis=1)
    valid = np.arange(frames) < frames - step
    if density == "strided":
        valid &= np.arange(frames) % step == 0
    return Labels(
        0,
        np.where(valid, code, 0).astype(np.uint16),
        np.where(valid[:, None], latent, 0).astype(np.float32),
        np.where(valid, 0.5, 0).astype(np.float32),
        valid,
    )


def actions_of(labels: Labels, noise: float, seed: int) -> NDArray[np.float64]:
    """(T, NUMBERS): ten times the first components of the latent, plus 3, and noise."""
    rng = np.random.default_rng([seed, 7])
    action_TA = 10 * labels.latent[:, :NUMBERS].astype(np.float64) + 3 + noise * rng.normal(size=(len(labels), NUMBERS))
    action_TA[:, 2] = rng.normal(size=len(labels))
    return action_TA


def make_alignment(info: BundleInfo, *, observe: bool, budget: int = 60) -> Alignment:
    """A small alignment of that bundle, whose regressor reads frames if `observe`."""
    rng = np.random.default_rng(3)
    latent_ND = rng.normal(size=(budget, info.codebook.shape[1]))
    code_N = rng.integers(0, len(info.codebook) - 1, budget)  # the last code is never seen
    height, width = info.config.height, info.config.width
    observation = Observation.find(rng.uniform(size=(50, 192)), height, width)
    inputs = Inputs(code_N, latent_ND, rng.normal(size=(budget, observation.axes_FP.shape[1])))
    kernel = Kernel(kind="smooth", observation_scale=1.0 if observe else None)
    action_NA = latent_ND[:, :2] + 5
    regressor = fit_regressor(inputs, action_NA, np.arange(budget), [kernel], seed=0)
    back_kernel = Kernel(kind="smooth", observation_scale=1.0) if observe else LINEAR
    seen = inputs.observation_NP if observe else None
    back = fit_way_back(action_NA, seen, latent_ND, np.arange(budget), 0, [back_kernel])
    alignment_info = AlignmentInfo(
        bundle_id=info.bundle_id,
        bundle_name=info.name,
        codes=len(info.codebook),
        latent_dim=info.codebook.shape[1],
        actions=("x", "y"),
        reduce="mean",
        step=1,
        fps=10.0,
        camera="agentview_image",
        height=height,
        width=width,
        kernels=regressor.kernels,
        back_kernels=back.regressor.kernels,
        back_low=tuple(back.scale.low_A.tolist()),
        back_high=tuple(back.scale.high_A.tolist()),
        budget=budget,
        draw="transitions",
        seed=0,
        labels="a.labelled.hdf5",
        dataset="a.hdf5",
        created="2026-01-01T00:00:00+00:00",
        tool_version="1",
    )
    dictionary = Dictionary.fill(code_N, action_NA, len(info.codebook))
    return Alignment(alignment_info, dictionary, regressor, observation, back)
