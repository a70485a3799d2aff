"""Rollouts as Gymnasium environments, so that planners and policies run against a server. Needs the extra `gym`.

``gymnasium.make("genie_client.gym:Genie-v0", address="localhost:50051", prompt=frames)``, and ``make_vec`` for several
at once. An action is a code, or with an alignment the robot's own action; an observation is the simulated frame.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from concurrent.futures import ThreadPoolExecutor
from typing import Any, Literal

import gymnasium
import numpy as np
from gymnasium.spaces import Box, Discrete
from gymnasium.vector import AutoresetMode, VectorEnv
from gymnasium.vector.utils import batch_space
from numpy.typing import NDArray

from genie_client.client import Client
from genie_client.records import HostedAlignment, ModelInfo, SimulatedFrame
from genie_client.robot_actions import encoding_alignment
from genie_client.simulation_messages import checked_size
from genie_client.streams import PlaySession
from genie_core.data import Frames, conform_frames, resize_frames
from genie_core.errors import RequestError

Observation = NDArray[np.uint8]
Info = dict[str, Any]
Connect = Callable[[], Client]

REACHED = 0.25
"""Distance to the goal, as a share of the usual latent, from which it counts as reached."""


class LatentDistance:
    """Distance of a frame to the goal frame, learnt without labels: the latent of the motion from one to the other.

    It is 0 where nothing need move, and grows with the motion that is left, for models whose latents are as long as the
    motion is large (`ModelInfo.usual_norm`). It is told from a picture: it sees nothing that does not move pixels, no
    depth, and no motion so large that optical flow loses it, beyond about a fifth of the picture. Then it says little
    more than that the goal is far.
    """

    def __init__(self, client: Client, info: ModelInfo, goal_HWC: Frames) -> None:
        if info.usual_norm is None:
            raise RequestError(
                "goal", f"got one, but latents of {info.name} all have one length and say no distance: use `motion`"
            )
        self._client, self._info = client, info
        self._goal_HWC = goal_HWC
        self._usual = info.usual_norm

    def __call__(self, frame_HWC: Frames) -> float:
        """Return the distance of a frame at the model's size; 1 is the usual motion of one transition."""
        pair_2HWC = np.stack((frame_HWC, self._goal_HWC))
        labels = self._client.label(pair_2HWC, step=1, model=self._info.name)
        return float(np.linalg.norm(labels.latent[0])) / self._usual


