"""The real simulator and renderer: reproducible, and an action's effect plain in the picture."""

import json

import h5py
import numpy as np
import pytest

from genie_core.errors import DatasetError
from genie_core.sim import SimConfig, backend, generate

FRAMES = 20


@pytest.fixture(scope="module", autouse=True)
def simulator():
    try:
        backend.require_packages()
        backend.choose_gl()
    except DatasetError as error:
        pytest.skip(f"no simulator on this machine: {error}")


@pytest.fixture(scope="module")
def config():
    return SimConfig(frames=FRAMES, size=64, seed=5)


@pytest.fixture(scope="module")
def made(config, tmp_path_factory, simulator):
    out = tmp_path_factory.mktemp("sim") / "one.hdf5"
    generate(config, 2, out, workers=1)
    return out


def datasets(path):
    found = {}
    with h5py.File(path) as file:
        file.visititems(lambda name, item: found.update({name: item[:]}) if isinstance(item, h5py.Dataset) else None)
    return found


def test_schema(made):
    of_one = {name.removeprefix("data/demo_1/"): item for name, item in datasets(made).items() if "demo_1/" in name}
    t = FRAMES
    assert {name: (item.shape, item.dtype.str) for name, item in of_one.items()} == {
        "actions": ((t, 7), "<f8"),
        "dones": ((t,), "<i8"),
        "obs/agentview_image": ((t, 64, 64, 3), "|u1"),
        "obs/eef_pixel": ((t, 2), "<f4"),
        "obs/gripper_open": ((t, 1), "<f4"),
        "obs/object": ((t, 10), "<f4"),
        "obs/robot0_eef_pos": ((t, 3), "<f4"),
        "obs/robot0_eef_quat": ((t, 4), "<f4"),
        "obs/robot0_gripper_qpos": ((t, 2), "<f4"),
        "obs/robot0_joint_pos": ((t, 7), "<f4"),
        "primitive": ((t,), "|i1"),
        "rewards": ((t,), "<f8"),
        "states": ((t, 32), "<f8"),
    }
    with h5py.File(made) as file:
        arguments = json.loads(file["data"].attrs["env_args"])
        assert (arguments["env_name"], arguments["type"]) == ("Lift", 1)
        assert arguments["env_kwargs"]["control_freq"] == 10
        assert arguments["env_kwargs"]["camera_heights"] == 64
        assert set(file["data/demo_0"].attrs) == {"camera", "draws", "looks", "mode", "num_samples"}
        assert set(json.loads(file["data/demo_0"].attrs["camera"])) == {"pos", "quat", "fovy"}


def test_same_bytes_whatever_the_workers(made, config, tmp_path):
    again = tmp_path / "two.hdf5"
    # Two workers make one episode each, so episode 1 now comes without an episode 0 before it.
    generate(config, 2, again, workers=2)
    some, other = datasets(made), datasets(again)
    assert some.keys() == other.keys()
    for name in some:
        np.testing.assert_array_equal(some[name], other[name], err_msg=name)


def test_a_step_moves_the_hand_by_pixels_and_as_commanded(made):
    moved_px, changed_px, still_px, commanded_m, moved_m = [], [], [], [], []
    with h5py.File(made) as file:
        for demo in file["data"].values():
            actions = demo["actions"][:-1]  # the last has no next frame
            frames = demo["obs/agentview_image"][:].astype(int)
            changed = (np.abs(np.diff(frames, axis=0)).max(axis=-1) > 12).sum(axis=(1, 2))
            moving = np.abs(actions[:, :3]).max(axis=1) > 0.5
            moved_px += np.linalg.norm(np.diff(demo["obs/eef_pixel"][:], axis=0), axis=1)[moving].tolist()
            changed_px += changed[moving].tolist()
            still_px += changed[np.abs(actions[:, :6]).max(axis=1) < 0.1].tolist()
            commanded_m += (0.07 * actions[:, :3]).tolist()
            moved_m += np.diff(demo["obs/robot0_eef_pos"][:].astype(float), axis=0).tolist()
    assert len(moved_px) > 10
    assert np.mean(moved_px) > 2.5
    assert np.mean(changed_px) > 300
    if still_px:
        assert np.mean(still_px) < np.mean(changed_px) / 2
    commanded, moved = np.array(commanded_m), np.array(moved_m)
    gain = (commanded * moved).sum() / (commanded**2).sum()
    assert 0.75 < gain < 0.95
    assert 1 - ((moved - gain * commanded) ** 2).sum() / ((moved - moved.mean(0)) ** 2).sum() > 0.95


