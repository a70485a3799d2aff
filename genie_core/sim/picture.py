"""Rendering a `Scene` under given `Looks`: materials, lights and camera set in place, then small square frames."""

# mujoco's Python types are incomplete, so its objects are Any.
import json
from importlib import import_module
from typing import Any

import numpy as np
from numpy.typing import NDArray

from genie_core.sim.config import Robot
from genie_core.sim.geometry import Vector, look_at, project, quaternion
from genie_core.sim.looks import Looks
from genie_core.sim.motion import TABLE_M
from genie_core.sim.scene import Scene, table_material

CAMERA = "agentview"
SHADOW_MAP = 512
SHADOW_CLIP = 0.075
"""A narrow shadow frustum around the table: the whole room on a small map would give blocky shadows."""
LIGHT_DISTANCE_M = 1.3
DARK_RUBBER = (0.12, 0.12, 0.13, 1.0)
RESTORED = (
    "cam_pos", "cam_quat", "cam_fovy", "geom_matid", "geom_rgba", "light_ambient", "light_diffuse", "light_dir",
    "light_pos", "mat_rgba",
)  # fmt: skip
"""Model arrays that looks change; put back before each episode, so that none sees its predecessor's."""


def shrink(picture: NDArray[np.uint8], by: int) -> NDArray[np.uint8]:
    """Mean of `by` x `by` pixels, rounded: (S * by, S * by, 3) to (S, S, 3)."""
    if by == 1:
        return picture.copy()
    side = picture.shape[0] // by
    blocks = picture.reshape(side, by, side, by, 3).astype(np.uint32).sum(axis=(1, 3))
    means: NDArray[np.uint8] = ((blocks + by * by // 2) // (by * by)).astype(np.uint8)
    return means


class Picture:
    """The camera on a scene. Close it before its process ends, or OSMesa and EGL complain."""

    def __init__(self, scene: Scene, robot: Robot, size: int, supersample: int, shadows: bool) -> None:
        mujoco: Any = import_module("mujoco")
        model: Any = scene.model
        self._scene, self._model = scene, model
        self._size, self._supersample = size, supersample
        self._camera = int(model.camera(CAMERA).id)
        side = size * supersample
        model.vis.global_.offwidth = model.vis.global_.offheight = side
        model.vis.quality.offsamples = 0  # supersampling smooths edges instead
        model.vis.quality.shadowsize = SHADOW_MAP if shadows else 0
        model.vis.map.shadowclip = SHADOW_CLIP
        model.light_castshadow[:] = shadows
        model.mat_reflectance[:] = 0.0  # the floor's 0.01 nobody sees would have everything drawn twice
        self._options: Any = mujoco.MjvOption()
        self._options.geomgroup[:] = 0
        self._options.geomgroup[1] = 1  # what is seen, not what collides
        self._options.sitegroup[:] = 0  # the transparent grip site would cast a shadow
        self._renderer: Any = mujoco.Renderer(model, side, side)

        visible = [(i, str(model.geom(i).name)) for i in range(model.ngeom) if model.geom_group[i] == 1]
        self._table = [i for i, name in visible if name == "table_visual"]
        self._walls = [i for i, name in visible if name.startswith("wall_")]
        self._floor = [i for i, name in visible if name == "floor"]
        self._cubes = [int(model.geom(f"{cube}_g0_vis").id) for cube in scene.cubes]
        # The real Panda's fingers end in black rubber; white on a white hand, opening and closing would not show.
        self._fingers = [i for i, name in visible if "finger" in name and robot == "Panda"]
        self._unchanged = {name: np.array(getattr(model, name)) for name in RESTORED}

    def dress(self, looks: Looks) -> None:
        """Apply `looks` to the model, from its untouched state."""
        model = self._model
        for name, values in self._unchanged.items():
            getattr(model, name)[:] = values
        for geom in self._fingers:
            model.geom_matid[geom] = -1
            model.geom_rgba[geom] = DARK_RUBBER
        model.cam_pos[self._camera] = looks.camera.position
        model.cam_quat[self._camera] = quaternion(look_at(looks.camera.position, looks.camera.target))
        model.cam_fovy[self._camera] = looks.camera.fovy_deg
        self._light(looks)
        if looks.surfaces is None:
            return
        material = model.material(table_material(looks.surfaces.table)).id
        model.geom_matid[self._table] = material
        model.mat_rgba[material, :3] = looks.surfaces.table_tint
        model.mat_rgba[model.geom_matid[self._walls[0]], :3] = looks.surfaces.wall_tint
        model.mat_rgba[model.geom_matid[self._floor[0]], :3] = looks.surfaces.floor_tint
        for geom, rgb in zip(self._cubes, looks.surfaces.cube_rgb, strict=True):
            model.geom_matid[geom] = -1
            model.geom_rgba[geom] = [*rgb, 1.0]

    def _light(self, looks: Looks) -> None:
        model = self._model
        direction = looks.light_direction / np.linalg.norm(looks.light_direction)
        model.light_dir[:] = direction
        model.light_pos[:] = np.array([0.0, 0.0, TABLE_M + 0.05]) - LIGHT_DISTANCE_M * direction
        model.light_diffuse[:] = looks.light
        model.light_ambient[:] = 0.05
        model.vis.headlight.ambient[:] = looks.ambient
        model.vis.headlight.diffuse[:] = 0.25

    def frame(self) -> NDArray[np.uint8]:
        """What the camera sees now, (S, S, 3)."""
        self._renderer.update_scene(self._scene.data, self._camera, self._options)
        return shrink(self._renderer.render(), self._supersample)

    def pixel(self, point: Vector, looks: Looks) -> NDArray[np.float32]:
        """Column and row (2,) where the world's `point` (3,) falls in a frame."""
        camera = looks.camera
        orientation = look_at(camera.position, camera.target)
        return project(point, camera.position, orientation, camera.fovy_deg, self._size).astype(np.float32)

    def camera_json(self) -> str:
        """The camera as MuJoCo has it: position (3,), quaternion (w, x, y, z), vertical field of view in degrees."""
        model, camera = self._model, self._camera
        pose = {"pos": model.cam_pos[camera].tolist(), "quat": model.cam_quat[camera].tolist()}
        return json.dumps(pose | {"fovy": float(model.cam_fovy[camera])})

    def close(self) -> None:
        """Give the OpenGL context back."""
        self._renderer.close()


__all__ = ["Picture", "shrink"]
