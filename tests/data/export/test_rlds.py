"""Labelled sets as RLDS, read back by our own reader of what TensorFlow Datasets writes."""

from __future__ import annotations

import json
from pathlib import Path

import numpy as np
import pytest

from genie_core.data import open_dataset, open_labelled
from genie_core.data.export import rlds
from genie_core.data.export.provenance import read_provenance
from genie_core.data.export.run import ExportPlan, export_labels
from genie_core.data.formats.rlds.writer import DOCUMENT, dataset_name
from genie_core.errors import DatasetError
from tests.factories.data import make_frames, make_robomimic
from tests.factories.labelled import label_file

FRAMES, SIZE = 6, 16


@pytest.fixture
def labelled(tmp_path: Path) -> Path:
    return label_file(make_robomimic(tmp_path / "a.hdf5", episodes=3, frames=FRAMES, size=SIZE)).path


def test_an_rlds_dataset_holds_frames_labels_robot_and_words(tmp_path: Path, labelled: Path) -> None:
    out = tmp_path / "My set"
    report = export_labels(labelled, out, ExportPlan("rlds", task="Lift the cube."))
    assert (report.episodes, report.frames, report.size) == (3, 3 * FRAMES, (SIZE, SIZE))
    dataset = open_dataset(out, fps=10)
    assert (dataset.format, dataset.camera) == ("rlds", "observation/agentview_image")
    for number, (episode, name) in enumerate(zip(dataset.episodes, open_labelled(labelled).episodes, strict=True)):
        labels, attrs = open_labelled(labelled).labels(name)
        error = np.abs(episode.frames().astype(int) - make_frames(FRAMES, SIZE, SIZE, seed=number))
        assert error.mean() < 3
        for key, wanted in {
            "code": labels.code,
            "latent": labels.latent,
            "confidence": labels.confidence,
            "valid": labels.valid,
        }.items():
            np.testing.assert_array_equal(episode.array(f"latent_action/{key}"), wanted)
        source = open_dataset(attrs.source).episodes[number]
        assert source.actions is not None
        np.testing.assert_array_equal(episode.actions, source.actions.astype(np.float32))
        assert episode.proprioception is not None
        assert episode.task == "Lift the cube."
        np.testing.assert_array_equal(episode.array("is_last"), np.arange(FRAMES) == FRAMES - 1)
    provenance = read_provenance((out / DOCUMENT).read_bytes(), "there")
    assert [episode.name for episode in provenance.episodes] == ["demo_0", "demo_1", "demo_2"]


def test_shards_end_at_their_size_and_bear_their_number(
    tmp_path: Path, labelled: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("genie_core.data.export.run.SHARD_BYTES", 3000)
    export_labels(labelled, tmp_path / "out", ExportPlan("rlds"))
    names = sorted(path.name for path in (tmp_path / "out").glob("*.tfrecord*"))
    assert names == [f"out-train.tfrecord-{number:05d}-of-00003" for number in range(3)]
    info = json.loads((tmp_path / "out/dataset_info.json").read_text())
    assert info["splits"][0]["shardLengths"] == ["1", "1", "1"]
    assert len(open_dataset(tmp_path / "out").episodes) == 3


def test_steps_need_pictures(tmp_path: Path, labelled: Path) -> None:
    with pytest.raises(DatasetError, match="a step of RLDS has a picture"):
        export_labels(labelled, tmp_path / "out", ExportPlan("rlds", frames="none"))


@pytest.mark.parametrize(
    ("folder", "name"), [("My set-2", "my_set_2"), ("2024", "set_2024"), ("lift.rlds", "lift_rlds"), ("é", "set")]
)
def test_names_are_those_that_tfds_allows(folder: str, name: str) -> None:
    assert dataset_name(Path(folder)) == name


@pytest.mark.parametrize(
    ("camera", "feature"),
    [("observation.images.top", "top"), ("agentview_image", "agentview_image"), ("front.image_raw", "front_image_raw")],
)
def test_names_of_cameras(camera: str, feature: str) -> None:
    assert rlds.camera_feature(camera) == f"observation/{feature}"
