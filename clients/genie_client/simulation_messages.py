"""Messages of simulation for both clients: building and reading. Pure: no channel, no call, no clock."""

from __future__ import annotations

import warnings
from collections.abc import Callable, Sequence
from dataclasses import dataclass

import numpy as np
from numpy.typing import ArrayLike, NDArray

from genie_api.v1 import frames_pb2, simulation_pb2
from genie_client.arguments import FrameSize, SimulationArguments
from genie_client.errors import ServerError
from genie_client.messages import frames_message, read_frames, read_timing, resource_name
from genie_client.records import ModelInfo, OutOfRangeWarning, SimulatedFrame, Timing
from genie_core.data import LEAST_SIDE, Frames, check_code, conform_frames, resize_frames
from genie_core.errors import ModelError, RequestError

Latents = NDArray[np.floating]
"""(T, D), one latent a frame, or (D,), one."""


@dataclass(frozen=True)
class RobotActions:
    """The robot's own actions, (T, A), one a frame, in the units and of the components of the alignment."""

    values_TA: NDArray[np.floating]

    @staticmethod
    def of(values: ArrayLike, dimensions: int = 2) -> RobotActions:
        """Take actions of (T, A), or one of (A,). Raises RequestError for anything else, or what is not finite."""
        try:
            array = np.array(values, np.float32)  # a copy: a session keeps it until the first answer
        except (TypeError, ValueError) as error:
            raise RequestError("robot_actions", f"expected numbers: {error}") from error
        if array.ndim != dimensions or not array.size or not np.isfinite(array).all():
            wanted = "(T, A)" if dimensions == 2 else "(A,)"
            raise RequestError(
                "robot_actions",
                f"got numbers of shape {array.shape}{'' if np.isfinite(array).all() else ', some not finite'}, "
                f"expected finite ones of shape {wanted}",
            )
        return RobotActions(array.reshape(-1, array.shape[-1]))

    def __len__(self) -> int:
        return len(self.values_TA)


Actions = Sequence[int] | Latents | RobotActions
"""What is done: a code a frame, or a latent a frame, (T, D), or an action of the robot a frame."""


def chosen_actions(
    actions: Sequence[int] | None, latents: Latents | None, robot_actions: ArrayLike | None = None
) -> Actions:
    """Return whichever of the three is given. Raises RequestError unless it is one."""
    given = {"codes": actions, "latents": latents, "robot actions": robot_actions}
    names = [name for name, of in given.items() if of is not None]
    if len(names) != 1:
        field = names[-1].replace(" ", "_") if names else "actions"
        raise RequestError(field, f"got {' and '.join(names) or 'none'}, expected codes, latents or robot actions")
    if robot_actions is not None:
        return RobotActions.of(robot_actions)
    return np.asarray(latents, np.float32) if actions is None else actions


def chosen_branches(branches: Sequence[Actions] | None, robot_actions: Sequence[ArrayLike] | None) -> Sequence[Actions]:
    """Return the branches, whichever is given. Raises RequestError unless it is one."""
    if (branches is None) == (robot_actions is None):
        raise RequestError("branches", "expected either codes and latents, or robot actions")
    return branches if branches is not None else [RobotActions.of(of) for of in robot_actions or ()]


def simulation_start(
    info: ModelInfo, prompt: NDArray[np.generic], arguments: SimulationArguments
) -> simulation_pb2.SimulationStart:
    """Return the start of a simulation: a prompt of (H, W, 3) or (P, H, W, 3) uint8, resized to the frames drawn."""
    prompt_PHWC = conform_frames(prompt[None] if np.ndim(prompt) == 3 else prompt, "prompt")
    seed, steps = arguments.seed, arguments.maskgit_steps
    if not 0 <= seed < 2**64:
        raise RequestError("seed", f"got {seed}, expected 0 to 2^64 - 1")
    if steps is not None and not 0 <= steps < 2**32:
        raise RequestError("maskgit_steps", f"got {steps}, expected 0 or more")
    size = simulated_size(info, prompt_PHWC, arguments.frame_size, steps)
    height, width = (0, 0) if size == info.frame_size else size
    return simulation_pb2.SimulationStart(
        model=resource_name(info.name),
        prompt=frames_message(resize_frames(prompt_PHWC, *size)),
        sampling=simulation_pb2.SamplingOptions(maskgit_steps=steps, temperature=arguments.temperature, seed=seed),
        response_encoding=frames_pb2.FRAME_ENCODING_RAW,
        alignment=_alignment(info, arguments),
        confidence=_confidence(info, arguments),
        frame_height=height,
        frame_width=width,
    )


