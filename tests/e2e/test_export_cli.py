"""`genie export` as users run it: label, export, export back, and what it says when it cannot."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pyarrow.parquet as pq
import pytest

from genie_core.data import open_dataset, open_labelled
from tests.factories.data import make_robomimic, make_video
from tests.factories.labelled import label_file
from tests.support.processes import Genie


@pytest.mark.parametrize("to", ["lerobot", "parquet", "robomimic"])
def test_labels_go_to_a_format_and_come_back(genie_process: Genie, tmp_path: Path, to: str) -> None:
    labelled = label_file(make_robomimic(tmp_path / "lift.hdf5", episodes=3, frames=20))
    said = genie_process.run("export", labelled.path, tmp_path / "out", "--to", to)
    assert "3 episodes, 60 labels" in said
    assert "actions (7) and proprioception (3)" in said
    genie_process.run("export", tmp_path / "out", tmp_path / "back.hdf5", "--to", "robomimic")
    back = open_labelled(tmp_path / "back.hdf5")
    assert back.episodes == labelled.episodes
    for name in labelled.episodes:
        (labels, attrs), (expected, expected_attrs) = back.labels(name), labelled.labels(name)
        assert attrs == expected_attrs
        np.testing.assert_array_equal(labels.latent, expected.latent)
        np.testing.assert_array_equal(labels.code, expected.code)


def test_sizes_rates_and_tasks_are_taken_from_the_options(genie: Genie, tmp_path: Path) -> None:
    labelled = label_file(make_video(tmp_path / "v.mp4", frames=8))
    out = tmp_path / "set"
    genie.run("export", labelled.path, out, "--to", "lerobot", "--size", "24x32", "--fps", "5", "--task", "Fold.")
    episode = open_dataset(out).episodes[0]
    assert (episode.height, episode.width, episode.fps) == (24, 32, 5)
    assert pq.read_table(out / "meta/tasks.parquet").to_pydict()["__index_level_0__"] == ["Fold."]
    genie.run("export", labelled.path, tmp_path / "only.hdf5", "--to", "robomimic", "--labels-only")
    assert open_labelled(tmp_path / "only.hdf5").episode("demo_0") is None


@pytest.mark.parametrize(
    ("arguments", "error"),
    [
        (["--size", "big"], "--size: got big, expected source, labelled, or a height and width such as 240x320"),
        (["--size", "0x8"], "--size: got 0x8"),
        (["--labels-only", "--size", "8x8"], "--labels-only: got it with --size"),
        (["--labels-only"], "got none, expected source"),
    ],
)
def test_what_cannot_be_is_one_line_and_nothing_is_written(
    genie: Genie, tmp_path: Path, arguments: list[str], error: str
) -> None:
    labelled = label_file(make_video(tmp_path / "v.mp4", frames=8))
    assert error in genie.fail("export", labelled.path, tmp_path / "out", "--to", "lerobot", *arguments)
    assert not (tmp_path / "out").exists()
