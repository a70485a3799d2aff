"""What was asked for is read back from what was drawn; a calibration lies beside its bundle, and fits no other."""

from __future__ import annotations

import shutil
from pathlib import Path

import numpy as np
import pytest

from genie_core.bundles import shipped
from genie_core.errors import ModelError
from genie_core.inference import Labeller, Simulator
from genie_core.inference.confidence import (
    Calibration,
    ReadBack,
    agreement,
    read_calibration,
    write_calibration,
)
from genie_core.models.bundle import CONFIDENCE, load_bundle, read_bundle_info, save_bundle
from tests.factories.bundles import make_nano_bundle
from tests.factories.squares import draw_squares


def test_agreement_is_of_direction_and_length() -> None:
    x = np.array([3.0, 4.0])
    assert agreement(x, x) == 1
    assert agreement(x, -x) == pytest.approx(0)
    assert agreement(np.zeros(2), np.zeros(2)) == 1
    assert agreement(x, 3 * x) == pytest.approx(0.5)
    assert agreement(x, np.array([4.0, -3.0])) < 0.3


def test_a_motion_that_was_drawn_is_read_back() -> None:
    bundle = load_bundle(shipped("motion"))
    labeller = Labeller(bundle)
    frames = draw_squares(np.array([[20, 20], [20, 23]]), 64, np.random.default_rng(0))
    latent = labeller.label(frames, 1).latent[0]
    drawn = Simulator(bundle).rollout(frames[:1], [latent])[0]
    agreed = []
    for wanted in (latent, -latent):
        reader = ReadBack.of(labeller, frames[0])
        (encoded,) = labeller.encode([reader.block(drawn)])
        agreed.append(reader.take(drawn, wanted, encoded))
        assert reader.agreements == agreed[-1:]
    assert agreed[0] > 0.6 > 0.4 > agreed[1]


def calibration(bundle_id: str) -> Calibration:
    return Calibration(
        bundle_id=bundle_id,
        intercept=0.5,
        weights=(1.0, 2.0, -1.0),
        data="a.hdf5",
        rollouts=10,
        episodes=4,
        created="2026-01-01T00:00:00+00:00",
    )


def test_a_calibration_belongs_to_its_bundle_and_stays_when_only_the_card_is_written_again(tmp_path: Path) -> None:
    info = read_bundle_info(make_nano_bundle(tmp_path / "nano"))
    assert read_calibration(info) is None
    write_calibration(info, calibration(info.bundle_id))
    assert read_calibration(info) == calibration(info.bundle_id)
    assert read_bundle_info(info.path).bundle_id == info.bundle_id
    save_bundle(info.path, load_bundle(info.path).genie, "# another card\n")
    assert read_calibration(read_bundle_info(info.path)) == calibration(info.bundle_id)
    other = read_bundle_info(make_nano_bundle(tmp_path / "other", seed=1))
    shutil.copy(info.path / CONFIDENCE, other.path / CONFIDENCE)
    assert read_calibration(other) is None


@pytest.mark.parametrize("text", ["", "{}", "[" * 10_000, '{"bundle_id": 3}', "\xff"])
def test_a_damaged_calibration_is_named(tmp_path: Path, text: str) -> None:
    info = read_bundle_info(make_nano_bundle(tmp_path / "nano"))
    (info.path / CONFIDENCE).write_text(text, encoding="latin-1")
    with pytest.raises(ModelError, match=r"confidence\.json is no calibration"):
        read_calibration(info)
