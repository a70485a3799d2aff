"""Who acts in the environment, and what comes of it. Nothing is trained here."""

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
        """How many of the last frames it wants to see."""
        ...

    def act(self, last_FHWC: Frames, rng: np.random.Generator) -> Array:
        """The next action (A,), to be cut off at [-1, 1]."""
        ...


@dataclass(frozen=True)
class _Sighted:
    """An agent that sees what its policy reads."""

    policy: Policy

    @property
    def frames(self) -> int:
        """See `Agent`."""
        return self.policy.frames


@dataclass(frozen=True)
class Direct(_Sighted):
    """A policy whose targets were actions: the oracle, and cloning of the labelled transitions alone."""

    def act(self, last_FHWC: Frames, rng: np.random.Generator) -> Array:
        """What the policy says."""
        return self.policy.predict(last_FHWC)


@dataclass(frozen=True)
class Coded(_Sighted):
    """The paper's: the likeliest code, and an action drawn from the dictionary."""

    dictionary: Dictionary

    def act(self, last_FHWC: Frames, rng: np.random.Generator) -> Array:
        """An action seen with the code."""
        code_1 = np.array([int(self.policy.predict(last_FHWC).argmax())])
        action_A: Array = self.dictionary.draw(code_1, seed=int(rng.integers(2**63)))[0]
        return action_A


@dataclass(frozen=True)
class Expected(_Sighted):
    """The same policy and dictionary without drawing: each code's mean action, weighted by how likely the code is."""

    dictionary: Dictionary

    def act(self, last_FHWC: Frames, rng: np.random.Generator) -> Array:
        """The expected action."""
        share_K = self.policy.predict(last_FHWC)
        action_A: Array = share_K @ self.dictionary.mean(np.arange(len(share_K)))
        return action_A


@dataclass(frozen=True)
class Latent(_Sighted):
    """The latent before quantization, and the action that the regressor reads off it."""

    reader: Reader

    def act(self, last_FHWC: Frames, rng: np.random.Generator) -> Array:
        """What the latent says."""
        return self.reader.read(self.policy.predict(last_FHWC))


@dataclass(frozen=True)
class Blind:
    """Uniformly random actions of A numbers."""

    action_size: int
    frames: int = 1

    def act(self, last_FHWC: Frames, rng: np.random.Generator) -> Array:
        """Anything."""
        return rng.uniform(-1.0, 1.0, self.action_size)


def roll_out(environment: Environment, agent: Agent, number: int, max_steps: int, rng: np.random.Generator) -> int:
    """Let an agent act in episode `number` until it succeeds; the steps that took, or -1 where it did not."""
    environment.reset(number)
    last: deque[Frames] = deque(maxlen=agent.frames)
    for step in range(1, max_steps + 1):
        frame = environment.frame()
        last.extend([frame] * (1 if last else agent.frames))  # the first frame stands for those before it
        environment.step(np.clip(agent.act(np.stack(last), rng), -1.0, 1.0))
        if environment.succeeded():
            return step
    return -1


__all__ = ["Agent", "Blind", "Coded", "Direct", "Expected", "Latent", "roll_out"]
