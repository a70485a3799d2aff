"""What an export knows of the robot and its task: from wherever the source is, never lost without a word."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path
from typing import Any

import fsspec
import h5py
import numpy as np
import pyarrow.parquet as pq
import pytest
from typer.testing import CliRunner

from genie_cli.app import build_app
from genie_core.data import LabelWriter, ReadOptions, open_dataset
from genie_core.data.export.run import ExportPlan, export_labels
from genie_core.errors import DatasetError
from tests.factories.data import make_label_model, make_labels, make_nested, make_robomimic
from tests.factories.labelled import label_file
from tests.factories.lerobot import LENGTHS, action_of, make_lerobot_v21, make_lerobot_v30, state_of


@pytest.fixture
def memory(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Iterator[Any]:
    """Fsspec's store in memory, empty before and after."""
    monkeypatch.setenv("GENIE_CACHE", str(tmp_path / "cache"))
    store = fsspec.filesystem("memory")
    store.store.clear()
    yield store
    store.store.clear()
    store.pseudo_dirs[:] = [""]


def label(source: str, output: Path) -> Path:
    writer = LabelWriter(output, open_dataset(source), make_label_model(), frames="none")
    for episode in writer.pending():
        writer.add(episode, make_labels(episode.num_frames, writer.step(episode).step))
    return writer.finish()


def tasks_of(folder: Path) -> list[str]:
    (table,) = (folder / "meta/episodes").rglob("*.parquet")
    return [tasks[0] for tasks in pq.read_table(table)["tasks"].to_pylist()]


@pytest.mark.parametrize("make", [make_lerobot_v21, make_lerobot_v30])
def test_a_lerobot_source_behind_a_url_keeps_its_task_actions_and_state(tmp_path: Path, memory: Any, make: Any) -> None:
    make(tmp_path / "set")
    for file in filter(Path.is_file, (tmp_path / "set").rglob("*")):
        memory.pipe(f"/bucket/{file.relative_to(tmp_path / 'set').as_posix()}", file.read_bytes())
    labelled = label("memory://bucket", tmp_path / "out.hdf5")
    report = export_labels(labelled, tmp_path / "out", ExportPlan("lerobot"))
    assert tasks_of(tmp_path / "out") == ["Lift."] * len(LENGTHS)
    for number, episode in enumerate(open_dataset(tmp_path / "out").episodes):
        assert episode.task == "Lift."
        np.testing.assert_array_equal(episode.actions, action_of(number, LENGTHS[number]))
        assert episode.proprioception is not None
        np.testing.assert_array_equal(episode.proprioception.state_TS, state_of(number, LENGTHS[number]))
    assert report.missing is None


def test_an_export_says_that_the_source_is_gone_and_what_it_lacks_for_it(tmp_path: Path) -> None:
    labelled = label(str(make_robomimic(tmp_path / "a.hdf5", episodes=3, size=8)), tmp_path / "out.hdf5")
    (tmp_path / "a.hdf5").unlink()
    report = export_labels(labelled, tmp_path / "out.parquet", ExportPlan("parquet"))
    assert (report.action_dim, report.state_dim) == (None, None)
    assert report.missing is not None
    assert "a.hdf5: no longer exists" in report.missing
    assert "2 more episodes" in report.missing
    done = CliRunner().invoke(
        build_app(), ["export", str(labelled), str(tmp_path / "b.parquet"), "--to", "parquet"], catch_exceptions=False
    )
    assert done.exit_code == 0
    assert "warning: actions, proprioception and task could not be read" in done.stderr


def test_actions_that_are_there_and_cannot_be_read_are_no_actions_that_are_not_there(tmp_path: Path) -> None:
    source = make_nested(tmp_path / "a.h5")
    frames, actions = "trajectories/*/images/front", "trajectories/*/robot/command"
    options = ReadOptions(frames_path=frames, actions_path=actions, fps=10)
    labelled = label_file(source, frames="none", options=options).path
    with h5py.File(source, "a") as file:
        first = next(iter(file["trajectories"]))
        del file[f"trajectories/{first}/robot/command"]
    with pytest.raises(DatasetError, match=f"has no actions at `trajectories/{first}/robot/command`"):
        export_labels(labelled, tmp_path / "out.parquet", ExportPlan("parquet"))


def test_proprioception_whose_parts_do_not_fit_is_named(tmp_path: Path) -> None:
    source = make_robomimic(tmp_path / "a.hdf5", episodes=1, frames=6, size=8)
    with h5py.File(source, "a") as file:
        file["data/demo_0/obs/robot0_eef_quat"] = np.zeros((5, 4))
        file["data/demo_0/obs/robot0_gripper_qpos"] = np.zeros((6, 2))
    with pytest.raises(DatasetError, match=r"demo_0: got rows of proprioception .*eef_pos` 6, .*eef_quat` 5"):
        _ = open_dataset(source).episodes[0].proprioception
