"""Writes a bundle's card: what it was trained on, how, and how well it does on episodes held out."""

from __future__ import annotations

import platform
from collections.abc import Mapping, Sequence

import torch

from genie_core import __version__
from genie_core.models.config import ModelConfig
from genie_core.models.genie import count_parameters
from genie_core.training.config import TrainingConfig
from genie_core.training.validation import Validation


def write_card(
    command: str,
    model: ModelConfig,
    training: TrainingConfig,
    data: Sequence[str],
    figures: Mapping[str, Validation],
    device: torch.device,
) -> str:
    """The card as Markdown.

    Args:
        command: how the training was asked for.
        model: the networks.
        training: the recipe.
        data: lines that say what was trained on and what was held out.
        figures: what was measured, by what it was measured on.
        device: where it was trained.

    """
    count = count_parameters(model)
    lines = [
        f"# {model.name}",
        "",
        f"A Genie model: {model.height} x {model.width} frames at {model.fps:g} frames/s, "
        f"{model.lam.quantizer.codes} latent action codes.",
        "",
        "## Data",
        "",
        *data,
        "",
        "No action labels were used in training.",
        "",
        "## Recipe",
        "",
        f"    {command or '(not recorded)'}",
        "",
        f"Seed {training.seed}, {training.precision}, {device.type} ({platform.machine()}, "
        f"{torch.get_num_threads()} threads), torch {torch.__version__}, genie {__version__}. "
        f"Parameters: tokenizer {count.tokenizer:,}, latent action model {count.lam:,}, dynamics {count.dynamics:,}.",
        "",
        "```json",
        training.model_dump_json(indent=2),
        "```",
        "",
    ]
    for where, validation in figures.items():
        lines += [f"## Figures on {where}", "", "| figure | value |", "| --- | --- |"]
        lines += [f"| {name} | {value} |" for name, value in _rows(validation, model)]
        lines += [""]
    return "\n".join(lines)


def _rows(v: Validation, model: ModelConfig) -> list[tuple[str, str]]:
    return [
        ("tokenizer PSNR", f"{v.tokenizer_psnr_db:.2f} dB"),
        ("tokenizer codes that occur", f"{v.tokenizer_codes_used:.0%}"),
        ("next frame from the inferred code (latent action decoder), PSNR", f"{v.lam_psnr_db:.2f} dB"),
        ("... over repeating the last frame", f"{v.lam_over_copy_db:+.2f} dB"),
        ("... over a random code", f"{v.lam_over_random_db:+.2f} dB"),
        ("perplexity of the action codes", f"{v.lam_perplexity:.2f} of {model.lam.quantizer.codes}"),
        ("tokens of a wholly hidden next frame that the dynamics model predicts right", f"{v.dynamics_accuracy:.0%}"),
        ("episodes, transitions looked at", f"{v.episodes}, {v.transitions:,}"),
    ]


__all__ = ["write_card"]
