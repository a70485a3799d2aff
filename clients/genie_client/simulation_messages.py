"""Messages of simulation for both clients: building and reading. Pure: no channel, no call, no clock."""

from __future__ import annotations

from collections.abc import Callable, Sequence

import numpy as np
from numpy.typing import NDArray

from genie_api.v1 import frames_pb2, simulation_pb2
from genie_client.arguments import SimulationArguments
from genie_client.errors import ServerError
from genie_client.messages import frames_message, read_frames, resource_name
from genie_client.records import ModelInfo
from genie_core.data import Frames, check_code, conform_frames, resize_frames
from genie_core.errors import ModelError, RequestError

Latents = NDArray[np.floating]
"""(T, D), one latent a frame, or (D,), one."""

Actions = Sequence[int] | Latents
"""What is done: a code a frame, or a latent a frame, (T, D)."""


def chosen_actions(actions: Sequence[int] | None, latents: Latents | None) -> Actions:
    """Return whichever of the two is given. Raises RequestError unless it is one."""
    if actions is None:
        if latents is None:
            raise RequestError("actions", "got neither codes nor latents, expected either")
        return np.asarray(latents, np.float32)
    if latents is not None:
        raise RequestError("latents", "got codes and latents, expected either")
    return actions


def simulation_start(
    info: ModelInfo, prompt: NDArray[np.generic], arguments: SimulationArguments
) -> simulation_pb2.SimulationStart:
    """Return the start of a simulation: a prompt of (H, W, 3) or (P, H, W, 3) uint8, resized to the model's frames."""
    prompt_PHWC = conform_frames(prompt[None] if np.ndim(prompt) == 3 else prompt, "prompt")
    seed, steps = arguments.seed, arguments.maskgit_steps
    if not 0 <= seed < 2**64:
        raise RequestError("seed", f"got {seed}, expected 0 to 2^64 - 1")
    if steps is not None and steps < 1:
        raise RequestError("maskgit_steps", f"got {steps}, expected 1 or more")
    return simulation_pb2.SimulationStart(
        model=resource_name(info.name),
        prompt=frames_message(resize_frames(prompt_PHWC, *info.frame_size)),
        sampling=simulation_pb2.SamplingOptions(maskgit_steps=steps or 0, temperature=arguments.temperature, seed=seed),
        response_encoding=frames_pb2.FRAME_ENCODING_RAW,
    )


def rollout_maker(
    prompt: NDArray[np.generic], actions: Actions, arguments: SimulationArguments
) -> Callable[[ModelInfo], simulation_pb2.RolloutRequest]:
    """Return a function that makes the request for one prompt and one action sequence, given the model."""
    return lambda info: simulation_pb2.RolloutRequest(
        start=simulation_start(info, prompt, arguments), actions=_action_sequence(info, actions, "actions")
    )


def branch_maker(
    prompt: NDArray[np.generic], branches: Sequence[Actions], arguments: SimulationArguments
) -> Callable[[ModelInfo], simulation_pb2.BranchRequest]:
    """The same for N action sequences. Raises RequestError if there are none or their lengths differ."""
    lengths = sorted({len(codes) for codes in branches})
    if len(lengths) != 1:
        raise RequestError("branches", f"got {len(branches)} of lengths {lengths}, expected one or more of one length")
    return lambda info: simulation_pb2.BranchRequest(
        start=simulation_start(info, prompt, arguments),
        branches=[_action_sequence(info, codes, f"branches[{i}]") for i, codes in enumerate(branches)],
    )


def play_maker(
    prompt: NDArray[np.generic], arguments: SimulationArguments
) -> Callable[[ModelInfo], simulation_pb2.PlayRequest]:
    """The same for the first request of an interactive simulation."""
    return lambda info: simulation_pb2.PlayRequest(start=simulation_start(info, prompt, arguments))


def action_request(info: ModelInfo, action: int | Latents) -> simulation_pb2.PlayRequest:
    """Return a further request of an interactive simulation."""
    if isinstance(action, np.ndarray):
        return simulation_pb2.PlayRequest(latent=_latent_bytes(info, action[None], "action"))
    return simulation_pb2.PlayRequest(action=check_action(action, info))


def check_action(code: int, info: ModelInfo, field: str = "action") -> int:
    """Return `code`. Raises RequestError if the model has no such code."""
    check_code(code, info.num_codes, field)
    return code


def _action_sequence(info: ModelInfo, actions: Actions, field: str) -> simulation_pb2.ActionSequence:
    if not len(actions):
        raise RequestError(field, "got none, expected at least one latent action")
    if isinstance(actions, np.ndarray) and np.issubdtype(actions.dtype, np.floating):
        return simulation_pb2.ActionSequence(latents=_latent_bytes(info, actions, field))
    return simulation_pb2.ActionSequence(codes=[check_action(int(code), info, field) for code in actions])


def _latent_bytes(info: ModelInfo, latent_TD: Latents, field: str) -> bytes:
    if latent_TD.ndim != 2 or latent_TD.shape[1] != info.latent_dim or not np.isfinite(latent_TD).all():
        raise RequestError(
            field,
            f"got latents of shape {latent_TD.shape}{'' if np.isfinite(latent_TD).all() else ', some not finite'}; "
            f"expected finite ones of {info.latent_dim} numbers each, as {info.name} makes them",
        )
    return latent_TD.astype("<f4").tobytes()


StepAnswer = simulation_pb2.RolloutResponse | simulation_pb2.BranchResponse | simulation_pb2.PlayResponse


class ModelReplacedError(ModelError):
    """The server has replaced a model since it was requested."""


class StepReader:
    """Reads simulated frames in order and checks that the server keeps to the contract."""

    def __init__(self, info: ModelInfo, branches: int = 1) -> None:
        """Prepare for the frames of N branches drawn by `info`."""
        self._info = info
        self._branches = branches
        self._next_index = 0

    def read(self, answer: StepAnswer) -> Frames:
        """Return the (N, h, w, 3) frames of the next step, one per branch.

        Raises:
            ModelReplacedError: another bundle draws than the one that the request was made for.
            ServerError: the response breaks the contract.

        """
        if answer.bundle_id not in ("", self._info.bundle_id):
            raise ModelReplacedError(f"{self._info.name}: the server has replaced the model; call again")
        frames_NHWC = read_frames(answer.frames if isinstance(answer, simulation_pb2.BranchResponse) else answer.frame)
        if (answer.index, len(frames_NHWC)) != (self._next_index, self._branches):
            raise ServerError(
                f"the server sent {len(frames_NHWC)} frames of step {answer.index}, "
                f"expected {self._branches} of step {self._next_index}"
            )
        self._next_index += 1
        return frames_NHWC


__all__ = [
    "Actions",
    "Latents",
    "ModelReplacedError",
    "StepReader",
    "action_request",
    "branch_maker",
    "check_action",
    "chosen_actions",
    "play_maker",
    "rollout_maker",
    "simulation_start",
]
