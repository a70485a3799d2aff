"""Tree of the frames that were played, in which every edge is one latent action. Pure; does no I/O."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np

from genie_core.data import Frames
from genie_core.errors import RequestError

MAX_BYTES = 128 * 2**20
"""Most pixels that one tree holds, in bytes: over 10,000 frames of 64 x 64."""


@dataclass(frozen=True)
class Node:
    """One frame of a tree.

    Attributes:
        number: its place in the tree; 0 is the start.
        parent: number of the frame it came from; None for the start.
        code: latent action that led here; None for the start.
        frame_HWC: (h, w, 3) uint8.

    """

    number: int
    parent: int | None
    code: int | None
    frame_HWC: Frames


class Tree:
    """Frames played from one prompt. The same action from the same frame leads to the same frame, so it exists once."""

    def __init__(self, prompt_PHWC: Frames) -> None:
        """Begin at the last frame of a prompt, (P, h, w, 3) uint8."""
        self.prompt_PHWC = prompt_PHWC
        self._nodes = [Node(0, None, None, prompt_PHWC[-1])]
        self._children: dict[tuple[int, int], int] = {}
        self._bytes = prompt_PHWC.nbytes

    def __len__(self) -> int:
        return len(self._nodes)

    def node(self, number: int) -> Node:
        """Return a frame. Raises RequestError for a number that the tree does not have."""
        if not 0 <= number < len(self._nodes):
            raise RequestError("node", f"got {number}, expected 0 to {len(self._nodes) - 1}")
        return self._nodes[number]

    def child(self, parent: int, code: int) -> Node | None:
        """Return where `code` led from a frame; None if it was not tried there."""
        number = self._children.get((self.node(parent).number, code))
        return None if number is None else self._nodes[number]

    def add(self, parent: int, code: int, frame_HWC: Frames) -> Node:
        """Add where `code` led from a frame, and return it.

        Raises:
            RequestError: the tree has no such parent, or would hold more than MAX_BYTES of pixels.

        """
        self.node(parent)
        if self._bytes + frame_HWC.nbytes > MAX_BYTES:
            raise RequestError(
                "action", f"got one more than the {len(self)} frames that a game holds: save it, then start again"
            )
        node = Node(len(self._nodes), parent, code, frame_HWC)
        self._nodes.append(node)
        self._children[parent, code] = node.number
        self._bytes += frame_HWC.nbytes
        return node

    def path(self, number: int) -> tuple[int, ...]:
        """Return the latent actions that lead from the start to a frame."""
        return tuple(node.code for node in self._line(number) if node.code is not None)

    def frames(self, number: int) -> Frames:
        """Return the frames after each of those actions, (T, h, w, 3) uint8; none for the start."""
        line = self._line(number)[1:]
        height, width = self.prompt_PHWC.shape[1:3]
        return np.stack([node.frame_HWC for node in line]) if line else np.empty((0, height, width, 3), np.uint8)

    def _line(self, number: int) -> list[Node]:
        """Return the frames from the start to a frame."""
        line = [self.node(number)]
        while (parent := line[-1].parent) is not None:
            line.append(self._nodes[parent])
        return line[::-1]


__all__ = ["MAX_BYTES", "Node", "Tree"]
