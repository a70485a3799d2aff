"""Planning, resuming and writing of simulated data, with episodes that cost nothing in place of the simulator's."""

import fcntl
import json
import os
import re
import signal
import subprocess
import sys
import time
from pathlib import Path

import h5py
import numpy as np
import pytest
import typer
from typer.testing import CliRunner

from genie_cli.make_data import make_data
from genie_core.errors import DatasetError, GenieError
from genie_core.sim import SimConfig, backend, generate
from genie_core.sim import episode as sim_episode
from genie_core.sim.episode import SimulatedEpisode
from genie_core.sim.generate import fill
from genie_core.sim.motion import PRIMITIVES
from genie_core.sim.parts import Parts, parts_dir, split

CONFIG = SimConfig(frames=6, size=16, seed=3)
SOFTWARE = {"gl": "none", "robosuite": "0"}


def episode(config, number):
    rng = np.random.default_rng([config.seed, number])
    t = config.frames
    return SimulatedEpisode(
        arrays={
            "obs/agentview_image": rng.integers(0, 256, (t, config.size, config.size, 3), dtype=np.uint8),
            "obs/robot0_eef_pos": rng.random((t, 3), dtype=np.float32),
            "actions": rng.uniform(-1, 1, (t, 7)),
            "primitive": np.zeros(t, np.int8),
            "dones": np.zeros(t, np.int64),
        },
        attrs={"mode": "play"},
        env_args=json.dumps({"env_name": "Lift", "type": 1, "env_kwargs": {"control_freq": 10}}),
    )


# Recorders are found by name in the worker processes, so they are functions of this module.
def recorder(config):
    return lambda number: episode(config, number)


def recorder_that_fails_at_3(config):
    def record(number):
        if number == 3:
            raise ValueError("the arm fell off")
        return episode(config, number)

    return record


def recorder_that_is_killed(config):
    def record(number):
        os.kill(os.getpid(), signal.SIGKILL)
        return episode(config, number)

    return record


def recorder_without_gl(config):
    raise DatasetError("no OpenGL here")


def slow_recorder(config):
    def record(number):
        time.sleep(0.2)
        return episode(config, number)

    return record


def make(out, episodes=5, workers=2, config=CONFIG, recorders=recorder, software=SOFTWARE):
    told = []
    fill(config, episodes, out, workers, lambda _, done, total: told.append((done, total)), "", software, recorders)
    return told


def content(path):
    found = {}

    def visit(name, item):
        found[name] = (dict(item.attrs), item[:] if isinstance(item, h5py.Dataset) else None)

    with h5py.File(path) as file:
        file.visititems(visit)
    return found


def assert_equal_content(some, other):
    some, other = content(some), content(other)
    assert some.keys() == other.keys()
    for name, (attrs, values) in some.items():
        assert attrs == other[name][0], name
        np.testing.assert_array_equal(values, other[name][1], err_msg=name)


def test_schema(tmp_path):
    out = tmp_path / "sim.hdf5"
    make(out)
    with h5py.File(out) as file:
        assert set(file) == {"data", "mask"}
        assert set(file["data"]) == {f"demo_{i}" for i in range(5)}
        attrs = dict(file["data"].attrs)
        assert set(attrs) == {"env_args", "fps", "generator_args", "primitive_names", "total"}
        assert attrs["total"] == 30
        assert attrs["fps"] == 10.0
        assert isinstance(attrs["fps"], float)
        assert json.loads(attrs["env_args"])["env_kwargs"]["control_freq"] == 10
        assert json.loads(attrs["primitive_names"]) == list(PRIMITIVES)
        generator = json.loads(attrs["generator_args"])
        assert generator.pop("software") == SOFTWARE
        assert SimConfig(**generator) == CONFIG
        demo = file["data/demo_2"]
        assert dict(demo.attrs) == {"mode": "play", "num_samples": 6}
        assert demo["obs/agentview_image"].shape == (6, 16, 16, 3)
        assert demo["obs/agentview_image"].dtype == np.uint8
        np.testing.assert_array_equal(demo["actions"], episode(CONFIG, 2).arrays["actions"])
        masks = [name.decode() for mask in ("train", "valid") for name in file[f"mask/{mask}"]]
        assert sorted(masks) == sorted(file["data"])


