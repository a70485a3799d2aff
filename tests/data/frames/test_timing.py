import math

import pytest

from genie_core.data import Step, resolve_step
from genie_core.errors import DatasetError


@pytest.mark.parametrize(
    ("fps", "step", "effective_fps"),
    [(10, 1, 10), (30, 3, 10), (25, 3, 25 / 3), (15, 2, 7.5), (5, 1, 5), (14.99, 1, 14.99), (0.5, 1, 0.5)],
)
def test_takes_the_step_nearest_to_the_model_rounding_half_up(fps: float, step: int, effective_fps: float) -> None:
    assert resolve_step(fps, model_fps=10) == Step(step, effective_fps)


def test_the_step_asked_for_wins() -> None:
    assert resolve_step(30, model_fps=10, step=5) == Step(5, 6)
    assert resolve_step(None, model_fps=10, step=5) == Step(5, None)


def test_never_guesses() -> None:
    with pytest.raises(DatasetError, match="fps: got none"):
        resolve_step(None, model_fps=10)


@pytest.mark.parametrize("fps", [0, -1, math.nan, math.inf])
def test_refuses_what_is_no_rate(fps: float) -> None:
    with pytest.raises(DatasetError, match="fps"):
        resolve_step(fps, model_fps=10)
    with pytest.raises(DatasetError, match="model_fps"):
        resolve_step(10, model_fps=fps)


def test_refuses_a_step_below_one() -> None:
    with pytest.raises(DatasetError, match="step: got 0"):
        resolve_step(10, model_fps=10, step=0)


def test_says_how_far_the_rate_is_off() -> None:
    assert resolve_step(25, 10).mismatch(10) == pytest.approx(-1 / 6)
    assert resolve_step(12.5, 10).mismatch(10) == pytest.approx(0.25)
    assert resolve_step(30, 10).mismatch(10) == 0
    assert resolve_step(None, 10, step=2).mismatch(10) is None
