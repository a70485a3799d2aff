"""What the service hosts, usable without it: `Labeller` and `Simulator`."""

from genie_core.inference.labeller import BLOCK, Labeller, LabelStream
from genie_core.inference.simulator import Rollout, Sampling, Simulator

__all__ = ["BLOCK", "LabelStream", "Labeller", "Rollout", "Sampling", "Simulator"]
