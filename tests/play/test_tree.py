"""The tree of what was played."""

from __future__ import annotations

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from genie_core.data import Frames
from genie_core.errors import RequestError
from genie_play import tree as trees
from genie_play.tree import Tree


def frame(value: int) -> Frames:
    return np.full((2, 3, 3), value, np.uint8)


@given(st.lists(st.tuples(st.integers(0, 40), st.integers(0, 7)), max_size=40))
def test_every_frame_is_reached_by_its_own_actions(moves: list[tuple[int, int]]) -> None:
    tree = Tree(np.stack([frame(9), frame(255)]))
    paths: dict[int, tuple[int, ...]] = {0: ()}
    for parent, code in moves:
        parent %= len(tree)
        node = tree.child(parent, code)
        if node is None:
            node = tree.add(parent, code, frame(len(tree)))
            paths[node.number] = (*paths[parent], code)
        assert paths[node.number] == (*paths[parent], code)
    assert len(set(paths.values())) == len(paths) == len(tree)
    for number, path in paths.items():
        assert tree.path(number) == path
        assert tree.frames(number).shape == (len(path), 2, 3, 3)
        if path:
            assert tree.frames(number)[-1, 0, 0, 0] == number


def test_a_tree_is_bounded_in_bytes(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(trees, "MAX_BYTES", 4 * frame(0).nbytes)
    tree = Tree(frame(0)[None])
    for code in range(3):
        tree.add(0, code, frame(1))
    with pytest.raises(RequestError, match="4 frames that a game holds"):
        tree.add(0, 3, frame(1))
    assert len(tree) == 4
    assert tree.child(0, 3) is None


@pytest.mark.parametrize("number", [-1, 1, 10**9])
def test_a_frame_that_is_not_there_is_named(number: int) -> None:
    with pytest.raises(RequestError, match=f"got {number}, expected 0 to 0"):
        Tree(frame(0)[None]).path(number)