def test_work_folder_is_gone_at_the_end(tmp_path):
    make(tmp_path / "sim.hdf5")
    assert [path.name for path in tmp_path.iterdir()] == ["sim.hdf5"]


def test_content_does_not_depend_on_workers(tmp_path):
    make(tmp_path / "one.hdf5", workers=1)
    make(tmp_path / "three.hdf5", workers=3)
    assert_equal_content(tmp_path / "one.hdf5", tmp_path / "three.hdf5")


def test_progress_starts_at_what_is_there_and_ends_at_all(tmp_path):
    assert make(tmp_path / "sim.hdf5") == [(done, 5) for done in range(6)]


def test_more_workers_than_episodes(tmp_path):
    assert make(tmp_path / "sim.hdf5", episodes=1, workers=3)[-1] == (1, 1)
    with h5py.File(tmp_path / "sim.hdf5") as file:
        assert len(file["mask/train"]) == 1
        assert len(file["mask/valid"]) == 0


def test_resumes_what_a_failure_left(tmp_path):
    out = tmp_path / "sim.hdf5"
    with pytest.raises(DatasetError, match=r"(?s)Episode 3 could not be made.*the arm fell off"):
        make(out, workers=1, recorders=recorder_that_fails_at_3)
    assert not out.exists()
    parts = Parts(parts_dir(out))
    assert [parts.finished(number) for number in range(5)] == [True, True, True, False, False]
    untouched = parts.path(0).stat().st_mtime_ns

    def watch(part, done, total):
        if done < total:
            assert parts.path(0).stat().st_mtime_ns == untouched
        told.append(done)

    told = []
    fill(CONFIG, 5, out, 2, watch, "", SOFTWARE, recorder)
    assert told == [3, 4, 5]
    make(tmp_path / "straight.hdf5")
    assert_equal_content(out, tmp_path / "straight.hdf5")


def test_half_written_episodes_are_made_again(tmp_path):
    out = tmp_path / "sim.hdf5"
    with pytest.raises(DatasetError):
        make(out, workers=1, recorders=recorder_that_fails_at_3)
    (parts_dir(out) / "episode_000003.999.tmp").write_bytes(b"half an epi")
    make(out)
    make(tmp_path / "straight.hdf5")
    assert_equal_content(out, tmp_path / "straight.hdf5")


@pytest.mark.parametrize(
    ("config", "software", "named"),
    [
        (CONFIG.model_copy(update={"seed": 4}), SOFTWARE, "config.seed: 3 there, 4 now"),
        (CONFIG, {**SOFTWARE, "robosuite": "1"}, "software.robosuite: '0' there, '1' now"),
    ],
)
def test_refuses_to_mix_plans(tmp_path, config, software, named):
    out = tmp_path / "sim.hdf5"
    with pytest.raises(DatasetError):
        make(out, recorders=recorder_that_fails_at_3)
    with pytest.raises(DatasetError, match=named):
        make(out, config=config, software=software)


def test_a_plan_without_episodes_binds_nobody(tmp_path):
    out = tmp_path / "sim.hdf5"
    with pytest.raises(DatasetError):
        make(out, recorders=recorder_without_gl)
    assert make(out, software={**SOFTWARE, "gl": "other"})[-1] == (5, 5)


def test_a_worker_that_dies_is_reported(tmp_path):
    with pytest.raises(DatasetError, match="status -9"):
        make(tmp_path / "sim.hdf5", recorders=recorder_that_is_killed)


def test_a_workers_own_message_comes_through_alone(tmp_path):
    with pytest.raises(DatasetError) as caught:
        make(tmp_path / "sim.hdf5", recorders=recorder_without_gl)
    assert str(caught.value).endswith("could not be made: no OpenGL here")


