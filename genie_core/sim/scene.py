"""One robosuite environment, tuned so that a 10 Hz command is carried out within its frame. `renderer` draws it.

Everything here needs the `[sim]` extra; call `backend.prepare` first, in a process of its own.
"""

# robosuite and mujoco carry no types, so what comes from them is Any; import_module keeps type checkers from looking.
import copy
import logging
import xml.etree.ElementTree as ET
from collections.abc import Sequence
from importlib import import_module
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from genie_core.sim.config import FPS, Task
from genie_core.sim.disturbances import LARGEST_M
from genie_core.sim.geometry import Matrix, Vector
from genie_core.sim.looks import CUBE_HALF_RANGE_M, TABLE_TEXTURES, Cube
from genie_core.sim.meshes import lighten
from genie_core.sim.motion import CLOSED, OPEN, STEP_M, STEP_RAD, TABLE_M, Hand
from genie_core.sim.robots import Robot, Side, body_of

CUBES: dict[Task, tuple[str, ...]] = {"Lift": ("cube",), "Stack": ("cubeA", "cubeB")}
CUBE_KG = 0.08
TORQUE_GAIN = 3.0
"""Factor by which arm motors are stronger than real ones: a full step must be finished within 0.1 s."""
CONTROLLER = {
    "type": "OSC_POSE",
    # robosuite's defaults (150, critically damped) cover two of five centimetres before the next command; with these,
    # commands explain over 99 % of the variance of displacements.
    "kp": [1500.0] * 3 + [500.0] * 3,
    "kp_limits": [0.0, 10000.0],
    "damping_ratio": 1.1,
    "uncouple_pos_ori": False,
    "output_max": [STEP_M] * 3 + [STEP_RAD] * 3,
    "output_min": [-STEP_M] * 3 + [-STEP_RAD] * 3,
}
SENSED = ("eef_pos", "eef_quat", "gripper_qpos")
"""Observations of each arm that are stored unchanged, besides the robot's "joint_pos" and "object-state"."""


def table_material(texture: str) -> str:
    """Return the name of the material that `Scene` adds for one of `TABLE_TEXTURES`."""
    return f"genie_{texture}"


def distractor_geom(index: int) -> str:
    """Return the name of the geom that `Scene` adds for one moving body."""
    return f"genie_distractor_{index}"


def _add_distractors(worldbody: ET.Element, count: int) -> None:
    """Bodies that are visible but touch nothing, compiled at their largest and out of sight; `Renderer` moves them."""
    for index in range(count):
        geom = {"name": distractor_geom(index), "type": "box", "size": " ".join([str(LARGEST_M)] * 3)}
        ET.SubElement(worldbody, "geom", geom | {"pos": "0 0 -5", "group": "1", "contype": "0", "conaffinity": "0"})


def edit_model(
    xml: str, texture_dir: Path, cubes: Sequence[str], mesh_faces: int, mesh_cache: Path, distractors: int = 0
) -> str:
    """Edit robosuite's MJCF: a choice of table materials, lighter meshes, strong arms and cubes of one mass.

    Cubes are compiled at their largest, so that the bounds MuJoCo derives stay valid when an episode shrinks them, and
    at a stated mass: robosuite draws the cube's size, hence its mass, anew in every process.
    """
    root = ET.fromstring(xml)
    asset = root.find("asset")
    assert asset is not None
    for name in TABLE_TEXTURES:
        texture = {"type": "cube", "name": f"genie_tex_{name}", "file": str(texture_dir / f"{name}.png")}
        ET.SubElement(asset, "texture", texture)
        material = {"name": table_material(name), "texture": texture["name"], "specular": "0.1", "shininess": "0.1"}
        ET.SubElement(asset, "material", material)
    if mesh_faces:
        lighten(root, mesh_faces, mesh_cache)
    for motor in root.iterfind("actuator/motor"):  # the arm's joints; grippers are position actuators
        if limits := motor.get("ctrlrange"):
            motor.set("ctrlrange", " ".join(str(TORQUE_GAIN * float(limit)) for limit in limits.split()))
    for geom in root.iter("geom"):
        if geom.get("name", "").removesuffix("_vis") in {f"{cube}_g0" for cube in cubes}:
            geom.set("size", " ".join([str(CUBE_HALF_RANGE_M[1])] * 3))
            if geom.get("group") == "0":
                geom.set("mass", str(CUBE_KG))
    if distractors:
        worldbody = root.find("worldbody")
        assert worldbody is not None
        _add_distractors(worldbody, distractors)
    return ET.tostring(root, encoding="unicode")


