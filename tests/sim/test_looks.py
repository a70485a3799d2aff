"""What is drawn for an episode's looks, and the choices that a config allows."""

import numpy as np
import pytest
from pydantic import ValidationError

from genie_core.sim import SimConfig
from genie_core.sim.looks import (
    CUBE_AREA,
    CUBE_HALF_RANGE_M,
    CUBE_SPACING_M,
    TABLE_TEXTURES,
    USUAL_VIEW,
    View,
    draw_camera,
    draw_cubes,
    draw_looks,
    draw_view,
)


def looks(style, jitter, seed):
    return draw_looks(np.random.default_rng(seed), style, jitter, cubes=2)


def test_the_laboratory_is_one_room_but_for_the_cameras_jitter():
    some, other = looks("laboratory", 0.2, 1), looks("laboratory", 0.2, 2)
    assert some.surfaces is None
    assert other.surfaces is None
    assert (some.light, some.ambient) == (other.light, other.ambient)
    np.testing.assert_array_equal(some.light_direction, other.light_direction)
    assert 0.0 < np.linalg.norm(some.camera.position - other.camera.position) < 0.05
    still = looks("laboratory", 0.0, 1), looks("laboratory", 0.0, 2)
    np.testing.assert_array_equal(still[0].camera.position, still[1].camera.position)


def test_randomised_looks_differ_and_stay_plausible():
    drawn = [looks("randomised", 1.0, seed) for seed in range(200)]
    surfaces = [one.surfaces for one in drawn if one.surfaces is not None]
    assert len(surfaces) == 200
    assert {one.table for one in surfaces} == set(TABLE_TEXTURES)
    for one in surfaces:
        assert one.cube_rgb.shape == (2, 3)
        for colour in (one.table_tint, one.wall_tint, one.floor_tint, one.cube_rgb):
            assert colour.min() >= 0.0
            assert colour.max() <= 1.0
    assert all(one.light_direction[2] < 0 for one in drawn)
    assert np.std([one.camera.position for one in drawn], axis=0).min() > 0.005


def test_looks_are_a_function_of_the_generator():
    some, same = looks("randomised", 1.0, 3), looks("randomised", 1.0, 3)
    np.testing.assert_array_equal(some.camera.position, same.camera.position)
    assert some.surfaces is not None
    assert same.surfaces is not None
    assert some.surfaces.table == same.surfaces.table


@pytest.mark.parametrize("style", ["randomised", "laboratory"])
def test_cubes_lie_on_the_table_clear_of_one_another(style):
    for seed in range(50):
        first, second = draw_cubes(np.random.default_rng(seed), style, 2)
        assert np.linalg.norm(first.xy - second.xy) > CUBE_SPACING_M
        for cube in (first, second):
            assert (cube.xy >= CUBE_AREA[0]).all()
            assert (cube.xy <= CUBE_AREA[1]).all()
            assert CUBE_HALF_RANGE_M[0] <= cube.half_m <= CUBE_HALF_RANGE_M[1]


def test_config_is_immutable_and_says_what_is_wrong():
    config = SimConfig()
    with pytest.raises(ValidationError):
        config.seed = 1  # type: ignore[misc]
    with pytest.raises(ValidationError, match="robot"):
        SimConfig(robot="R2D2")  # type: ignore[arg-type]
    with pytest.raises(ValidationError, match="frames"):
        SimConfig(frames=1)
    with pytest.raises(ValidationError, match="hue"):
        SimConfig(hue=3)  # type: ignore[call-arg]


def test_jitter_follows_the_looks_unless_chosen():
    assert SimConfig(looks="randomised").jitter == 1.0
    assert SimConfig(looks="laboratory").jitter == 0.2
    assert SimConfig(looks="laboratory", camera_jitter=0.0).jitter == 0.0


def test_views_fill_their_ranges_and_a_fixed_one_is_exact():
    config = SimConfig(azimuth=(-120, 120), elevation=(60, 60), distance=(0.7, 1.9))
    rng = np.random.default_rng(0)
    drawn = [draw_view(rng, config) for _ in range(300)]
    azimuths = [view.azimuth_deg for view in drawn]
    assert -120 <= min(azimuths) < -110
    assert 110 < max(azimuths) <= 120
    assert {view.elevation_deg for view in drawn} == {60.0}
    assert all(0.7 <= view.distance_m <= 1.9 for view in drawn)
    assert draw_view(rng, SimConfig()) == USUAL_VIEW


def test_a_camera_stands_where_its_view_says():
    camera = draw_camera(np.random.default_rng(0), 0.0, View(90.0, 0.0, 1.5))
    np.testing.assert_allclose(camera.position - camera.target, [0.0, 1.5, 0.0], atol=1e-12)


@pytest.mark.parametrize(
    ("choice", "named"),
    [
        ({"azimuth": (10, -10)}, "azimuth"),
        ({"elevation": (0, 90)}, r"(?s)elevation.*got 0 to 90, expected a range, lower end first, within 0 to 80"),
        ({"distance": (float("nan"), 1)}, "distance"),
        ({"speed": (0, 1)}, "speed"),
        ({"motions": ("dance",)}, "motions"),
        ({"distractors": 9}, "distractors"),
        ({"physics_step_ms": 3}, "physics_step_ms"),
    ],
)
def test_what_cannot_be_is_refused_by_name(choice, named):
    with pytest.raises(ValidationError, match=named):
        SimConfig(**choice)


def test_what_was_added_later_is_stated_only_where_it_is_chosen():
    assert SimConfig(seed=3).stated() == {
        "robot": "Panda",
        "task": "Lift",
        "frames": 50,
        "size": 64,
        "seed": 3,
        "looks": "randomised",
        "camera_jitter": None,
        "shadows": True,
        "supersample": 2,
        "mesh_faces": 2000,
    }
    chosen = SimConfig(azimuth=(80, 80), motions=("axes",), flow=True)
    assert chosen.stated().keys() - SimConfig().stated().keys() == {"azimuth", "motions", "flow"}
    assert SimConfig(**chosen.stated()) == chosen
