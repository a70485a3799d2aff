"""A loaded model: its operations on the device, and the number of calls that use it."""

from __future__ import annotations

import asyncio
from collections.abc import Iterator
from contextlib import contextmanager

import numpy as np

from genie_core.inference import BLOCK, Action, Block, Labeller, SimulatedStream, Simulator, draw_together
from genie_core.inference.shapes import ExactShapes, draw_shapes, label_shapes
from genie_core.models.bundle import Bundle
from genie_service.fair_queue import ONE_BY_ONE, Operation


class LoadedModel:
    """A bundle in memory. Call `prepare` before using its operations.

    Attributes:
        name: name of the bundle's folder.
        bundle: its networks.
        labeller: labels with it.
        simulator: simulates with it.
        encode: operation of labelling: `Block` -> `Encoded`.
        start: operation that starts a simulation: arguments of `Simulator.start` -> `Rollout`.

    """

    def __init__(self, name: str, bundle: Bundle) -> None:
        self.name = name
        self.bundle = bundle
        self.labeller = Labeller(bundle)
        self.simulator = simulator = Simulator(bundle)
        self.encode = Operation(f"{name}/encode", self.labeller.encode)
        # Operations do not refer to this object, so that it is freed as soon as nobody uses it.
        self.start = Operation(f"{name}/start", lambda payloads: [simulator.start(*prompt) for prompt in payloads])
        self._draws: dict[tuple[int, int], Operation] = {}
        self._draw_shapes = ONE_BY_ONE
        self._users = 0
        self._unused = asyncio.Event()
        self._unused.set()

    def prepare(self, largest_batch: int, threads: int) -> None:
        """Find the batch sizes that change no bit, on the device's thread; the model is warm afterwards."""
        label = label_shapes(self.labeller, largest=largest_batch, threads=threads)
        self.encode = Operation(self.encode.name, self.labeller.encode, label, lambda block: block)
        self._draw_shapes = draw_shapes(self.simulator, largest=largest_batch, threads=threads)

    def warm(self) -> None:
        """Compute one batch of the largest size, so that the calling lane has its memory allocated from the start."""
        block = np.zeros((BLOCK, self.labeller.height, self.labeller.width, 3), np.uint8)
        self.labeller.encode([Block(block, self.labeller.initial_state())] * self.encode.shapes.sizes[-1])

    @property
    def shapes(self) -> dict[str, ExactShapes]:
        """Allowed batch sizes, by kind of work."""
        return {"encode": self.encode.shapes, "draw": self._draw_shapes}

    def draw(self, maskgit_steps: int, size: tuple[int, int]) -> Operation:
        """Return the operation that advances simulations: (stream, action) -> (h, w, 3).

        Frames of other sizes than the model's are moved one by one, and have an operation for each power of two of
        pixels, so that what large ones cost is not taken for the cost of small ones.

        Args:
            maskgit_steps: of a frame.
            size: of the frames.

        """
        config = self.bundle.config
        own = size == (config.height, config.width)
        large = 0 if own else (size[0] * size[1]).bit_length()
        if (maskgit_steps, large) not in self._draws:
            name = f"{self.name}/draw-{maskgit_steps}" + ("" if own else f"-2^{large}")
            shapes = self._draw_shapes if own else ExactShapes((1,), self._draw_shapes.in_threads)
            self._draws[maskgit_steps, large] = Operation(name, draw_together, shapes, _another_stream)
        return self._draws[maskgit_steps, large]

    @contextmanager
    def in_use(self) -> Iterator[LoadedModel]:
        """Count a user while the context lasts."""
        self._users += 1
        self._unused.clear()
        try:
            yield self
        finally:
            self._users -= 1
            if not self._users:
                self._unused.set()

    async def unused(self) -> None:
        """Return when nobody uses it."""
        await self._unused.wait()


def _another_stream(move: tuple[SimulatedStream, Action]) -> tuple[SimulatedStream, Action]:
    stream, action = move
    return SimulatedStream(stream.bundle, stream.past, stream.sampling, stream.spoken_KD), action


__all__ = ["LoadedModel"]