def _mend(robot: Robot) -> None:
    """Let robosuite's Sawyer and Baxter compile: since 3.3, MuJoCo refuses meshes as thin as their heads' if no shells.

    Their links state their inertia, so that of the meshes does not enter the physics.
    """
    models: Any = import_module("robosuite.models.robots.robot_model")
    known: Any = models.REGISTERED_ROBOTS[robot]
    if getattr(known, "mended", False):
        return

    def build(self: Any, idn: Any = 0) -> None:
        known.__init__(self, idn)
        for mesh in self.asset.iter("mesh"):
            mesh.set("inertia", "shell")

    type(known)(robot, (known,), {"__init__": build, "mended": True})  # robosuite registers every class it sees made


def _controller(robosuite: Any, robot: Robot) -> Any:
    """Return robosuite's configuration of the controllers of all arms, that of `CONTROLLER` each."""
    if len(body_of(robot).workspaces) == 1:
        controller = robosuite.load_composite_controller_config(robot=robot)
        controller["body_parts"]["right"].update(CONTROLLER)
        return controller
    arm = robosuite.load_composite_controller_config(robot="Panda")["body_parts"]["right"]
    # Their arms are mounted askew, and by default commands are in the frame of what an arm is mounted on.
    arm.update(CONTROLLER, input_ref_frame="world")
    return {"type": "BASIC", "body_parts": {side: copy.deepcopy(arm) for side in body_of(robot).workspaces}}


def _quick_gripper(gripper: Any) -> None:
    """Let a gripper's command take effect at once: by default it ramps over ten steps and no single action shows."""
    kind = gripper.__class__
    gripper.__class__ = type(kind.__name__, (kind,), {"speed": 1.0})


