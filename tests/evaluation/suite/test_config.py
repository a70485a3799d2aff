"""What a suite file may say, and what is said of one that is wrong."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import pytest

from genie_core.errors import DatasetError
from genie_core.evaluation.suite.config import SUITES, read_suite


def suite(**changes: Any) -> dict[str, Any]:
    entry = {"name": "a", "path": "real/a", "role": "held-out", "step": 2, **changes}
    return {"format": 1, "name": "mine", "sets": [{k: v for k, v in entry.items() if v is not None}]}


def write(folder: Path, content: object) -> str:
    path = folder / "suite.json"
    path.write_text(json.dumps(content))
    return str(path)


def test_the_shipped_suites_can_be_read_and_name_no_path_of_a_machine() -> None:
    for path in SUITES.glob("*.json"):
        read = read_suite(path.stem)
        assert read.name == path.stem
        assert all(not s.path.startswith("/") for s in read.sets)
    zoo = read_suite("zoo")
    assert {"g1", "cr5", "franka_lab", "bridge_0", "bridge_1", "xhand"} == set(zoo.means["zero-shot real"])
    kept_out = {"g1", "bridge_0", "bridge_1", "xhand", "ur5e_sim", "droid_clips", "bair"}
    assert {s.name for s in zoo.sets if s.role == "held-out"} == kept_out


@pytest.mark.parametrize(
    ("changes", "message"),
    [
        ({"seconds": 0.3}, "both or neither of `seconds` and `step`"),
        ({"step": None}, "both or neither of `seconds` and `step`"),
        ({"path": "/data/a"}, "sets.0.path: Value error, got /data/a, expected a path below the data root"),
        ({"path": "a/../../b"}, "expected a path below the data root"),
        ({"role": "test"}, "sets.0.role"),
        ({"camra": "wrist"}, "sets.0.camra: Extra inputs"),
        ({"target": {"array": "states", "read": "delta"}}, "sets.0.target.read"),
    ],
)
def test_what_is_wrong_with_a_set_is_named(tmp_path: Path, changes: dict[str, Any], message: str) -> None:
    with pytest.raises(DatasetError, match=message.replace(".", r"\.")):
        read_suite(write(tmp_path, suite(**changes)))


def test_names_of_sets_are_their_own_and_means_are_of_sets_with_a_truth(tmp_path: Path) -> None:
    twice = suite()
    twice["sets"] *= 2
    with pytest.raises(DatasetError, match="the set name a more than once"):
        read_suite(write(tmp_path, twice))
    for members in (["a"], ["b"], []):  # without a truth, unknown, none
        with pytest.raises(DatasetError, match="the mean some names"):
            read_suite(write(tmp_path, {**suite(), "means": {"some": members}}))


def test_what_is_no_suite_is_named(tmp_path: Path) -> None:
    with pytest.raises(DatasetError, match=r"nowhere: No such file.*one of: adapt, gripper, simulated, zoo"):
        read_suite("nowhere")
    (tmp_path / "broken.json").write_text("{")
    with pytest.raises(DatasetError, match=r"broken\.json: not JSON"):
        read_suite(str(tmp_path / "broken.json"))
    with pytest.raises(DatasetError, match="format"):
        read_suite(write(tmp_path, {**suite(), "format": 2}))


def test_the_simulated_suite_is_of_the_sets_that_the_plan_makes() -> None:
    plan = json.loads((Path(__file__).parents[3] / "scripts" / "zoo_data.json").read_text())
    groups = ("by_view_and_disturbance", "by_motion", "by_robot")
    made = [f"{name}.hdf5" for group in groups for name in plan[group]["sets"]]
    assert [s.path for s in read_suite("simulated").sets] == made
