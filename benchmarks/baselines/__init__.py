"""The same networks as public reimplementations structure them, to measure against. Not for use.

Their structure is rebuilt from reading AdaWorld's latent action model, tinyworlds and 1xgpt, without their code.
The mathematics and the weights are those of `genie_core.models`, so that results can be compared number for number.
"""

from benchmarks.baselines.full_window import sample_frame_full_window
from benchmarks.baselines.plain import PlainDynamics, PlainLatentActionEncoder
from benchmarks.baselines.weights import plain_dynamics, plain_encoder

__all__ = [
    "PlainDynamics",
    "PlainLatentActionEncoder",
    "plain_dynamics",
    "plain_encoder",
    "sample_frame_full_window",
]
