"""What is done to robosuite's model before it is compiled, on a model small enough to read."""

import os
import xml.etree.ElementTree as ET
from pathlib import Path

import numpy as np
import pytest

from genie_core.sim.looks import CUBE_HALF_RANGE_M, TABLE_TEXTURES
from genie_core.sim.meshes import cache_dir, lighten, plain_visual_meshes
from genie_core.sim.renderer import brighten, shrink
from genie_core.sim.scene import CUBE_KG, TORQUE_GAIN, distractor_geom, edit_model, table_material

MODEL = """
<mujoco>
  <asset>
    <material name="grey"/>
    <material name="printed" texture="logo"/>
    <mesh name="shell" file="shell.stl"/>
    <mesh name="label" file="label.stl"/>
    <mesh name="hull" file="hull.stl"/>
    <mesh name="both" file="both.stl"/>
    <mesh name="inline" vertex="0 0 0"/>
  </asset>
  <worldbody>
    <geom name="a" type="mesh" mesh="shell" group="1" material="grey"/>
    <geom name="b" type="mesh" mesh="label" group="1" material="printed"/>
    <geom name="c" type="mesh" mesh="hull" group="0"/>
    <geom name="d" type="mesh" mesh="both" group="1"/>
    <geom name="e" type="mesh" mesh="both"/>
    <geom name="cube_g0" type="box" size="0.02 0.02 0.02" group="0" density="1000"/>
    <geom name="cube_g0_vis" type="box" size="0.02 0.02 0.02" group="1" mass="0"/>
    <geom name="other_g0" type="box" size="0.02 0.02 0.02" group="0"/>
  </worldbody>
  <actuator>
    <motor name="joint" ctrlrange="-80 80"/>
    <motor name="free"/>
    <position name="finger" ctrlrange="0 0.04"/>
  </actuator>
</mujoco>
"""


@pytest.fixture
def edited(tmp_path):
    return ET.fromstring(edit_model(MODEL, Path("/textures"), ["cube"], 0, tmp_path))


def test_only_plain_visual_meshes_may_change():
    assert [mesh.get("name") for mesh in plain_visual_meshes(ET.fromstring(MODEL))] == ["shell"]


def test_every_table_texture_gets_a_material(edited):
    materials = {material.get("name"): material.get("texture") for material in edited.iter("material")}
    files = {texture.get("name"): texture.get("file") for texture in edited.iter("texture")}
    for name in TABLE_TEXTURES:
        assert files[materials[table_material(name)]] == f"/textures/{name}.png"


def test_arms_get_stronger_and_grippers_do_not(edited):
    assert edited.find("actuator/motor[@name='joint']").get("ctrlrange") == f"{-80 * TORQUE_GAIN} {80 * TORQUE_GAIN}"
    assert edited.find("actuator/position").get("ctrlrange") == "0 0.04"


def test_cubes_are_compiled_at_their_largest_with_a_stated_mass(edited):
    geoms = {geom.get("name"): geom for geom in edited.iter("geom")}
    largest = " ".join([str(CUBE_HALF_RANGE_M[1])] * 3)
    assert geoms["cube_g0"].get("size") == geoms["cube_g0_vis"].get("size") == largest
    assert geoms["cube_g0"].get("mass") == str(CUBE_KG)
    assert geoms["cube_g0_vis"].get("mass") == "0"
    assert geoms["other_g0"].get("size") == "0.02 0.02 0.02"


def test_cache_is_the_users(monkeypatch, tmp_path):
    monkeypatch.setenv("XDG_CACHE_HOME", str(tmp_path))
    assert cache_dir() == tmp_path / "genie" / "meshes"
    monkeypatch.delenv("XDG_CACHE_HOME")
    assert cache_dir() == Path.home() / ".cache" / "genie" / "meshes"


def test_meshes_are_simplified_once(tmp_path):
    reason = "needs the [sim] extra"
    trimesh = pytest.importorskip("trimesh", reason=reason)
    pytest.importorskip("fast_simplification", reason=reason)
    ball = trimesh.creation.icosphere(subdivisions=4)
    ball.export(str(tmp_path / "shell.stl"))
    model = ET.fromstring(MODEL.replace("shell.stl", str(tmp_path / "shell.stl")))
    cache = tmp_path / "cache"
    assert lighten(model, 500, cache) == 1
    (light,) = cache.iterdir()
    assert model.find("asset/mesh[@name='shell']").get("file") == str(light)
    mesh = trimesh.load(str(light), force="mesh")
    assert 400 <= len(mesh.faces) <= 500
    assert np.linalg.norm(mesh.vertices, axis=1) == pytest.approx(1.0, abs=0.05)
    os.utime(light, (1, 1))
    again = ET.fromstring(MODEL.replace("shell.stl", str(tmp_path / "shell.stl")))
    lighten(again, 500, cache)
    assert light.stat().st_mtime == 1
    lighten(again, 100, cache)
    assert len(list(cache.iterdir())) == 2


def test_shrinking_is_the_rounded_mean():
    picture = np.zeros((4, 4, 3), np.uint8)
    picture[:2, :2] = [[[255] * 3, [255] * 3], [[255] * 3, [254] * 3]]
    picture[2, 2] = 2
    small = shrink(picture, 2)
    assert small.dtype == np.uint8
    np.testing.assert_array_equal(small[..., 0], [[255, 0], [0, 1]])
    np.testing.assert_array_equal(shrink(picture, 1), picture)


def test_moving_bodies_are_seen_and_touch_nothing(tmp_path):
    def with_bodies(count):
        root = ET.fromstring(edit_model(MODEL, Path("/textures"), ["cube"], 0, tmp_path, count))
        return {geom.get("name"): geom for geom in root.iterfind("worldbody/geom")}

    assert not [name for name in with_bodies(0) if name.startswith("genie")]
    geoms = with_bodies(2)
    for index in range(2):
        body = geoms[distractor_geom(index)]
        assert (body.get("group"), body.get("contype"), body.get("conaffinity")) == ("1", "0", "0")


def test_brightness_is_scaled_rounded_and_cut_off():
    picture = np.array([[[0, 101, 200]]], np.uint8)
    assert brighten(picture, 1.0) is picture
    np.testing.assert_array_equal(brighten(picture, 1.5), [[[0, 152, 255]]])
    np.testing.assert_array_equal(brighten(picture, 0.0), [[[0, 0, 0]]])
