"""Validates simulation requests against the model and the server's limits."""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np

from genie_api.v1 import frames_pb2, simulation_pb2
from genie_core.data import check_code
from genie_core.errors import RequestError
from genie_core.inference import Action, Sampling
from genie_core.inference.asked import check_action, check_frame_size, check_simulates, maskgit_steps
from genie_core.models.config import ModelConfig
from genie_service.frames import CHANNELS
from genie_service.servicers.robot_actions import RobotActions, Wanted
from genie_service.streams import part_of


@dataclass(frozen=True)
class SimulationLimits:
    """Limits of one simulation.

    Attributes:
        max_actions: in a sequence.
        max_branches: in a request.
        max_pixels: of a frame.
        max_side: of a frame, pixels.
        max_message_bytes: of the frames of one step of all branches.

    """

    max_actions: int
    max_branches: int
    max_pixels: int
    max_side: int
    max_message_bytes: int


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
    steps, least, most = None, config.least_steps, config.tokens_per_frame
    if options.HasField("maskgit_steps"):
        steps = options.maskgit_steps
        if not least <= steps <= most:
            wanted = f"expected {least} to {most}, the tokens of a frame"
            raise RequestError(f"{field}.maskgit_steps", f"got {steps}, {wanted}")
    temperature = options.temperature if options.HasField("temperature") else None
    if temperature is not None and not (math.isfinite(temperature) and temperature > 0):
        raise RequestError(f"{field}.temperature", f"got {temperature:g}, expected a finite number above 0")
    return Sampling(steps, temperature, options.seed)


def frame_size_of(
    start: simulation_pb2.SimulationStart,
    config: ModelConfig,
    sampling: Sampling,
    branches: int,
    limits: SimulationLimits,
    field: str,
) -> tuple[int, int]:
    """Return height and width of the returned frames. Raises RequestError unless they can be simulated and sent."""
    height, width = start.frame_height, start.frame_width
    if not height and not width:
        return config.height, config.width
    for side, pixels in (("frame_height", height), ("frame_width", width)):
        if not 1 <= pixels <= limits.max_side:
            raise RequestError(f"{field}.{side}", f"got {pixels} pixels, expected 1 to {limits.max_side}, or both 0")
    size = check_frame_size((height, width), config, maskgit_steps(sampling, config), f"{field}.frame_height")
    if size == (config.height, config.width):
        return size
    if height * width > limits.max_pixels:
        got = f"got {height} x {width} = {height * width} pixels"
        raise RequestError(f"{field}.frame_height", f"{got}, expected at most {limits.max_pixels}")
    sent = branches * height * width * CHANNELS
    if sent > limits.max_message_bytes:
        got = f"got {branches} branches of {height} x {width}, {sent} bytes a step"
        raise RequestError(f"{field}.frame_height", f"{got}, expected at most {limits.max_message_bytes}")
    return size


def read_actions(
    sequence: simulation_pb2.ActionSequence,
    config: ModelConfig,
    encoder: RobotActions,
    limits: SimulationLimits,
    field: str,
) -> list[Wanted]:
    """Return the actions of `sequence`, sent as `field`. Raises RequestError unless all are within limits."""
    given = [name for name in ("codes", "latents", "robot_actions") if getattr(sequence, name)]
    if len(given) > 1:
        raise RequestError(field, f"got {' and '.join(given).replace('_', ' ')}, expected either")
    if sequence.latents:
        return _read_latents(sequence.latents, config, limits, f"{field}.latents")
    if sequence.robot_actions:
        return list(encoder.read(sequence.robot_actions, limits.max_actions, f"{field}.robot_actions"))
    codes: list[Wanted] = list(sequence.codes)
    if not 1 <= len(codes) <= limits.max_actions:
        raise RequestError(f"{field}.codes", f"got {len(codes)} latent actions, expected 1 to {limits.max_actions}")
    if not 0 <= min(sequence.codes) <= max(sequence.codes) < config.lam.quantizer.codes:
        # Only now one by one: a simulation may have 65,536, and the event loop waits for each.
        for i, code in enumerate(sequence.codes):
            check_code(code, config.lam.quantizer.codes, f"{field}.codes[{i}]")
    return codes


def _read_latents(data: bytes, config: ModelConfig, limits: SimulationLimits, field: str) -> list[Wanted]:
    size = 4 * config.lam.quantizer.dim
    if len(data) % size or not len(data) // size <= limits.max_actions:
        raise RequestError(
            field, f"got {len(data)} bytes, expected 1 to {limits.max_actions} latents of {size} bytes (float32)"
        )
    latents = np.frombuffer(data, "<f4").reshape(-1, config.lam.quantizer.dim)
    for i, latent in enumerate(latents):
        check_action(latent, config, f"{field}[{i}]")
    return list(latents)


def read_action(request: simulation_pb2.PlayRequest, config: ModelConfig, encoder: RobotActions) -> Wanted:
    """Return the action of a further message of an interactive simulation. Raises RequestError."""
    if request.HasField("robot_action"):
        return encoder.read(request.robot_action, 1, "robot_action")[0]
    if request.HasField("latent"):
        action: Action = np.frombuffer(request.latent, "<f4") if len(request.latent) % 4 == 0 else np.zeros(0, "<f4")
        check_action(action, config, "latent")
        return action
    if not request.HasField("action"):
        raise RequestError("action", f"a message after the first holds {part_of(request)}, expected an action")
    check_action(request.action, config, "action")
    return request.action


def read_branches(
    branches: Sequence[simulation_pb2.ActionSequence],
    config: ModelConfig,
    encoder: RobotActions,
    limits: SimulationLimits,
) -> list[list[Wanted]]:
    """Return the actions of each branch. Raises RequestError unless branches are within limits, all of one length."""
    if not 1 <= len(branches) <= limits.max_branches:
        raise RequestError("branches", f"got {len(branches)}, expected 1 to {limits.max_branches}")
    read = [read_actions(branch, config, encoder, limits, f"branches[{i}]") for i, branch in enumerate(branches)]
    for i, actions in enumerate(read):
        if len(actions) != len(read[0]):
            raise RequestError(
                f"branches[{i}].{_part(branches[i])}",
                f"got {len(actions)} latent actions, expected {len(read[0])} as in branches[0]",
            )
    return read


def _part(sequence: simulation_pb2.ActionSequence) -> str:
    return next((name for name in ("latents", "robot_actions") if getattr(sequence, name)), "codes")


__all__ = [
    "SimulationLimits",
    "check_start",
    "frame_size_of",
    "read_action",
    "read_actions",
    "read_branches",
    "response_encoding",
    "sampling_of",
]