def test_two_runs_do_not_share_a_folder(tmp_path):
    out = tmp_path / "sim.hdf5"
    parts_dir(out).mkdir()
    with open(parts_dir(out) / "lock", "w") as lock:
        fcntl.flock(lock, fcntl.LOCK_EX)
        with pytest.raises(DatasetError, match="in use"):
            make(out)
    assert make(out)[-1] == (5, 5)


def test_interrupt_leaves_a_resumable_state(tmp_path):
    out = tmp_path / "sim.hdf5"
    script = f"""
import sys
sys.path.insert(0, {str(Path(__file__).parents[2])!r})
from pathlib import Path
import tests.sim.test_generate as t
if __name__ == "__main__":
    t.fill(t.CONFIG, 50, Path({str(out)!r}), 2, lambda _, d, n: print(d, flush=True), "", t.SOFTWARE, t.slow_recorder)
"""
    (tmp_path / "run.py").write_text(script)
    run = subprocess.Popen(
        [sys.executable, tmp_path / "run.py"], stdout=subprocess.PIPE, stderr=subprocess.PIPE, start_new_session=True
    )
    assert run.stdout is not None
    for _ in range(4):  # told of three finished episodes
        run.stdout.readline()
    os.killpg(run.pid, signal.SIGINT)  # as a terminal does: to the parent and its workers
    _, errors = run.communicate(timeout=120)
    assert b"KeyboardInterrupt" in errors
    assert not out.exists()
    told = make(out, episodes=6)
    assert told[0][0] >= 3
    make(tmp_path / "straight.hdf5", episodes=6)
    assert_equal_content(out, tmp_path / "straight.hdf5")


def test_refuses_an_output_that_exists(tmp_path):
    out = tmp_path / "sim.hdf5"
    out.write_bytes(b"precious")
    with pytest.raises(DatasetError, match="exists"):
        generate(CONFIG, 1, out)
    assert out.read_bytes() == b"precious"
    with pytest.raises(DatasetError, match="got a folder"):
        generate(CONFIG, 1, tmp_path, overwrite=True)
    with pytest.raises(DatasetError, match="is not a folder, expected one to write"):
        generate(CONFIG, 1, tmp_path / "nowhere" / "sim.hdf5")
    with pytest.raises(DatasetError, match="at least 1"):
        generate(CONFIG, 0, tmp_path / "none.hdf5")


def test_missing_simulator_says_what_to_install(tmp_path, monkeypatch):
    monkeypatch.setattr(backend, "find_spec", lambda name: None)
    with pytest.raises(DatasetError, match=r"robosuite.*pip install 'genie-latent\[sim\]'"):
        generate(CONFIG, 1, tmp_path / "sim.hdf5")
    assert not list(tmp_path.iterdir())


def test_unsuitable_mujoco_is_named(monkeypatch):
    monkeypatch.setattr(backend, "find_spec", lambda name: object())
    monkeypatch.setattr(backend, "version", lambda name: "3.10.1")
    with pytest.raises(DatasetError, match=r"mujoco 3\.10\.1 does not work"):
        backend.require_packages()
    monkeypatch.setattr(backend, "version", lambda name: "3.9.0")
    backend.require_packages()


def test_the_users_own_gl_is_kept_and_none_is_explained(monkeypatch):
    monkeypatch.setenv("MUJOCO_GL", "glfw")
    assert backend.choose_gl() == "glfw"
    monkeypatch.delenv("MUJOCO_GL")
    monkeypatch.setattr(backend.sys, "platform", "linux")
    monkeypatch.setattr(backend, "_loads", lambda library: library == "EGL")
    assert backend.choose_gl() == "egl"
    monkeypatch.setattr(backend, "_loads", lambda library: False)
    with pytest.raises(DatasetError, match="libosmesa6"):
        backend.choose_gl()


