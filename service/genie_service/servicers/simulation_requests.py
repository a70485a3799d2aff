"""Validation of simulation requests against the model and the server's limits."""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import dataclass

from genie_api.v1 import frames_pb2, simulation_pb2
from genie_core.data import check_code
from genie_core.errors import RequestError
from genie_core.inference import Sampling
from genie_core.inference.simulator import check_simulates
from genie_core.models.config import ModelConfig


@dataclass(frozen=True)
class SimulationLimits:
    """Largest number of actions in a sequence, and of branches in a request."""

    max_actions: int
    max_branches: int


def check_start(start: simulation_pb2.SimulationStart, config: ModelConfig, field: str) -> None:
    """Raise RequestError unless the prompt's length suits the model and the response encoding is supported."""
    check_simulates(config, f"{field}.model")
    if not start.HasField("prompt"):
        raise RequestError(f"{field}.prompt", f"missing, expected 1 to {config.context_frames} frames")
    if not 1 <= start.prompt.count <= config.context_frames:
        wanted = f"expected 1 to {config.context_frames}, what the model remembers"
        raise RequestError(f"{field}.prompt.count", f"got {start.prompt.count} frames, {wanted}")
    response_encoding(start, field)


def response_encoding(start: simulation_pb2.SimulationStart, field: str) -> frames_pb2.FrameEncoding.ValueType:
    """Return the encoding of returned frames, RAW or PNG. Raises RequestError."""
    encoding = start.response_encoding or frames_pb2.FRAME_ENCODING_RAW
    if encoding not in (frames_pb2.FRAME_ENCODING_RAW, frames_pb2.FRAME_ENCODING_PNG):
        raise RequestError(
            f"{field}.response_encoding", f"got {encoding}, expected FRAME_ENCODING_RAW or FRAME_ENCODING_PNG"
        )
    return encoding


def sampling_of(options: simulation_pb2.SamplingOptions, config: ModelConfig, field: str) -> Sampling:
    """Return the sampling options, None for those left at default. Raises RequestError."""
    steps, tokens = options.maskgit_steps or None, config.tokens_per_frame
    if steps is not None and steps > tokens:
        raise RequestError(f"{field}.maskgit_steps", f"got {steps}, expected 1 to {tokens}, the tokens of a frame")
    temperature = options.temperature if options.HasField("temperature") else None
    if temperature is not None and not (math.isfinite(temperature) and temperature > 0):
        raise RequestError(f"{field}.temperature", f"got {temperature:g}, expected a finite number above 0")
    return Sampling(steps, temperature, options.seed)


def check_actions(codes: Sequence[int], num_codes: int, limits: SimulationLimits, field: str) -> None:
    """Raise RequestError unless `codes`, sent as `field`, is a sequence of latent actions within the limits."""
    if not 1 <= len(codes) <= limits.max_actions:
        raise RequestError(field, f"got {len(codes)} latent actions, expected 1 to {limits.max_actions}")
    for i, code in enumerate(codes):
        check_code(code, num_codes, f"{field}[{i}]")


def check_branches(branches: Sequence[simulation_pb2.ActionSequence], num_codes: int, limits: SimulationLimits) -> None:
    """Raise RequestError unless there are branches within the limits, all of the same length."""
    if not 1 <= len(branches) <= limits.max_branches:
        raise RequestError("branches", f"got {len(branches)}, expected 1 to {limits.max_branches}")
    length = len(branches[0].codes)
    for i, branch in enumerate(branches):
        field = f"branches[{i}].codes"
        check_actions(branch.codes, num_codes, limits, field)
        if len(branch.codes) != length:
            raise RequestError(field, f"got {len(branch.codes)} latent actions, expected {length} as in branches[0]")


__all__ = [
    "SimulationLimits",
    "check_actions",
    "check_branches",
    "check_start",
    "response_encoding",
    "sampling_of",
]
