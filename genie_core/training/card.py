"""Card of a bundle: training data, recipe, and results on held-out episodes.

The metrics are those of `genie_core.evaluation`, on a few episodes; `genie evaluate` measures more, and draws.
"""

from __future__ import annotations

import platform
from collections.abc import Mapping, Sequence

import numpy as np
import torch

from genie_core import __version__
from genie_core.evaluation.catalogue import ENTRIES
from genie_core.evaluation.evaluation import measure
from genie_core.evaluation.latent_actions import latent_action_findings
from genie_core.evaluation.material import Film
from genie_core.evaluation.metrics import Findings, Metric
from genie_core.evaluation.options import EvaluationOptions
from genie_core.evaluation.rollouts import rollout_findings
from genie_core.evaluation.tokenizer import tokenizer_findings
from genie_core.inference.sums import part_length
from genie_core.models.bundle import Bundle
from genie_core.models.config import ModelConfig
from genie_core.models.genie import count_parameters
from genie_core.training.clips import ClipStore, Span
from genie_core.training.config import TrainingConfig

_MOST_EPISODES = 40
_MOST_FRAMES = 200


def write_card(
    command: str,
    model: ModelConfig,
    training: TrainingConfig,
    data: Sequence[str],
    metrics: Mapping[str, Findings],
    device: torch.device,
) -> str:
    """Return the card as Markdown.

    Args:
        command: command line of the training.
        model: the networks.
        training: the recipe.
        data: lines on training and held-out data.
        metrics: measured metrics, by the data they were measured on.
        device: device of the training.

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
        f"Parameters: tokenizer {count.tokenizer:,}, latent action model {count.lam:,}, dynamics {count.dynamics:,}, "
        f"mover {count.mover:,}.",
        "",
        "```json",
        training.model_dump_json(indent=2),
        "```",
        "",
    ]
    for where, findings in metrics.items():
        lines += [
            f"## Figures on {where}",
            "",
            "| figure | value | 95% interval | episodes |",
            "| --- | --- | --- | --- |",
        ]
        lines += [*_rows(findings), ""]
    return "\n".join(lines)


def _rows(findings: Findings) -> list[str]:
    rows = []
    for entry in ENTRIES:
        metric = findings.metrics.get(entry.key)
        if isinstance(metric, Metric):
            interval = entry.interval(*metric.ci95) if metric.ci95 else ""
            rows.append(f"| {entry.meaning} | {entry.words(metric.value)} | {interval} | {metric.episodes} |")
    return rows


def card_metrics(bundle: Bundle, store: ClipStore, rollouts: int) -> Findings:
    """Measure a bundle on the first episodes of a store: tokenizer, latent action model and a few rollouts."""
    films = [_film(bundle, store, span) for span in store.spans[:_MOST_EPISODES]]
    options = EvaluationOptions(rollouts=rollouts, supervised_steps=0)
    return measure(bundle, films, options, parts=(tokenizer_findings, latent_action_findings, rollout_findings))


def _film(bundle: Bundle, store: ClipStore, span: Span) -> Film:
    part = part_length(bundle.config.lam, span.step)
    most = min(span.count, (_MOST_FRAMES - 1) * span.step + 1)
    return Film.of(span.name, np.array(store.frames[span.first : span.first + most : part]), span.step // part)


__all__ = ["card_metrics", "write_card"]
