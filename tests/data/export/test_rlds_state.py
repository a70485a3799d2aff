"""What an export of RLDS has for proprioception, under the names that Open X-Embodiment has for it."""

from __future__ import annotations

import json
import shutil
from pathlib import Path
from typing import Any

import h5py
import numpy as np
import pyarrow.parquet as pq
import pytest

from genie_core.data import ReadOptions, open_dataset, open_labelled
from genie_core.data.export.run import ExportPlan, export_labels
from tests.factories.labelled import label_file
from tests.factories.rlds import (
    ACTION,
    IMAGE,
    STATE,
    Features,
    action_of,
    group,
    make_rlds,
    state_of,
    step_features,
    tensor,
)

LENGTHS = (4, 6)
OBSERVED = "steps/observation/"


def label_rlds(folder: Path, declared: dict[str, Any], held: dict[str, int], *, keep: bool = False) -> Path:
    """Label a dataset without `observation/state`, unless `keep`, that declares and holds these instead.

    `held` are numbers a step, 0, 1, 2 ... in every episode.
    """

    def change(seed: int, features: Features) -> None:
        if not keep:
            del features[OBSERVED + "state"]
        for key, width in held.items():
            features[OBSERVED + key] = np.arange(LENGTHS[seed] * width, dtype=float).tolist()

    features = step_features()
    observed = features["observation"]["featuresDict"]["features"]
    if not keep:
        del observed["state"]
    features["observation"] = group(**observed, **declared)
    path = make_rlds(folder / "arm", {"train": [LENGTHS]}, change=change, features=features)
    return label_file(path, options=ReadOptions(camera=IMAGE, fps=5)).path


def test_lerobot_has_the_state(tmp_path: Path) -> None:
    labelled = label_rlds(tmp_path, {}, {}, keep=True)
    report = export_labels(labelled, tmp_path / "out", ExportPlan("lerobot"))
    assert (report.action_dim, report.state_dim) == (ACTION, STATE)
    for seed, episode in enumerate(open_dataset(tmp_path / "out").episodes):
        np.testing.assert_array_equal(episode.array("observation.state"), state_of(seed, LENGTHS[seed]))
        np.testing.assert_array_equal(episode.array("action"), action_of(seed, LENGTHS[seed]))
    described = json.loads((tmp_path / "out/meta/info.json").read_text())["features"]["observation.state"]
    assert described == {"dtype": "float32", "shape": [4], "names": ["state_0", "state_1", "state_2", "state_3"]}


def test_the_state_goes_along_with_every_export(tmp_path: Path) -> None:
    labelled = label_rlds(tmp_path, {}, {}, keep=True)
    export_labels(labelled, tmp_path / "a.parquet", ExportPlan("parquet"))
    export_labels(labelled, tmp_path / "a.hdf5", ExportPlan("robomimic"))
    shutil.rmtree(tmp_path / "arm")
    expected = [state_of(seed, length) for seed, length in enumerate(LENGTHS)]
    table = pq.read_table(tmp_path / "a.parquet")
    np.testing.assert_array_equal(np.array(table["observation.state"].to_pylist()), np.concatenate(expected))
    with h5py.File(tmp_path / "a.hdf5") as file:
        for seed, state in enumerate(expected):
            np.testing.assert_array_equal(file[f"data/demo_{seed}/obs/observation.state"], state)
    export_labels(tmp_path / "a.hdf5", tmp_path / "b", ExportPlan("lerobot"))
    for episode, state in zip(open_dataset(tmp_path / "b").episodes, expected, strict=True):
        np.testing.assert_array_equal(episode.array("observation.state"), state)


@pytest.mark.parametrize("frames", ["source", "labelled"])
def test_a_robomimic_export_has_the_frames_of_a_camera_whose_name_is_a_path(tmp_path: Path, frames: Any) -> None:
    labelled = label_rlds(tmp_path, {}, {}, keep=True)
    report = export_labels(labelled, tmp_path / "a.hdf5", ExportPlan("robomimic", frames=frames))
    assert report.episodes == 2
    exported, original = open_labelled(tmp_path / "a.hdf5"), open_labelled(labelled)
    source = open_dataset(tmp_path / "arm", camera=IMAGE).episodes
    for number, name in enumerate(exported.episodes):
        expected = source[number] if frames == "source" else original.episode(name)
        found = exported.episode(name)
        assert found is not None
        assert expected is not None
        np.testing.assert_array_equal(found.frames(), expected.frames())


@pytest.mark.parametrize(
    ("keys", "widths"),
    [
        (["proprio"], [8]),
        (["robot_state"], [15]),
        (["robot_obs"], [15]),
        (["cartesian_position", "gripper_position"], [6, 1]),
        (["base_pose_tool_reached", "gripper_closed"], [7, 1]),
        (["joint_states", "gripper_states"], [7, 1]),
        (["effector_translation"], [2]),
    ],
)
def test_every_usual_name_is_known(tmp_path: Path, keys: list[str], widths: list[int]) -> None:
    held = dict(zip(keys, widths, strict=True))
    labelled = label_rlds(tmp_path, {key: tensor("float32", width) for key, width in held.items()}, held)
    assert export_labels(labelled, tmp_path / "out", ExportPlan("lerobot")).state_dim == sum(widths)
    state = open_dataset(tmp_path / "out").episodes[1].array("observation.state")
    parts = [np.arange(LENGTHS[1] * width, dtype=np.float32).reshape(-1, width) for width in widths]
    np.testing.assert_array_equal(state, np.concatenate(parts, axis=1))


def test_what_is_no_vector_of_floats_is_passed_over(tmp_path: Path) -> None:
    declared = {
        "state": tensor("float32", 2, 2),  # a matrix
        "proprio": tensor("int64", 3),  # codes of something
        "cartesian_position": tensor("float32", 6),  # half of what DROID has
        "robot_obs": tensor("float64", 5),
    }
    held = {"state": 4, "proprio": 3, "cartesian_position": 6, "robot_obs": 5}
    labelled = label_rlds(tmp_path, declared, held)
    assert export_labels(labelled, tmp_path / "out", ExportPlan("lerobot")).state_dim == 5


def test_without_any_there_is_none(tmp_path: Path) -> None:
    labelled = label_rlds(tmp_path, {"state": tensor("float32", 2, 2)}, {"state": 4})
    assert export_labels(labelled, tmp_path / "out", ExportPlan("lerobot")).state_dim is None
    assert open_dataset(tmp_path / "out").episodes[0].array("observation.state") is None
