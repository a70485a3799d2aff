"""Transition lengths that were found on the data stay those of a run that goes on."""

from __future__ import annotations

from pathlib import Path

import pytest

from genie_core.data import AutoSteps, FoundStep, LabelWriter, kept_steps, open_dataset
from genie_core.errors import DatasetError
from tests.factories.data import make_label_model, make_labels, make_robomimic


def test_a_stopped_run_and_a_finished_one_say_which_steps_they_had_found(tmp_path: Path) -> None:
    dataset = open_dataset(make_robomimic(tmp_path / "a.hdf5", episodes=2, frames=12, size=8))
    output, model = tmp_path / "out.hdf5", make_label_model()
    found = AutoSteps((FoundStep(10, 3, 5.0),))
    assert kept_steps(output, model.bundle_id, "refuse") is None
    with LabelWriter(output, dataset, model, auto_steps=found) as writer:
        assert writer.step(dataset.episodes[0]).step == 3
        writer.add(dataset.episodes[0], make_labels(12, 3))
    kept = kept_steps(output, model.bundle_id, "refuse")
    assert kept is not None
    assert kept.pairs == ((10, 3),)
    assert kept_steps(output, "c" * 64, "refuse") is None
    with pytest.raises(DatasetError, match="auto_steps"):
        LabelWriter(output, dataset, model, auto_steps=AutoSteps((FoundStep(10, 2),)))
    with LabelWriter(output, dataset, model, auto_steps=kept) as writer:
        (left,) = writer.pending()
        writer.add(left, make_labels(12, 3))
        writer.finish()
    assert kept_steps(output, model.bundle_id, "refuse") is None
    resumed = kept_steps(output, model.bundle_id, "resume")
    assert resumed is not None
    assert resumed.pairs == ((10, 3),)


def test_where_nothing_was_found_the_rates_count(tmp_path: Path) -> None:
    dataset = open_dataset(make_robomimic(tmp_path / "a.hdf5", episodes=1, frames=12, size=8, fps=30))
    with LabelWriter(tmp_path / "out.hdf5", dataset, make_label_model(), auto_steps=AutoSteps(())) as writer:
        assert writer.step(dataset.episodes[0]).step == 3
        writer.add(dataset.episodes[0], make_labels(12, 3))
        writer.finish()
    kept = kept_steps(tmp_path / "out.hdf5", make_label_model().bundle_id, "resume")
    assert kept is None  # labels of the rates: a run that goes on looks again, and is told if it finds another


def test_where_nothing_moves_and_no_rate_is_known_a_step_is_asked_for(tmp_path: Path) -> None:
    dataset = open_dataset(make_robomimic(tmp_path / "a.hdf5", episodes=1, frames=12, size=8, fps=None))
    with (
        LabelWriter(tmp_path / "out.hdf5", dataset, make_label_model(), auto_steps=AutoSteps(())) as writer,
        pytest.raises(DatasetError, match=r"demo_0: step: nothing moves by which .*\(--step N\)"),
    ):
        writer.step(dataset.episodes[0])
