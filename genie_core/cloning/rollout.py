"""Agents and their rollouts in the environment. Trains nothing."""

from __future__ import annotations

from collections import deque
from dataclasses import dataclass
from typing import Protocol

import numpy as np
from numpy.typing import NDArray

from genie_core.alignment.dictionary import Dictionary
from genie_core.cloning.meaning import Reader
from genie_core.cloning.policy import Policy
from genie_core.cloning.task import Environment
from genie_core.data import Frames

Array = NDArray[np.float64]


class Agent(Protocol):
    """Chooses actions from pictures."""

    @property
    def frames(self) -> int:
        """Number of last frames that it needs."""
        ...

    def act(self, last_FHWC: Frames, rng: np.random.Generator) -> Array:
        """Return the next action (A,), which is clipped to [-1, 1]."""
        ...


@dataclass(frozen=True)
class _Sighted:
    """An agent that sees what its policy sees."""

    policy: Policy

    @property
    def frames(self) -> int:
        """See `Agent`."""
        return self.policy.frames


@dataclass(frozen=True)
class Direct(_Sighted):
    """A policy trained on actions: the oracle, and cloning of the labelled transitions alone."""

    def act(self, last_FHWC: Frames, rng: np.random.Generator) -> Array:
        """Return the policy's output."""
        return self.policy.predict(last_FHWC)


@dataclass(frozen=True)
class Coded(_Sighted):
    """The paper's agent: the most likely code, and an action drawn from the dictionary."""

    dictionary: Dictionary

    def act(self, last_FHWC: Frames, rng: np.random.Generator) -> Array:
        """Return an action drawn from D[code]."""
        code_1 = np.array([int(self.policy.predict(last_FHWC).argmax())])
        action_A: Array = self.dictionary.draw(code_1, seed=int(rng.integers(2**63)))[0]
        return action_A


@dataclass(frozen=True)
class Expected(_Sighted):
    """The same policy and dictionary without drawing: the mean action of each code, weighted by its probability."""

    dictionary: Dictionary

    def act(self, last_FHWC: Frames, rng: np.random.Generator) -> Array:
        """Return the expected action."""
        share_K = self.policy.predict(last_FHWC)
        action_A: Array = share_K @ self.dictionary.mean(np.arange(len(share_K)))
        return action_A


@dataclass(frozen=True)
class Latent(_Sighted):
    """The latent before quantization, mapped to an action by the regressor."""

    reader: Reader

    def act(self, last_FHWC: Frames, rng: np.random.Generator) -> Array:
        """Return the regressor's action for the predicted latent."""
        return self.reader.read(self.policy.predict(last_FHWC))


@dataclass(frozen=True)
class Blind:
    """Uniformly random actions of A numbers."""

    action_size: int
    frames: int = 1

    def act(self, last_FHWC: Frames, rng: np.random.Generator) -> Array:
        """Return a uniformly random action."""
        return rng.uniform(-1.0, 1.0, self.action_size)


def roll_out(environment: Environment, agent: Agent, number: int, max_steps: int, rng: np.random.Generator) -> int:
    """Run an agent in episode `number` until it succeeds; return the number of steps, or -1 if it did not."""
    environment.reset(number)
    last: deque[Frames] = deque(maxlen=agent.frames)
    for step in range(1, max_steps + 1):
        frame = environment.frame()
        last.extend([frame] * (1 if last else agent.frames))  # the first frame is repeated at the start
        environment.step(np.clip(agent.act(np.stack(last), rng), -1.0, 1.0))
        if environment.succeeded():
            return step
    return -1


__all__ = ["Agent", "Blind", "Coded", "Direct", "Expected", "Latent", "roll_out"]
