"""The transition lengths that `genie label --step auto` takes, found with a bundle of one's own process."""

from __future__ import annotations

from collections.abc import Sequence

from genie_core.data import AutoSteps, Episode, find_steps
from genie_core.errors import ModelError
from genie_core.inference.labeller import Labeller
from genie_core.models.bundle import Bundle


def find_steps_with(bundle: Bundle, episodes: Sequence[Episode]) -> AutoSteps:
    """Find the shortest steps at which motion is as large as in the bundle's training.

    Raises:
        ModelError: latents of the bundle have unit length, whatever the motion.

    """
    usual = bundle.info.usual_norm
    if usual is None:
        raise ModelError(
            f"step: got auto, but latents of {bundle.name} have unit length and do not tell how large motion is"
        )
    labeller = Labeller(bundle)
    size = (labeller.height, labeller.width)
    return find_steps(episodes, lambda pairs: labeller.label(pairs, 1).latent[:-1], usual, size)


__all__ = ["find_steps_with"]
