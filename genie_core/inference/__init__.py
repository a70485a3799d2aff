"""Labelling and simulation without a server: `Labeller` and `Simulator`."""

from genie_core.inference.asked import Action, Sampling
from genie_core.inference.labeller import BLOCK, Block, Encoded, EpisodeStream, Labeller
from genie_core.inference.simulator import Rollout, SimulatedStream, Simulator, draw_together
from genie_core.inference.sums import part_length

__all__ = [
    "BLOCK",
    "Action",
    "Block",
    "Encoded",
    "EpisodeStream",
    "Labeller",
    "Rollout",
    "Sampling",
    "SimulatedStream",
    "Simulator",
    "draw_together",
    "part_length",
]