class GenieEnv(gymnasium.Env[Observation, Any]):
    """One rollout as an environment, over an interactive session of the server.

    Observations are frames, (h, w, 3) uint8. Actions are codes, or with ``alignment`` the robot's
    own actions, (A,): the space is the range of those that the alignment was fitted on, and actions beyond are taken as
    they are, and reported in ``info["out_of_range"]``.

    ``info`` has ``out_of_range``, components of the robot action beyond the range; ``confidence``, None unless asked
    for; and with a goal ``distance``. The reward is minus the distance to the goal, see `LatentDistance`, and an
    episode terminates where it falls below `reached`; without a goal the reward is 0: wrap the environment to give one.
    """

    metadata = {"render_modes": ["rgb_array"], "render_fps": 10}  # noqa: RUF012 - gymnasium's own way

    def __init__(
        self,
        address: str | None = None,
        *,
        prompt: Frames | None = None,
        goal: Frames | None = None,
        alignment: str | None = None,
        model: str | None = None,
        max_steps: int | None = 50,
        reached: float = REACHED,
        confidence: bool = False,
        least_confidence: float | None = None,
        temperature: float | None = None,
        maskgit_steps: int | None = None,
        frame_size: tuple[int, int] | None = None,
        connect: Connect | None = None,
        render_mode: Literal["rgb_array"] | None = None,
    ) -> None:
        """Connect and ask for the model; the first `reset` starts a session.

        Args:
            address: ``host:port`` of the server.
            prompt: start of every episode unless `reset` is given one: (H, W, 3) or (P, H, W, 3) uint8.
            goal: frame to reach, likewise.
            alignment: name of an alignment; then actions are the robot's own.
            model: name of a model that simulates; None: the server's default.
            max_steps: steps after which an episode is truncated; None: never.
            reached: distance from which the goal counts as reached.
            confidence: whether `info` says how far each frame can be trusted.
            least_confidence: truncate the episode where confidence falls below.
            temperature: sampling temperature; None: the model's.
            maskgit_steps: per frame; None: the model's; 0: frames are moved and not mended by tokens.
            frame_size: height and width of observations, pixels; None: the model's. Others are for models that move
                frames (`ModelInfo.max_simulated_pixels`).
            connect: makes the client instead of `address`, for TLS or a token.
            render_mode: ``rgb_array`` for `render`.

        Raises:
            RequestError: neither address nor connect, or an argument that does not fit the model.
            ModelError: the model has no such alignment.

        """
        if (address is None) == (connect is None):
            raise RequestError("address", "expected either an address, or connect")
        self.render_mode = render_mode
        self._client = Client(address) if address is not None else _made(connect)
        try:
            self._info = self._client.model(model)
            self._aligned = None if alignment is None else encoding_alignment(self._info, alignment)
            self._size = self._info.frame_size if frame_size is None else checked_size(self._info, frame_size)
        except BaseException:
            self._client.close()
            raise
        self.metadata = {**self.metadata, "render_fps": self._info.fps}
        self.observation_space = Box(0, 255, (*self._size, 3), np.uint8)
        self.action_space = _action_space(self._info, self._aligned)
        self._prompt, self._goal = prompt, goal
        self._max_steps, self._reached = max_steps, reached
        self._least = least_confidence
        self._options: dict[str, Any] = {
            "model": self._info.name,
            "alignment": alignment,
            "confidence": confidence or least_confidence is not None,
            "temperature": temperature,
            "maskgit_steps": maskgit_steps,
            "frame_size": frame_size,
        }
        self._session: PlaySession | None = None
        self._distance: LatentDistance | None = None
        self._frame: Observation | None = None
        self._steps = 0

    def reset(self, *, seed: int | None = None, options: dict[str, Any] | None = None) -> tuple[Observation, Info]:
        """Start an episode; ``options={"prompt": frames, "goal": frame}`` replace those of the constructor.

        Raises RequestError without a prompt, or for other options.
        """
        super().reset(seed=seed)
        given = dict(options or {})
        prompt, goal = given.pop("prompt", self._prompt), given.pop("goal", self._goal)
        if given:
            raise RequestError("options", f"got {', '.join(map(str, given))}, expected prompt and goal alone")
        if prompt is None:
            raise RequestError("prompt", 'got none, expected reset(options={"prompt": frames}), or one when it is made')
        prompt_PHWC = self._sized(prompt, "prompt")
        self._end()
        draw = int(self.np_random.integers(2**63))
        self._distance = None
        if goal is not None:
            self._distance = LatentDistance(self._client, self._info, self._sized(goal, "goal")[-1])
        self._session = self._client.play(prompt_PHWC, seed=draw, **self._options)
        self._session.do_not_warn()  # info tells, of every step
        self._frame, self._steps = prompt_PHWC[-1], 0
        return self._frame.copy(), self._told(SimulatedFrame(self._frame))

    def step(self, action: Any) -> tuple[Observation, float, bool, bool, Info]:
        """Take a code, or a robot action (A,).

        Raises:
            RequestError: before the first `reset`, or for a bad action.
            ModelError: the server has replaced the model since the environment was made.

        """
        if self._session is None:
            raise RequestError("action", "expected reset() before the first step")
        if self._aligned is None:
            self._session.step(int(action))
        else:
            self._session.step(robot_action=action)
        self._session.check_model(self._info, "make the environment anew: its spaces are of the one before")
        newest = self._session.newest
        assert newest is not None
        self._frame, self._steps = newest.frame_HWC, self._steps + 1
        info = self._told(newest)
        reward = -float(info.get("distance", 0.0))
        terminated = "distance" in info and info["distance"] < self._reached
        late = self._max_steps is not None and self._steps >= self._max_steps
        lost = self._least is not None and (newest.confidence or 0.0) < self._least
        return self._frame.copy(), reward, bool(terminated), late or lost, info

    def render(self) -> Any:
        """Return the newest frame, (h, w, 3) uint8; None without a render mode or before the first `reset`."""
        return None if self.render_mode is None or self._frame is None else self._frame.copy()

    def close(self) -> None:
        """End the session and the connection."""
        self._end()
        self._client.close()

    def _told(self, frame: SimulatedFrame) -> Info:
        info: Info = {"out_of_range": frame.out_of_range, "confidence": frame.confidence}
        if self._distance is not None:
            info["distance"] = self._distance(frame.frame_HWC)
        return info

    def _sized(self, frames: Frames, field: str) -> Frames:
        whole = np.asarray(frames)
        whole = conform_frames(whole[None] if whole.ndim == 3 else whole, field)
        return resize_frames(whole, *self._size)

    def _end(self) -> None:
        if self._session is not None:
            self._session.close()
            self._session = None


