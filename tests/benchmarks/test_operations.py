"""The account of a core's time: arithmetic, bytes and names of operations, and the fewest steps of a rollout."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest
import torch
from torch import nn

from benchmarks.networks import WINDOW
from benchmarks.operations import Operations, of_default_bundle
from benchmarks.rollout_steps import FullWindow, fewest_steps
from genie_core.models.bundle import load_bundle
from genie_core.models.dynamics import previous_tokens
from tests.factories.bundles import make_nano_bundle


def test_operations_count_arithmetic_and_bytes() -> None:
    convolution, linear = nn.Conv2d(3, 8, 3, padding=1), nn.Linear(16, 5)
    with torch.inference_mode(), Operations() as operations:
        convolution(torch.zeros(2, 3, 10, 10))
        linear(torch.zeros(7, 16))
    spent = operations.spent
    assert spent["convolution 3x3, 3 to 8"].flops == 2 * 2 * 8 * 10 * 10 * 3 * 9
    assert spent["linear"].flops == 2 * 7 * 5 * 16
    assert spent["linear"].bytes == 4 * (7 * 16 + 5 * 16 + 5 + 7 * 5)
    assert spent["linear"].calls == 1
    assert all(of.seconds >= 0 for of in spent.values())


def test_account_of_the_default_bundle_names_flow_and_convolutions() -> None:
    (measured,) = of_default_bundle(quick=True)
    titles, *lines = measured.table
    assert measured.value > 0
    assert all(len(line) == len(titles) for line in lines)
    found = {line[0] for line in lines}
    assert "OpenCV: optical flow" in found
    assert any(name.startswith("convolution 3x3") for name in found)


@pytest.mark.parametrize(
    ("quality_db", "fewest"),
    [
        ({25: 20.0, 8: 19.95, 4: 19.91, 2: 19.8, 1: 19.95}, 4),
        ({25: 20.0, 8: 19.8, 4: 20.1}, 25),
        ({25: 20.0, 8: 20.4, 1: 20.0}, 1),
    ],
)
def test_fewest_steps_lose_no_more_than_a_tenth_of_a_decibel(quality_db: dict[int, float], fewest: int) -> None:
    assert fewest_steps(quality_db) == fewest


@torch.inference_mode()
def test_full_window_has_the_logits_of_the_carried_past(tmp_path: Path) -> None:
    bundle = load_bundle(make_nano_bundle(tmp_path / "nano"))
    dynamics, (height, width) = bundle.genie.dynamics, (bundle.config.height, bundle.config.width)
    frames = np.random.default_rng(0).integers(0, 256, (WINDOW, height, width, 3), np.uint8)
    window = FullWindow(bundle, frames, steps=2)
    token_1N = torch.full_like(window.past_1TN[:, 0], dynamics.mask_token)
    token_1N[:, ::2] = 1
    at_1M = torch.tensor([[1, 3]])
    past_1TN = previous_tokens(window.past_1TN, dynamics.mask_token)
    _, past = dynamics.stream(window.past_1TN, past_1TN, window.action_1TD[:, :-1], dynamics.initial_state(1))
    frame = dynamics.next_frame(window.past_1TN[:, -1], window.action_1TD[:, -1], past)
    torch.testing.assert_close(window.logits(token_1N, at_1M), dynamics.reveal(frame, token_1N, at_1M))
    assert window.draw().shape == (1, height, width, 3)