class Scene:
    """A robot at a table with cubes: reset, step, sense. Built once per worker, reset in place for each episode."""

    def __init__(
        self,
        robot: Robot,
        task: Task,
        mesh_faces: int,
        mesh_cache: Path,
        distractors: int = 0,
        physics_step_ms: float = 2,
    ) -> None:
        # robosuite greets with a page of warnings about optional parts. A filter stays; a level it would overwrite.
        logging.getLogger("robosuite_logs").addFilter(lambda record: record.levelno >= logging.ERROR)
        robosuite: Any = import_module("robosuite")
        robosuite.macros.SIMULATION_TIMESTEP = physics_step_ms / 1000
        if robot in ("Sawyer", "Baxter"):
            _mend(robot)
        options: dict[str, Any] = {
            "robots": [robot],
            "controller_configs": _controller(robosuite, robot),
            "control_freq": FPS,
            "has_renderer": False,
            "has_offscreen_renderer": False,
            "use_camera_obs": False,
            "use_object_obs": True,
            "ignore_done": True,
            "initialization_noise": None,
            "reward_shaping": False,
        }
        self.env_args: dict[str, Any] = {
            "env_name": task,
            "type": 1,  # robomimic's number for robosuite
            "env_version": robosuite.__version__,
            "env_kwargs": copy.deepcopy(options),
        }
        self.cubes = CUBES[task]
        self.distractors = distractors
        textures = Path(str(robosuite.__file__)).parent / "models" / "assets" / "textures"
        env: Any = robosuite.make(task, **options)

        def edit(xml: str) -> str:
            return edit_model(xml, textures, self.cubes, mesh_faces, mesh_cache, distractors)

        env.set_xml_processor(edit)
        env.reset()  # compiles the edited model
        env.hard_reset = False  # and from here on resets without compiling
        self.workspaces = body_of(robot).workspaces
        for side in self.workspaces:
            _quick_gripper(env.robots[0].gripper[side])
        self._env = env
        self.model: Any = env.sim.model._model
        self.data: Any = env.sim.data._data
        self._grip_site = {side: int(env.robots[0].eef_site_id[side]) for side in self.workspaces}
        self._cube_body = int(self.model.body(f"{self.cubes[0]}_main").id)
        self._home: dict[Side, Matrix] = {}
        self._sensed: dict[str, NDArray[Any]] = {}
        self.reward = 0.0
        self._open, self._closed = self._gripper_ends()

    def _named(self, side: Side, observation: str) -> str:
        """Return robosuite's name of an arm's observation."""
        return f"robot0_{observation}" if len(self.workspaces) == 1 else f"robot0_{side}_{observation}"

    def _gripper_ends(self) -> tuple[dict[Side, Vector], dict[Side, Vector]]:
        """Joint positions of open and closed grippers, found by trying away from the table."""
        self._env.reset()
        ends: list[dict[Side, Vector]] = []
        for grip in (OPEN, CLOSED):
            for _ in range(12):
                self.step(np.array([0.0, 0.0, 0.3, 0.0, 0.0, 0.0, grip] * len(self.workspaces)))
            qpos = {side: self._sensed[self._named(side, "gripper_qpos")] for side in self.workspaces}
            ends.append({side: np.array(values, np.float64) for side, values in qpos.items()})
        return ends[0], ends[1]

    def reset(self, cubes: Sequence[Cube]) -> None:
        """Put the arm into its rest pose and `cubes` onto the table."""
        self._env.reset()
        for name, cube in zip(self.cubes, cubes, strict=True):
            for suffix in ("_g0", "_g0_vis"):
                self.model.geom(name + suffix).size[:] = cube.half_m
            height = TABLE_M + cube.half_m + 0.002
            pose = [*cube.xy, height, np.cos(cube.yaw / 2), 0.0, 0.0, np.sin(cube.yaw / 2)]
            self._env.sim.data.set_joint_qpos(f"{name}_joint0", np.array(pose))
        self._env.sim.forward()
        self._sensed = self._env._get_observations(force_update=True)
        self._home = {side: self._rotation(side) for side in self.workspaces}

    def step(self, action: Vector) -> None:
        """Carry out `action`, (7,) for each arm, one after another, for 0.1 s; all fingers of a hand move as one."""
        robot: Any = self._env.robots[0]
        parts: dict[str, Vector] = {}
        for side, of_arm in zip(self.workspaces, np.split(action, len(self.workspaces)), strict=True):
            parts[side] = of_arm[:6]
            parts[f"{side}_gripper"] = np.full(robot.gripper[side].dof, of_arm[6])
        self._sensed, reward, _, _ = self._env.step(robot.create_action_vector(parts))
        self.reward = float(reward)

    def unstable(self) -> bool:
        """Return whether the physics became unstable since the last reset; MuJoCo then restarts from its rest pose."""
        kinds: Any = import_module("mujoco").mjtWarning
        bad = (kinds.mjWARN_BADQPOS, kinds.mjWARN_BADQVEL, kinds.mjWARN_BADQACC)
        return any(self.data.warning[int(kind)].number > 0 for kind in bad)

    def _rotation(self, side: Side) -> Matrix:
        return np.array(self.data.site_xmat[self._grip_site[side]]).reshape(3, 3)

    def hand(self, side: Side = "right") -> Hand:
        """Return the observations that the policy of one arm may see."""
        w, x, y, z = self.data.xquat[self._cube_body]
        return Hand(
            position=np.array(self.data.site_xpos[self._grip_site[side]]),
            rotation=self._rotation(side),
            home=self._home[side],
            cube=np.array(self.data.xpos[self._cube_body]),
            cube_yaw=float(np.arctan2(2 * (w * z + x * y), 1 - 2 * (y * y + z * z))),
            workspace=self.workspaces[side],
        )

    def hands(self) -> list[Hand]:
        """Return `hand` of each arm, in the order of actions."""
        return [self.hand(side) for side in self.workspaces]

    def sense(self) -> dict[str, NDArray[Any]]:
        """Return low-dimensional observations to store, float32, and the simulator's full `states`, float64."""
        opened = []
        for side in self.workspaces:
            stroke = self._open[side] - self._closed[side]
            off = self._sensed[self._named(side, "gripper_qpos")] - self._closed[side]
            opened.append(off @ stroke / (stroke @ stroke))
        sensed = [self._named(side, name) for side in self.workspaces for name in SENSED]
        return {
            **{f"obs/{name}": np.asarray(self._sensed[name], np.float32) for name in (*sensed, "robot0_joint_pos")},
            "obs/object": np.asarray(self._sensed["object-state"], np.float32),
            "obs/gripper_open": np.clip(opened, 0.0, 1.0).astype(np.float32),
            "states": np.array(self._env.sim.get_state().flatten(), np.float64),
        }


__all__ = ["CONTROLLER", "CUBES", "Scene", "distractor_geom", "edit_model", "table_material"]
