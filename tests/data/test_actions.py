"""Actions beside frames: one fewer is known and usable; anything else is said."""

from __future__ import annotations

from pathlib import Path

import h5py
import numpy as np
import pyarrow.parquet as pq
import pytest

from genie_core.data import inspect_dataset, open_dataset
from genie_core.data.export.run import ExportFormat, ExportPlan, export_labels
from genie_core.errors import DatasetError
from tests.factories.data import make_aloha, make_robomimic
from tests.factories.labelled import label_file


def with_actions(path: Path, rows: int, key: str = "data/demo_{}/actions", episodes: int = 2) -> Path:
    """Replace the actions of every episode by (rows, 7) numbers."""
    with h5py.File(path, "r+") as file:
        for number in range(episodes):
            del file[key.format(number)]
            file[key.format(number)] = np.arange(rows * 7, dtype=np.float32).reshape(rows, 7)
    return path


def test_one_frame_more_than_actions_is_named_and_the_last_has_none(tmp_path: Path) -> None:
    path = with_actions(make_robomimic(tmp_path / "a.hdf5", frames=12, size=16), 11)
    episode = open_dataset(path).episodes[0]
    assert episode.lacks_last_action
    actions = episode.actions
    assert actions is not None
    assert (actions.shape, actions.dtype) == ((12, 7), np.float32)
    assert np.isnan(actions[-1]).all()
    assert not np.isnan(actions[:-1]).any()
    report = inspect_dataset(path)
    assert report.can_label
    assert "2 of 2 episodes (demo_0, demo_1): there is one frame more than actions: the last frame has no action" in (
        report.warnings
    )


@pytest.mark.parametrize("rows", [0, 3, 10, 13])
def test_any_other_number_of_actions_is_said(tmp_path: Path, rows: int) -> None:
    path = with_actions(make_robomimic(tmp_path / "a.hdf5", frames=12, size=16), rows)
    with pytest.raises(DatasetError, match=rf"demo_0: got actions of shape \({rows}, 7\) for 12 frames"):
        _ = open_dataset(path).episodes[0].actions
    assert any("its actions cannot be used" in warning for warning in inspect_dataset(path).warnings)


def test_aloha_with_one_frame_more_than_actions_is_read(tmp_path: Path) -> None:
    path = with_actions(make_aloha(tmp_path / "episode_0.hdf5", frames=8), 7, "action", 1)
    actions = open_dataset(path, fps=50).episodes[0].actions
    assert actions is not None
    assert np.isnan(actions[-1]).all()


@pytest.mark.parametrize("to", ["lerobot", "parquet", "robomimic"])
def test_exports_of_one_frame_more_than_actions_work(tmp_path: Path, to: ExportFormat) -> None:
    source = with_actions(make_robomimic(tmp_path / "a.hdf5", frames=12, size=16), 11)
    labelled = label_file(source)
    out = tmp_path / {"lerobot": "out", "parquet": "out.parquet", "robomimic": "out.hdf5"}[to]
    report = export_labels(labelled.path, out, ExportPlan(to))
    assert (report.action_dim, report.held_actions) == (7, 0 if to == "parquet" else 2)
    if to == "parquet":
        last = np.array(pq.read_table(out)["action"].to_pylist()[11])
        assert np.isnan(last).all()
        return
    actions = open_dataset(out).episodes[0].actions
    assert actions is not None
    np.testing.assert_array_equal(actions[-1], actions[-2])
    assert len(actions) == 12


@pytest.mark.parametrize("to", ["parquet", "robomimic"])
def test_labels_are_exported_when_their_source_is_gone_and_it_is_said(tmp_path: Path, to: ExportFormat) -> None:
    source = make_robomimic(tmp_path / "a.hdf5", size=16)
    labelled = label_file(source)
    source.rename(tmp_path / "moved.hdf5")
    out = tmp_path / ("out.parquet" if to == "parquet" else "out.hdf5")
    report = export_labels(labelled.path, out, ExportPlan(to, frames="none"))
    assert (report.episodes, report.action_dim) == (2, None)
    assert report.missing is not None
    assert "`obs` is a link to a.hdf5, where /data/demo_0/obs cannot be opened (and 1 more episodes)" in report.missing
