"""Detects early in training whether latent actions collapse: whether all transitions get the same one. Pure."""

from __future__ import annotations

from collections.abc import Mapping

FIRST, EVERY = 200, 500
"""Steps after which metrics are judged for the first time, and from one time to the next."""

LEAST_SPREAD = 0.05
"""Share of the latents' energy that must differ between transitions; a model that learns keeps most of it."""
LEAST_PERPLEXITY = 1.2
"""Codes in effective use of a batch; one code for nearly everything has less."""
MOST_FLOW_ERROR = 0.98
"""Error of the decoded flow over its own size; predicting no motion at all has 1."""


def collapse(stage: str, step: int, metrics: Mapping[str, float]) -> str | None:
    """Return what has collapsed after `step` steps of a stage, and what to do; None: nothing, or too early to say.

    Args:
        stage: only those that train latent actions are judged.
        step: number of steps done.
        metrics: smoothed, by the names of `genie_core.training.losses` and `motion`.

    """
    if not stage.startswith("lam") or step < FIRST:
        return None
    spread = metrics.get("spread")
    if spread is not None and spread < LEAST_SPREAD:
        return (
            f"latent actions have collapsed: {spread:.1%} of a latent differs from one transition to another, expected "
            f"{LEAST_SPREAD:.0%} and more. Does anything move from frame to frame? Try a lower frame rate (--fps), "
            "a lower learning rate, or `genie adapt` of a shipped bundle"
        )
    perplexity = metrics.get("perplexity")
    if perplexity is not None and perplexity < LEAST_PERPLEXITY:
        return (
            f"the codebook has collapsed: {perplexity:.2f} codes are in effective use, expected {LEAST_PERPLEXITY} and "
            "more. Train longer before quantizing (lam_training.continuous_steps), or lower the learning rate"
        )
    error = metrics.get("flow_error")
    if error is not None and error > MOST_FLOW_ERROR:
        return (
            f"latent actions say nothing of the motion: error {error:.2f} of the flow, where no motion at all has 1. "
            "Does anything move from frame to frame? Try a longer gap (motion_training.gap_s) or a lower learning rate"
        )
    return None


def is_time(before: int, step: int) -> bool:
    """Return whether to judge after `step` steps, at step 500 at the latest; the last report was after `before`."""
    return before < FIRST <= step or before // EVERY < step // EVERY


__all__ = ["EVERY", "FIRST", "LEAST_PERPLEXITY", "LEAST_SPREAD", "MOST_FLOW_ERROR", "collapse", "is_time"]
