"""What tests of training share."""

from __future__ import annotations

from functools import partial

import pytest

from genie_core.evaluation.options import EvaluationOptions
from genie_core.training import card


@pytest.fixture(autouse=True)
def _quick_cards(monkeypatch: pytest.MonkeyPatch) -> None:
    """Measure cards with rollouts of two sampling steps a frame: their numbers are not what these tests are about."""
    monkeypatch.setattr(card, "EvaluationOptions", partial(EvaluationOptions, maskgit_steps=2))