class GenieVectorEnv(VectorEnv[Observation, Any, Any]):
    """Several rollouts at once, each over a session of its own; the server draws their frames together.

    As Gymnasium's other vector environments, an episode that has ended starts anew with the next step, whose action is
    ignored. ``options={"prompt": ..., "goal": ...}`` of `reset` hold for all; a list of options gives each its own.
    """

    metadata = {"autoreset_mode": AutoresetMode.NEXT_STEP}  # noqa: RUF012 - gymnasium's own way

    def __init__(self, address: str | None = None, num_envs: int = 2, **making: Any) -> None:
        """Make `num_envs` environments; `making` are the arguments of `GenieEnv`."""
        if num_envs < 1:
            raise RequestError("num_envs", f"got {num_envs}, expected at least 1")
        self.num_envs = num_envs
        self._pool = ThreadPoolExecutor(num_envs, "genie-env")
        self._envs: list[GenieEnv] = []
        try:
            for _ in range(num_envs):
                self._envs.append(GenieEnv(address, **making))
        except BaseException:
            self._stop()
            raise
        self.render_mode = self._envs[0].render_mode
        self.metadata = {**self._envs[0].metadata, **self.metadata}
        self.single_observation_space = self._envs[0].observation_space
        self.single_action_space = self._envs[0].action_space
        self.observation_space = batch_space(self.single_observation_space, num_envs)
        self.action_space = batch_space(self.single_action_space, num_envs)
        self._options: Sequence[dict[str, Any] | None] = [None] * num_envs
        self._over = np.zeros(num_envs, np.bool_)

    def reset(
        self,
        *,
        seed: int | list[int | None] | None = None,
        options: dict[str, Any] | Sequence[dict[str, Any]] | None = None,
    ) -> tuple[Observation, Info]:
        """Start every episode; environment i has the seed `seed` + i."""
        if isinstance(seed, list):
            seeds: list[int | None] = seed
        else:
            seeds = [None if seed is None else seed + i for i in range(self.num_envs)]
        self._options = [options] * self.num_envs if options is None or isinstance(options, dict) else options
        if len(seeds) != self.num_envs or len(self._options) != self.num_envs:
            raise RequestError("options", f"expected seeds and options for {self.num_envs} environments")
        self._over[:] = False
        made = self._all(lambda env, i: env.reset(seed=seeds[i], options=self._options[i]))
        return np.stack([frame for frame, _ in made]), self._merged([info for _, info in made])

    def step(self, actions: Any) -> tuple[Observation, NDArray[np.float64], NDArray[np.bool_], NDArray[np.bool_], Info]:
        """Take an action in each environment, (N,) codes or (N, A) robot actions."""
        if len(actions) != self.num_envs:
            raise RequestError("actions", f"got {len(actions)}, expected {self.num_envs}, one per environment")

        def move(env: GenieEnv, i: int) -> tuple[Observation, float, bool, bool, Info]:
            if self._over[i]:
                frame, info = env.reset(options=self._options[i])
                return frame, 0.0, False, False, info
            return env.step(actions[i])

        frames, rewards, terminated, truncated, infos = zip(*self._all(move), strict=True)
        self._over = np.array(terminated, np.bool_) | np.array(truncated, np.bool_)
        return (
            np.stack(frames),
            np.array(rewards, np.float64),
            np.array(terminated, np.bool_),
            np.array(truncated, np.bool_),
            self._merged(infos),
        )

    def render(self) -> Any:
        """Return the newest frame of each environment."""
        return None if self.render_mode is None else tuple(env.render() for env in self._envs)

    def close_extras(self, **_: Any) -> None:
        """End all sessions."""
        self._stop()

    def _all(self, move: Callable[[GenieEnv, int], Any]) -> list[Any]:
        """Do the same in every environment at once; raises what the first that fails raises, after all have ended."""
        running = [self._pool.submit(move, env, i) for i, env in enumerate(self._envs)]
        failures = [error for of in running if (error := of.exception()) is not None]
        if failures:
            raise failures[0]
        return [of.result() for of in running]

    def _merged(self, infos: Sequence[Info]) -> Info:
        merged: Info = {}
        for i, info in enumerate(infos):
            merged = self._add_info(merged, info, i)
        return merged

    def _stop(self) -> None:
        for env in self._envs:
            env.close()
        self._pool.shutdown(wait=False, cancel_futures=True)


def _made(connect: Connect | None) -> Client:
    assert connect is not None
    return connect()


def _action_space(info: ModelInfo, aligned: HostedAlignment | None) -> Discrete[Any] | Box:
    if aligned is None:
        return Discrete(info.num_codes)
    low, high = np.array(aligned.action_low, np.float32), np.array(aligned.action_high, np.float32)
    return Box(low, np.maximum(high, low), dtype=np.float32)


gymnasium.register(
    id="Genie-v0",
    entry_point="genie_client.gym:GenieEnv",
    vector_entry_point="genie_client.gym:GenieVectorEnv",
)

__all__ = ["REACHED", "GenieEnv", "GenieVectorEnv", "LatentDistance"]