def test_another_robot_in_the_laboratory_stacks(tmp_path):
    out = tmp_path / "ur5e.hdf5"
    config = SimConfig(robot="UR5e", task="Stack", looks="laboratory", camera_jitter=0.0, frames=3, size=32, seed=1)
    generate(config, 2, out, workers=1)
    found = datasets(out)
    first, second = (found[f"data/demo_{number}/obs/agentview_image"] for number in range(2))
    assert first.shape == (3, 32, 32, 3)
    # One room: between two episodes only what the robot and its cubes cover differs.
    assert 0.4 < (first[0] == second[0]).all(axis=-1).mean() < 0.999


@pytest.mark.parametrize(("robot", "joints", "fingers"), [("Baxter", 14, 2), ("GR1ArmsOnly", 14, 11)])
def test_two_arms_move_as_commanded_each_on_its_own_side(tmp_path, robot, joints, fingers):
    out, t = tmp_path / "two.hdf5", 12
    motions = {"motions": ("mixed",), "seed": 2}
    generate(SimConfig(robot=robot, frames=t, size=32, shadows=False, mesh_faces=300, **motions), 1, out, workers=1)
    found = {name.removeprefix("data/demo_0/"): item for name, item in datasets(out).items()}
    shapes = {name: item.shape for name, item in found.items()}
    assert shapes.items() >= {
        "actions": (t, 14), "primitive": (t, 2), "obs/eef_pixel": (t, 4), "obs/gripper_open": (t, 2),
        "obs/robot0_joint_pos": (t, joints), "obs/robot0_left_eef_quat": (t, 4),
        "obs/robot0_right_gripper_qpos": (t, fingers),
    }.items()  # fmt: skip
    hands = [found[f"obs/robot0_{side}_eef_pos"].astype(float) for side in ("right", "left")]
    assert hands[0][:, 1].max() < 0 < hands[1][:, 1].min()
    for hand, action in zip(hands, np.split(found["actions"], 2, axis=1), strict=True):
        commanded, moved = 0.07 * action[:-1, :3], np.diff(hand, axis=0)
        gain = (commanded * moved).sum() / (commanded**2).sum()
        assert 0.7 < gain < 1.0
        assert 1 - ((moved - gain * commanded) ** 2).sum() / ((moved - moved.mean(0)) ** 2).sum() > 0.8
    frames = found["obs/agentview_image"].astype(int)
    assert (np.abs(np.diff(frames, axis=0)).max(axis=-1) > 12).sum(axis=(1, 2)).mean() > 20


def test_disturbances_and_cameras_leave_the_motion_alone_and_flow_explains_the_frames(tmp_path):
    # Cheap settings: the motion is what is compared, and it does not depend on how the picture is drawn.
    calm = SimConfig(robot="Sawyer", frames=8, seed=2, shadows=False, mesh_faces=300, motions=("axes",))
    wild = calm.model_copy(
        update={
            "azimuth": (100.0, 100.0),
            "distractors": 2,
            "shake_px": 1.0,
            "pan_px": 0.5,
            "flicker": 0.1,
            "depth": True,
            "flow": True,
        }
    )
    generate(calm, 1, tmp_path / "calm.hdf5")
    generate(wild, 1, tmp_path / "wild.hdf5")
    some, other = datasets(tmp_path / "calm.hdf5"), datasets(tmp_path / "wild.hdf5")
    for name in ("states", "actions", "obs/robot0_eef_pos"):
        np.testing.assert_array_equal(some[f"data/demo_0/{name}"], other[f"data/demo_0/{name}"], err_msg=name)
    added = {name.removeprefix("data/demo_0/"): other[name] for name in other.keys() - some.keys()}
    assert {name: (item.shape, item.dtype.str) for name, item in added.items()} == {
        "truth/depth": ((8, 64, 64, 1), "<f2"),
        "truth/flow": ((8, 64, 64, 2), "<f2"),
        "obs/agentview_quat": ((8, 4), "<f4"),
    }
    frames, flow = other["data/demo_0/obs/agentview_image"].astype(float), added["truth/flow"].astype(float)
    assert 0.3 < added["truth/depth"].min() < added["truth/depth"].max() < 7.0
    assert not flow[-1].any()
    rows, columns = np.mgrid[:64, :64]
    copied, warped = [], []
    for before, after, moved in zip(frames[:-1], frames[1:], flow[:-1], strict=True):
        after = after * before.mean() / after.mean()  # the flicker
        row, column = np.rint(rows + moved[..., 1]).astype(int), np.rint(columns + moved[..., 0]).astype(int)
        seen = (row >= 0) & (row < 64) & (column >= 0) & (column < 64)
        copied.append(np.abs(after - before)[seen].mean())
        warped.append(np.abs(after[row[seen], column[seen]] - before[seen]).mean())
    assert np.mean(warped) < 0.7 * np.mean(copied)