def test_split_is_a_tenth_and_everything_once():
    parts = split(seed=1, episodes=300)
    assert len(parts["valid"]) == 30
    assert sorted(parts["train"] + parts["valid"]) == list(range(300))
    assert parts == split(seed=1, episodes=300)
    assert len(split(seed=1, episodes=2)["valid"]) == 1


def test_importing_needs_no_simulator():
    code = "import sys, genie_core.sim; print([m for m in ('robosuite', 'mujoco', 'torch', 'cv2') if m in sys.modules])"
    run = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, cwd=Path(__file__).parents[2])
    assert run.stdout.strip() == "[]", run.stderr


def test_command_says_what_is_wrong(tmp_path):
    app = typer.Typer()
    app.command()(make_data)
    (tmp_path / "there.hdf5").touch()
    taken = CliRunner().invoke(app, [str(tmp_path / "there.hdf5")])
    assert isinstance(taken.exception, GenieError)
    assert "exists: choose another name" in str(taken.exception)
    wrong = CliRunner().invoke(app, [str(tmp_path / "new.hdf5"), "--frames", "0"])
    assert isinstance(wrong.exception, GenieError)
    assert "frames" in str(wrong.exception)


def test_command_hands_every_option_on(tmp_path, monkeypatch):
    asked = []
    module = sys.modules["genie_core.sim.generate"]  # the package's attribute of that name is the function
    monkeypatch.setattr(module, "generate", lambda config, episodes, out, **_: asked.append(config))
    app = typer.Typer()
    app.command()(make_data)
    out = tmp_path / "new.hdf5"
    out.touch()  # only so that its size can be told
    plain = CliRunner().invoke(app, [str(out)])
    assert plain.exit_code == 0, plain.output
    options = "--azimuth -120:120 --elevation 60 --distance 1.8 --motion axes --motion smooth --speed 0.3:1"
    options += " --distractors 2 --shake 1 --pan 0.25 --flicker 0.05 --depth --flow --no-shadows --mesh-faces 300"
    options += " --supersample 1 --physics-step-ms 5 --robot Sawyer"
    chosen = CliRunner().invoke(app, [str(out), *options.split()])
    assert chosen.exit_code == 0, chosen.output
    assert asked == [
        SimConfig(),
        SimConfig(
            robot="Sawyer",
            azimuth=(-120, 120),
            elevation=(60, 60),
            distance=(1.8, 1.8),
            motions=("axes", "smooth"),
            speed=(0.3, 1),
            distractors=2,
            shake_px=1,
            pan_px=0.25,
            flicker=0.05,
            depth=True,
            flow=True,
            shadows=False,
            mesh_faces=300,
            supersample=1,
            physics_step_ms=5,
        ),
    ]


@pytest.mark.parametrize(
    ("options", "said"),
    [
        ("--azimuth left", r"--azimuth: got 'left', expected a number or LOW:HIGH"),
        ("--elevation 20:90", r"elevation: .*expected a range, lower end first, within 0 to 80"),
        ("--motion dance", r"motions.*'axes'"),
        ("--robot GR1ArmsOnly --motion script", r"got script of GR1ArmsOnly, expected axes, mixed, smooth or play"),
        ("--physics-step-ms 3", r"physics_step_ms: .*2, 4 or 5"),
    ],
)
def test_command_names_the_option_that_is_wrong(tmp_path, options, said):
    app = typer.Typer()
    app.command()(make_data)
    wrong = CliRunner().invoke(app, [str(tmp_path / "new.hdf5"), *options.split()])
    assert isinstance(wrong.exception, GenieError)
    assert re.search(said, str(wrong.exception))


def test_physics_that_always_blows_up_is_an_error_and_no_data(monkeypatch):
    draws = []
    monkeypatch.setattr(sim_episode, "_record", lambda *arguments: draws.append(arguments[-1]))
    with pytest.raises(DatasetError, match=r"physics_step_ms: got 5, .*unstable in all 10 draws"):
        sim_episode.record(None, None, SimConfig(physics_step_ms=5), 0)  # type: ignore[arg-type]  # never reached
    assert draws == list(range(1, 11))
