"""The plan of the simulated sets that models are trained and evaluated on."""

import json
import re
from pathlib import Path

from scripts import zoo_data

SETS = zoo_data.planned(json.loads(zoo_data.PLAN.read_text()))
SUITE = Path(__file__).parents[2] / "genie_core/evaluation/suites/simulated.json"
PAIRED = ("panda_mixed_looks", "panda_far", "panda_az80", "panda_el60", "panda_shake", "panda_flicker", "panda_pan")


def test_a_sets_own_choices_come_before_its_groups_and_those_before_the_common_ones():
    plan = {
        "common": {"size": 32, "frames": 9, "mesh_faces": 1},
        "one": {"episodes": 3, "shared": {"frames": 8, "seed": 1}, "sets": {"a": {}, "b": {"seed": 2, "size": 16}}},
    }
    (a, episodes), (b, _) = zoo_data.planned(plan).values()
    assert episodes == 3
    assert (a.size, a.frames, a.seed, a.mesh_faces) == (32, 8, 1, 1)
    assert (b.size, b.frames, b.seed, b.mesh_faces) == (16, 8, 2, 1)


def test_what_is_held_out_is_not_trained_on():
    training = {name: config for name, (config, _) in SETS.items() if name.startswith("train_")}
    others = {name: config for name, (config, _) in SETS.items() if name not in training}
    held_out = {one["robot"] for one in json.loads(SUITE.read_text())["sets"] if one["role"] == "held-out"}
    assert held_out == {"UR5e", "Kinova3"}
    assert not held_out & {config.robot for config in training.values()}
    assert not {config.seed for config in training.values()} & {config.seed for config in others.values()}
    assert len({config.seed for config in training.values()}) == len(training)


def test_paired_sets_differ_in_one_thing():
    usual = SETS[PAIRED[0]][0].stated()
    for name in PAIRED[1:]:
        stated = SETS[name][0].stated()
        assert len(stated.keys() ^ usual.keys()) == 1, name
        assert all(stated[key] == value for key, value in usual.items()), name


def test_the_makefile_makes_them():
    rules = (Path(__file__).parents[2] / "Makefile").read_text()
    assert re.search(r"^zoo-data:.*\n\t.*scripts/zoo_data\.py", rules, re.MULTILINE)
