"""Card of an adapted bundle: its parent and data, scores before and after, and which codes stayed."""

from __future__ import annotations

import re
from collections.abc import Mapping, Sequence

import numpy as np
import torch
from numpy.typing import NDArray

from genie_core import __version__
from genie_core.data import AutoSteps
from genie_core.models.bundle import BundleInfo
from genie_core.models.config import ModelConfig

NETWORKS = {"tokenizer": "tokenizer", "lam": "encoder", "dynamics": "dynamics model", "mover": "mover"}
"""Networks of a bundle, in words."""

KINDS = {"code": "code", "fine_code": "fine code", "latent": "latent"}
"""Kinds of labels that are scored, in words."""


def adapted_card(
    command: str,
    parent: BundleInfo,
    config: ModelConfig,
    data: Sequence[str],
    scored: tuple[Mapping[str, float], Mapping[str, float]],
    top: tuple[float, float],
    same: Mapping[str, NDArray[np.bool_]],
    steps: AutoSteps | None,
    tuned_steps: int,
    seed: int,
) -> str:
    """Return the card as Markdown; the parent's own, with its sources and licences, is below.

    Args:
        command: command line of the adaptation.
        parent: the bundle that it was adapted from.
        config: of the derived bundle.
        data: lines on the video.
        scored: share of the held-out flow that labels predict, by kind, before and after.
        top: share of the most frequent code among transitions in which something moves, before and after.
        same: by level: whether each code means what it means in the parent.
        steps: transition lengths that codes were fitted at.
        tuned_steps: steps that each network was tuned; 0: they are the parent's.
        seed: of everything that was drawn.

    """
    lam = config.lam
    fine = f" and {lam.fine_codes} fine ones" if lam.fine_codes else ""
    whose = "the parent's, so that latents are the same"
    tuned = f"tuned for {tuned_steps} steps each" if tuned_steps else whose
    lines = [
        f"# {config.name}",
        "",
        f"Adapted from `{parent.name}`, bundle {parent.bundle_id}, to video without labels. {lam.quantizer.codes} codes"
        f"{fine}; networks ({tuned_names(config)}) {tuned}.",
        "",
        "## Data",
        "",
        *data,
        "",
        *_step_lines(steps),
        "## Recipe",
        "",
        f"    {command or '(not recorded)'}",
        "",
        f"Seed {seed}, torch {torch.__version__}, genie {__version__}.",
        "",
        "## Scores without labels",
        "",
        "Share of the variance of held-out optical flow that labels tell (8 x 8 parts; each transition over its own "
        "size).",
        "",
        "| label | parent | adapted |",
        "| --- | --- | --- |",
        *(f"| {KINDS[kind]} | {_number(scored[0].get(kind))} | {value:.3f} |" for kind, value in scored[1].items()),
        f"| most frequent code among moving transitions | {top[0]:.0%} | {top[1]:.0%} |",
        "",
        *_same_lines(same),
        "## The parent's card",
        "",
        re.sub(r"^#", "###", parent.card, flags=re.MULTILINE).strip(),
        "",
    ]
    return "\n".join(lines)


def tuned_names(config: ModelConfig) -> str:
    """Return the networks of a bundle that tuning tunes, in words."""
    kept = ("tokenizer", "dynamics") if config.mends else ()  # tokens that mend stay as they are
    return ", ".join(NETWORKS[component] for component in config.components if component not in kept)


def _number(value: float | None) -> str:
    return "" if value is None else f"{value:.3f}"


def _step_lines(steps: AutoSteps | None) -> list[str]:
    if steps is None or not steps.found:
        return []
    rates = ", ".join(f"{f.step} frames" + ("" if f.fps is None else f" at {f.fps:g} frames/s") for f in steps.found)
    return [f"Transition lengths, found on the video (`--step auto`): {rates}.", ""]


def _same_lines(same: Mapping[str, NDArray[np.bool_]]) -> list[str]:
    lines = []
    for level, same_K in same.items():
        kept = ", ".join(str(code) for code in np.flatnonzero(same_K))
        lines += [f"{KINDS[level].capitalize()}s that mean what they mean in the parent: {kept or 'none'}.", ""]
    return lines


__all__ = ["KINDS", "NETWORKS", "adapted_card", "tuned_names"]
