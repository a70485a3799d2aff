"""Renders a `Scene` with given `Looks`: applies materials, lights and camera, then renders small square frames."""

# mujoco's Python types are incomplete, so its objects are Any.
import json
from collections.abc import Sequence
from importlib import import_module
from typing import Any

import numpy as np
from numpy.typing import NDArray

from genie_core.sim.disturbances import Body, turned
from genie_core.sim.geometry import Matrix, Vector, look_at, project, quaternion
from genie_core.sim.looks import Looks
from genie_core.sim.motion import TABLE_M
from genie_core.sim.robots import Robot
from genie_core.sim.scene import Scene, distractor_geom, table_material
from genie_core.sim.truth import NOTHING, View

CAMERA = "agentview"
SHADOW_MAP = 512
SHADOW_CLIP = 0.075
"""Narrow shadow frustum around the table: the whole room on a small map would give blocky shadows."""
LIGHT_DISTANCE_M = 1.3
DARK_RUBBER = (0.12, 0.12, 0.13, 1.0)
RESTORED = (
    "cam_pos", "cam_quat", "cam_fovy", "geom_matid", "geom_rgba", "light_ambient", "light_diffuse", "light_dir",
    "light_pos", "mat_rgba",
)  # fmt: skip
"""Model arrays that looks change; restored before each episode, so that none inherits its predecessor's."""


