import json
from pathlib import Path

import numpy as np
import pytest

from genie_core.data import LabelWriter, open_dataset, open_labelled
from genie_core.data.export.run import ExportFormat, ExportPlan, export_labels
from genie_core.data.export.source import open_export_source
from genie_core.data.frames.content import Pictures
from genie_core.data.labelled.exclusion import counted, exclusions, without
from tests.factories.data import make_label_model, make_labels, make_robomimic


def pictures(count: int, blank: range = range(0), frozen: range = range(0)) -> Pictures:
    flags = np.arange(count)
    return Pictures(np.isin(flags, blank), np.isin(flags, frozen))


def test_transitions_to_from_and_across_blank_pictures_are_left_out() -> None:
    reasons = exclusions(pictures(8, blank=range(4, 6)), 2, 10, None)
    assert reasons.tolist() == [0, 0, 1, 1, 1, 1, 0, 0]
    reasons = exclusions(pictures(9, blank=range(4, 5)), 3, 10, None)
    assert reasons.tolist() == [0, 1, 1, 1, 1, 0, 0, 0, 0]


def test_transitions_within_frozen_pictures_are_left_out() -> None:
    frozen = pictures(12, frozen=range(3, 9))  # frames 2 to 8 are the same
    assert np.flatnonzero(exclusions(frozen, 2, 10, None) == 3).tolist() == [2, 3, 4, 5, 6]
    assert not exclusions(frozen, 2, 10, None, keep_frozen=True).any()


def test_transitions_across_a_gap_are_left_out() -> None:
    times = np.array([0.0, 0.1, 0.2, 0.3, 2.3, 2.4, 2.5, 2.6])
    assert np.flatnonzero(exclusions(pictures(8), 1, 10, times) == 2).tolist() == [3]
    assert np.flatnonzero(exclusions(pictures(8), 3, 10, times) == 2).tolist() == [1, 2, 3]


def test_one_frame_lost_of_a_long_step_is_no_gap() -> None:
    times = np.array([0.0, 0.1, 0.2, 0.3, 0.5, 0.6, 0.7, 0.8])
    assert not exclusions(pictures(8), 3, 10, times).any()
    assert np.flatnonzero(exclusions(pictures(8), 1, 10, times)).tolist() == [3]


def test_times_that_stand_still_say_nothing() -> None:
    assert not exclusions(pictures(5), 1, 10, np.array([0.0, 0.0, 0.0, 0.0, 128.0])).any()


def test_what_is_left_out_is_zero_and_not_valid() -> None:
    labels = make_labels(8)
    reasons = np.array([0, 1, 1, 0, 3, 0, 0, 2], np.uint8)
    kept = without(labels, reasons)
    assert kept.valid.tolist() == [True, False, False, True, False, True, True, False]
    assert kept.reason is not None
    assert kept.reason.tolist() == [0, 1, 1, 0, 3, 0, 0, 0]  # the last was none before
    assert not kept.latent[~kept.valid].any()
    assert not kept.confidence[~kept.valid].any()
    np.testing.assert_array_equal(kept.latent[kept.valid], labels.latent[kept.valid])
    assert json.loads(counted(kept) or "") == {"blank": 2, "frozen": 1}


def test_labels_of_which_nothing_is_left_out_are_unchanged() -> None:
    labels = make_labels(8)
    assert without(labels, np.zeros(8, np.uint8)) is labels
    assert counted(labels) is None


@pytest.mark.parametrize("to", ["lerobot", "parquet", "robomimic"])
def test_reasons_go_with_the_labels_into_every_format(tmp_path: Path, to: ExportFormat) -> None:
    source = make_robomimic(tmp_path / "a.hdf5", episodes=2, frames=8, size=16)
    dataset, written = open_dataset(source), tmp_path / "a.labelled.hdf5"
    with LabelWriter(written, dataset, make_label_model()) as writer:
        whole, part = dataset.episodes
        writer.add(whole, make_labels(8))
        writer.add(part, without(make_labels(8), np.array([0, 1, 1, 0, 3, 0, 0, 0], np.uint8)))
        writer.finish()
    names = {"lerobot": "out", "parquet": "out.parquet", "robomimic": "out.hdf5"}
    export_labels(written, tmp_path / names[to], ExportPlan(to))
    for path in (written, tmp_path / names[to]):
        back = open_export_source(path)
        first, second = back.provenance.episodes
        assert (first.attrs.excluded, json.loads(second.attrs.excluded or "")) == (None, {"blank": 2, "frozen": 1})
        assert back.labels(first).reason is None
        reason = back.labels(second).reason
        assert reason is not None
        assert reason.tolist() == [0, 1, 1, 0, 3, 0, 0, 0]
    assert open_labelled(written).is_intact("demo_1")
