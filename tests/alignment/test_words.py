from __future__ import annotations

import numpy as np
import pytest

from genie_core.alignment.dictionary import Dictionary
from genie_core.alignment.words import code_words, read_ways
from genie_core.errors import RequestError

NAMES = ("delta_x", "y", "eef_pos.z", "gripper")


def dictionary(*ways: tuple[float, ...]) -> Dictionary:
    """Twenty actions of each way, a code each; of an empty way none."""
    rng = np.random.default_rng(0)
    actions = [np.array(way) + 0.02 * rng.normal(size=(20, len(NAMES))) for way in ways if way]
    code = [np.full(20, code) for code, way in enumerate(ways) if way]
    return Dictionary.fill(np.concatenate(code), np.concatenate(actions), len(ways))


def test_codes_are_said_in_the_robots_words() -> None:
    found = dictionary((0, 1, 0.6, 0), (-2, 0, 0, 0), (), (0, -1, -0.7, 0), (0, 0, 0, 1), (0, 0, 0, 0), (2, 0, 0, -1))
    says = read_ways(["gripper=open/close"], NAMES)
    assert code_words(NAMES, found, says) == [
        "left, up",
        "back",
        "not used",
        "down, right",
        "open",
        "still",
        "forward, close",
    ]
    assert code_words(NAMES, found, {})[4] == "gripper +"
    assert code_words(NAMES, found, {"y": ("towards the wall", "away")})[0] == "towards the wall, up"


def test_a_code_whose_actions_cancel_out_has_no_one_way() -> None:
    there_and_back = np.concatenate([np.full((10, 4), [1.0, 0, 0, 0]), np.full((10, 4), [-1.0, 0, 0, 0])])
    assert code_words(NAMES, Dictionary.fill(np.zeros(20, np.int64), there_and_back, 1), {}) == ["no one way"]


def test_targets_that_never_change_sign_are_more_or_less_than_usual() -> None:
    at = Dictionary.fill(np.repeat([0, 1], 5), np.repeat([[2.0, 0, 0, 0], [3.0, 0, 0, 0]], 5, axis=0), 2)
    assert code_words(("shoulder", "a", "b", "c"), at, {}) == ["shoulder -", "shoulder +"]


@pytest.mark.parametrize("said", ["gripper", "gripper=open", "wrist=left/right", "gripper=/", "gripper=a/b/c"])
def test_words_that_name_nothing_are_refused(said: str) -> None:
    with pytest.raises(RequestError, match=r"expected NAME=PLUS/MINUS, NAME one of delta_x, y, eef_pos\.z, gripper"):
        read_ways([said], NAMES)