def simulated_size(
    info: ModelInfo,
    prompt: Frames,
    frame_size: FrameSize | None,
    maskgit_steps: int | None = None,
    most: int | None = None,
) -> tuple[int, int]:
    """Return height and width of the frames that a simulation is to have.

    Args:
        info: the model.
        prompt: (P, H, W, 3).
        frame_size: as in `Simulating`.
        maskgit_steps: likewise.
        most: pixels, of a size that is the prompt's.

    Raises:
        RequestError: a size is asked for that the model or its server does not simulate.

    """
    wanted, able = frame_size, info.max_simulated_pixels
    if wanted is None:
        return info.frame_size
    if wanted == "prompt":
        if not able or maskgit_steps:
            return info.frame_size
        height, width = prompt.shape[1:3]
        shrink = (min(able, able if most is None else most) / (height * width)) ** 0.5
        if shrink >= 1 and min(height, width) >= LEAST_SIDE:
            return height, width
        small, narrow = (max(LEAST_SIDE, int(min(1.0, shrink) * side) // 2 * 2) for side in (height, width))
        return small, narrow  # even: H.264 has no other
    return checked_size(info, wanted)


def checked_size(info: ModelInfo, size: tuple[int, int]) -> tuple[int, int]:
    """Return height and width. Raises RequestError unless the model and its server simulate frames of that size."""
    if len(size) != 2 or not all(isinstance(side, int) and side >= LEAST_SIDE for side in size):
        expected = f"expected height and width, at least {LEAST_SIDE} pixels each"
        raise RequestError("frame_size", f"got {size!r}, {expected}")
    if size != info.frame_size and size[0] * size[1] > info.max_simulated_pixels:
        own = f"{info.frame_height} x {info.frame_width}, the only size that {info.name} simulates"
        expected = f"at most {info.max_simulated_pixels} pixels" if info.max_simulated_pixels else own
        raise RequestError("frame_size", f"got {size[0]} x {size[1]}, expected {expected}")
    return size


def _alignment(info: ModelInfo, arguments: SimulationArguments) -> str:
    """Return the name of the alignment. Raises RequestError if the model has one of that name that cannot encode."""
    name = arguments.alignment or ""
    known = next((of for of in info.alignments if of.name == name), None)
    if known is not None and not known.problem and not known.encodes:
        raise RequestError(
            "alignment",
            f"got {name!r}, which decodes latents but does not encode robot actions: it was made by an earlier "
            "version; run `genie align` again",
        )
    return name


def _confidence(info: ModelInfo, arguments: SimulationArguments) -> bool:
    if arguments.confidence and not info.calibrated:
        raise RequestError(
            "confidence",
            f"model {info.name} was not calibrated on real futures: `genie evaluate BUNDLE DATA --calibrate` does that",
        )
    return arguments.confidence


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
    """Return the same for N action sequences. Raises RequestError if there are none or their lengths differ."""
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
    """Return the same for the first request of an interactive simulation."""
    return lambda info: simulation_pb2.PlayRequest(start=simulation_start(info, prompt, arguments))


def action_request(info: ModelInfo, action: int | Latents | RobotActions) -> simulation_pb2.PlayRequest:
    """Return a further request of an interactive simulation."""
    if isinstance(action, RobotActions):
        return simulation_pb2.PlayRequest(robot_action=action.values_TA.astype("<f4").tobytes())
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
    if isinstance(actions, RobotActions):
        return simulation_pb2.ActionSequence(robot_actions=actions.values_TA.astype("<f4").tobytes())
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


MOST_REPLACED = 3
"""How often a call is begun again because its model was replaced, which may happen anew before it begins."""


class ModelReplacedError(ModelError):
    """The server has replaced a model since it was requested."""


class Beginnings:
    """Counts how often one call was begun for a bundle that had left when the server took it up.

    A server ends a call with the bundle that it began it with. But a client asks for the model first, since prompt and
    actions are made for it, and that may be replaced before the call arrives: then all that has come is the first
    answer, and the call is begun again for the bundle that this one names.
    """

    def __init__(self) -> None:
        self._count = 0

    @property
    def again(self) -> bool:
        """Whether the call was begun before."""
        return self._count > 0

    def replaced(self, error: ModelReplacedError) -> None:
        """Note that its model was replaced. Raises ModelReplacedError if that happened too often."""
        self._count += 1
        if self._count > MOST_REPLACED:
            raise ModelReplacedError(
                f"{error}; begun {self._count} times, and each time it was replaced anew"
            ) from error


@dataclass(frozen=True)
class Step:
    """The next frame of each of N branches.

    Attributes:
        index: 0 for the frames after the first actions.
        frames_NHWC: the frames.
        out_of_range: of one branch, components of its robot action beyond the alignment's range; of several, the
            branches whose action is.
        confidence: of each branch; empty unless asked for.
        timing: the server's times.

    """

    index: int
    frames_NHWC: Frames
    out_of_range: tuple[int, ...]
    confidence: tuple[float, ...]
    timing: Timing

    @property
    def simulated(self) -> SimulatedFrame:
        """The frame of a single branch."""
        confidence = self.confidence[0] if self.confidence else None
        return SimulatedFrame(self.frames_NHWC.squeeze(0), self.out_of_range, confidence, self.timing)


class StepReader:
    """Reads simulated frames in order and checks that the server keeps to the contract.

    Attributes:
        warns: whether to warn, once, of robot actions beyond the alignment's range; each step reports its own.

    """

    def __init__(self, info: ModelInfo, branches: int = 1, alignment: str | None = None) -> None:
        """Prepare for the frames of N branches drawn by `info`, from robot actions of an alignment if one is named."""
        self._info = info
        self._branches = branches
        self._next_index = 0
        self._names = next((of.action_names for of in info.alignments if of.name == alignment), ())
        self.warns = True

    def read(self, answer: StepAnswer) -> Step:
        """Return the next step; warns once (`OutOfRangeWarning`) of robot actions beyond the alignment's range.

        Raises:
            ModelReplacedError: another bundle draws than the one that the request was made for.
            ServerError: the response breaks the contract.

        """
        if answer.bundle_id not in ("", self._info.bundle_id):
            raise ModelReplacedError(
                f"{self._info.name}: got frames of bundle {answer.bundle_id:.12}, expected {self._info.bundle_id:.12}: "
                "the server has replaced the model; call again"
            )
        several = isinstance(answer, simulation_pb2.BranchResponse)
        frames_NHWC = read_frames(answer.frames if isinstance(answer, simulation_pb2.BranchResponse) else answer.frame)
        if (answer.index, len(frames_NHWC)) != (self._next_index, self._branches):
            raise ServerError(
                f"the server sent {len(frames_NHWC)} frames of step {answer.index}, "
                f"expected {self._branches} of step {self._next_index}"
            )
        self._next_index += 1
        outside = tuple(answer.out_of_range)
        if outside and self.warns:
            self.warns = False
            warnings.warn(self._beyond(answer.index, outside, several), OutOfRangeWarning, stacklevel=2)
        return Step(answer.index, frames_NHWC, outside, _confidences(answer), read_timing(answer.timing))

    def _beyond(self, index: int, outside: tuple[int, ...], several: bool) -> str:
        if several:
            what = f"those of branches {', '.join(map(str, outside))} lie"
        else:
            named = [self._names[a] if a < len(self._names) else str(a) for a in outside]
            what = f"{', '.join(named)} of it lie{'s' if len(named) == 1 else ''}"
        return (
            f"robot action {index}: {what} beyond the range that the alignment was fitted on; it is taken as it is, "
            "and what comes of it is a guess"
        )


def _confidences(answer: StepAnswer) -> tuple[float, ...]:
    if isinstance(answer, simulation_pb2.BranchResponse):
        return tuple(answer.confidence)
    return (answer.confidence,) if answer.HasField("confidence") else ()


__all__ = [
    "MOST_REPLACED",
    "Actions",
    "Beginnings",
    "Latents",
    "ModelReplacedError",
    "RobotActions",
    "Step",
    "StepReader",
    "action_request",
    "branch_maker",
    "check_action",
    "checked_size",
    "chosen_actions",
    "chosen_branches",
    "play_maker",
    "rollout_maker",
    "simulated_size",
    "simulation_start",
]