def shrink(picture: NDArray[np.uint8], by: int) -> NDArray[np.uint8]:
    """Average `by` x `by` pixels, rounded: (S * by, S * by, 3) to (S, S, 3)."""
    if by == 1:
        return picture.copy()
    side = picture.shape[0] // by
    blocks = picture.reshape(side, by, side, by, 3).astype(np.uint32).sum(axis=(1, 3))
    means: NDArray[np.uint8] = ((blocks + by * by // 2) // (by * by)).astype(np.uint8)
    return means


def brighten(picture: NDArray[np.uint8], gain: float) -> NDArray[np.uint8]:
    """Multiply values by `gain`, round, and clip at white."""
    if gain == 1.0:
        return picture
    values: NDArray[np.uint8] = np.clip(np.rint(picture * gain), 0, 255).astype(np.uint8)
    return values


class Renderer:
    """Camera on a scene. Close it before its process ends, or OSMesa and EGL complain."""

    def __init__(self, scene: Scene, robot: Robot, size: int, supersample: int, shadows: bool) -> None:
        mujoco: Any = import_module("mujoco")
        self._mujoco = mujoco
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
        model.mat_reflectance[:] = 0.0  # the floor's 0.01 is invisible, but doubles the rendering
        self._options: Any = mujoco.MjvOption()
        self._options.geomgroup[:] = 0
        self._options.geomgroup[1] = 1  # visual geoms, not collision geoms
        self._options.sitegroup[:] = 0  # the transparent grip site would cast a shadow
        self._renderer: Any = mujoco.Renderer(model, side, side)

        visible = [(i, str(model.geom(i).name)) for i in range(model.ngeom) if model.geom_group[i] == 1]
        self._table = [i for i, name in visible if name == "table_visual"]
        self._walls = [i for i, name in visible if name.startswith("wall_")]
        self._floor = [i for i, name in visible if name == "floor"]
        self._cubes = [int(model.geom(f"{cube}_g0_vis").id) for cube in scene.cubes]
        self._distractors = [int(model.geom(distractor_geom(index)).id) for index in range(scene.distractors)]
        self._rest: Matrix = np.eye(3)
        self._orientation: Matrix = np.eye(3)
        # The real Panda's fingers end in black rubber; white on a white hand, opening and closing would be invisible.
        self._fingers = [i for i, name in visible if "finger" in name and robot == "Panda"]
        self._unchanged = {name: np.array(getattr(model, name)) for name in RESTORED}

    def dress(self, looks: Looks) -> None:
        """Apply `looks` to the model, starting from its original state."""
        model = self._model
        for name, values in self._unchanged.items():
            getattr(model, name)[:] = values
        for geom in self._fingers:
            model.geom_matid[geom] = -1
            model.geom_rgba[geom] = DARK_RUBBER
        model.cam_pos[self._camera] = looks.camera.position
        self._rest = self._orientation = look_at(looks.camera.position, looks.camera.target)
        model.cam_quat[self._camera] = quaternion(self._rest)
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

    def aim(self, shift_px: Vector) -> None:
        """Turn the camera from its original pose so that the picture moves by `shift_px` (2,), columns and rows."""
        model, camera = self._model, self._camera
        self._orientation = turned(self._rest, shift_px, float(model.cam_fovy[camera]), self._size)
        model.cam_quat[camera] = quaternion(self._orientation)
        # The renderer reads the camera's pose from the data, which the model updates only with the next step.
        self._scene.data.cam_xmat[camera] = self._orientation.ravel()

    def place(self, bodies: Sequence[Body], frame: int) -> None:
        """Put the moving bodies in their places at `frame`. They take no part in the physics."""
        kinds: Any = self._mujoco.mjtGeom
        for geom, body in zip(self._distractors, bodies, strict=True):
            self._model.geom_type[geom] = int(getattr(kinds, f"mjGEOM_{body.shape.upper()}"))
            self._model.geom_size[geom] = body.half_m
            self._model.geom_rgba[geom] = [*body.rgb, 1.0]
            self._model.geom_pos[geom] = body.path[frame]
            self._scene.data.geom_xpos[geom] = body.path[frame]

    def frame(self, gain: float = 1.0) -> NDArray[np.uint8]:
        """Render the camera's view, (S, S, 3), `gain` times as bright."""
        self._renderer.update_scene(self._scene.data, self._camera, self._options)
        return brighten(shrink(self._renderer.render(), self._supersample), gain)

    def truth(self) -> View:
        """Return depth and geoms of the frame last rendered: one sample per pixel, at `sample_px` into it."""
        middle = self._supersample // 2
        self._renderer.enable_depth_rendering()
        depth = np.array(self._renderer.render()[middle :: self._supersample, middle :: self._supersample], np.float32)
        self._renderer.disable_depth_rendering()
        self._renderer.enable_segmentation_rendering()
        labels = self._renderer.render()[middle :: self._supersample, middle :: self._supersample]
        self._renderer.disable_segmentation_rendering()
        is_geom = labels[..., 1] == int(self._mujoco.mjtObj.mjOBJ_GEOM)
        data: Any = self._scene.data
        return View(
            depth=depth,
            geoms=np.where(is_geom, labels[..., 0], NOTHING).astype(np.int32),
            positions=np.array(data.geom_xpos),
            rotations=np.array(data.geom_xmat).reshape(-1, 3, 3),
            camera=np.array(data.cam_xpos[self._camera]),
            orientation=np.array(data.cam_xmat[self._camera]).reshape(3, 3),
        )

    @property
    def sample_px(self) -> float:
        """Offset into a pixel, right and down, of the samples of `truth`."""
        return (self._supersample // 2 + 0.5) / self._supersample

    def pixel(self, point: Vector, looks: Looks) -> NDArray[np.float32]:
        """Project the world's `point` (3,) to column and row (2,) in a frame."""
        camera = looks.camera
        return project(point, camera.position, self._orientation, camera.fovy_deg, self._size).astype(np.float32)

    def camera_quat(self) -> NDArray[np.float32]:
        """Return the camera's current orientation (w, x, y, z)."""
        return quaternion(self._orientation).astype(np.float32)

    def camera_json(self) -> str:
        """Describe MuJoCo's camera: position (3,), quaternion (w, x, y, z), vertical field of view in degrees."""
        model, camera = self._model, self._camera
        pose = {"pos": model.cam_pos[camera].tolist(), "quat": model.cam_quat[camera].tolist()}
        return json.dumps(pose | {"fovy": float(model.cam_fovy[camera])})

    def close(self) -> None:
        """Release the OpenGL context."""
        self._renderer.close()


__all__ = ["Renderer", "brighten", "shrink"]
