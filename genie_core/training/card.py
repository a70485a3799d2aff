"""Writes a bundle's card: what it was trained on, how, and how well it does on episodes held out."""

from __future__ import annotations

import platform
from collections import Counter
from collections.abc import Sequence

import torch

from genie_core import __version__
from genie_core.models.config import ModelConfig
from genie_core.models.genie import count_parameters
from genie_core.training.clips import Span
from genie_core.training.config import TrainingConfig
from genie_core.training.validation import Validation


def write_card(
    command: str,
    model: ModelConfig,
    training: TrainingConfig,
    spans: Sequence[Span],
    held_out: Sequence[Span],
    metrics: Validation,
    device: torch.device,
) -> str:
    """The card as Markdown."""
    count = count_parameters(model)
    v = metrics
    where = "held-out episodes" if held_out else "TRAINING episodes (none was held out)"
    lines = [
        f"# {model.name}",
        "",
        f"A Genie model: {model.height} x {model.width} frames at {model.fps:g} frames/s, "
        f"{model.lam.quantizer.codes} latent action codes.",
        "",
        "## Data",
        "",
        *_data_lines(spans, "trained on"),
        *_data_lines(held_out, "held out"),
        "",
        "No action labels were used in training.",
        "",
        "## Recipe",
        "",
        f"    {command or '(not recorded)'}",
        "",
        f"Seed {training.seed}, {training.precision}, {device.type} ({platform.machine()}, "
        f"{torch.get_num_threads()} threads), torch {torch.__version__}, genie {__version__}.",
        "",
        "```json",
        training.model_dump_json(indent=2),
        "```",
        "",
        f"## Figures on {where}",
        "",
        "| figure | value |",
        "| --- | --- |",
        f"| parameters of the tokenizer | {count.tokenizer:,} |",
        f"| parameters of the latent action model | {count.lam:,} |",
        f"| parameters of the dynamics model | {count.dynamics:,} |",
        f"| tokenizer PSNR | {v.tokenizer_psnr_db:.2f} dB |",
        f"| tokenizer codes that occur | {v.tokenizer_codes_used:.0%} |",
        f"| next frame from the inferred code (latent action decoder), PSNR | {v.lam_psnr_db:.2f} dB |",
        f"| ... over repeating the last frame | {v.lam_over_copy_db:+.2f} dB |",
        f"| ... over a random code | {v.lam_over_random_db:+.2f} dB |",
        f"| perplexity of the action codes | {v.lam_perplexity:.2f} of {model.lam.quantizer.codes} |",
        f"| tokens of the next frame predicted right by the dynamics model | {v.dynamics_accuracy:.0%} |",
        f"| episodes, transitions looked at | {v.episodes}, {v.transitions:,} |",
        "",
    ]
    return "\n".join(lines)


def _data_lines(spans: Sequence[Span], verb: str) -> list[str]:
    episodes = Counter(s.source for s in spans)
    frames: Counter[str] = Counter()
    for s in spans:
        frames[s.source] += s.count
    if len(episodes) > 8:
        return [
            f"- {verb}: {sum(episodes.values())} episodes, {sum(frames.values()):,} frames, of {len(episodes)} files"
        ]
    return [f"- {verb}: `{name}`: {n} episodes, {frames[name]:,} frames" for name, n in episodes.items()]


__all__ = ["write_card"]
