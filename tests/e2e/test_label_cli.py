"""`genie label` as users run it, against a real server: what it writes, what it refuses, and how it survives a stop."""

from __future__ import annotations

import os
import re
import signal
from pathlib import Path

import h5py
import numpy as np
import pytest

from genie_core.data import open_labelled
from tests.factories.bundles import make_motion_bundle
from tests.factories.data import make_robomimic, make_video
from tests.support.processes import Genie, free_port, server_process
from tests.support.service_server import serving
from tests.support.waiting import wait_until

NOBODY = "127.0.0.1:1"
SLOW = 600
"""Frames a second that a server takes of a client, so that it is stopped half way however late this process looks."""


@pytest.fixture
def data(tmp_path: Path) -> Path:
    return make_robomimic(tmp_path / "lift.hdf5", episodes=3, frames=20)


@pytest.fixture
def long_data(tmp_path: Path) -> Path:
    """Enough to be stopped half way, at `SLOW` frames a second."""
    return make_robomimic(tmp_path / "long.hdf5", episodes=20, frames=150, size=32)


def latents(path: Path) -> dict[str, np.ndarray]:
    labelled = open_labelled(path)
    return {name: labelled.labels(name)[0].latent for name in labelled.episodes}


def assert_same_labels(path: Path, other: Path) -> None:
    expected = latents(other)
    assert list(latents(path)) == list(expected)
    for name, latent in latents(path).items():
        np.testing.assert_array_equal(latent, expected[name])


def finished_episodes(output: Path) -> int:
    return len(list(output.with_name(f"{output.name}.parts").glob("*.hdf5")))


def test_labels_lie_beside_the_source_and_the_summary_says_what_was_done(
    genie_process: Genie, server: str, data: Path
) -> None:
    said = genie_process.run("label", data, "--server", server)
    labelled = open_labelled(data.with_name("lift.labelled.hdf5"))
    labels, attrs = labelled.labels("demo_1")
    assert labelled.episodes == ("demo_0", "demo_1", "demo_2")
    assert (len(labels), labels.valid.sum(), attrs.step, attrs.fps) == (20, 19, 1, 10)
    assert labelled.model.codebook.shape == (8, 8)
    for words in ("3 of 3 labelled", "frames/s", "57", "code", "nano", "lift.labelled.hdf5"):
        assert words in said
    assert "the model sees" not in said


def test_several_episodes_in_flight_give_the_same_labels(genie: Genie, server: str, data: Path, tmp_path: Path) -> None:
    genie.run("label", data, "--server", server, "--out", tmp_path / "one.hdf5")
    genie.run(
        "label", data, "--server", server, "--out", tmp_path / "three.hdf5", "--jobs", "3", "--keep-frames", "copy"
    )
    assert_same_labels(tmp_path / "three.hdf5", tmp_path / "one.hdf5")


def test_an_embedded_server_is_started_where_none_is_named(genie: Genie, models_folder: Path, data: Path) -> None:
    genie.run("label", data, "--models", models_folder, "--in-place", "--density", "strided", "--step", "3")
    labels, attrs = open_labelled(data).labels("demo_0")
    assert (attrs.step, attrs.density) == (3, "strided")
    assert labels.valid[[0, 3, 6]].all()
    assert not labels.valid[[1, 2, 19]].any()


def test_video_is_labelled_with_its_frames_at_the_models_size(genie: Genie, server: str, tmp_path: Path) -> None:
    folder = tmp_path / "clips"
    folder.mkdir()
    make_video(folder / "a.mp4", frames=25, size=(48, 64), fps=25)
    make_video(folder / "b.mp4", frames=12, size=(36, 64), fps=10)
    said = genie.run("label", folder, "--server", server, "--jobs", "2")
    labelled = open_labelled(tmp_path / "clips.labelled.hdf5")
    episode = labelled.episode("demo_0")
    assert episode is not None
    assert episode.frames().shape == (25, 32, 32, 3)
    assert [labelled.labels(name)[1].step for name in labelled.episodes] == [3, 1]
    assert "warning: with step 3 the model sees 8.33 frames/s, 17% slower" in " ".join(said.split())


def test_an_output_that_exists_is_kept_resumed_or_replaced_as_asked(genie: Genie, server: str, data: Path) -> None:
    output = data.with_name("lift.labelled.hdf5")
    genie.run("label", data, "--server", server)
    before = output.read_bytes()
    assert "is complete: it holds these labels of all 3 episodes" in genie.run("label", data, "--server", server)
    assert "exists already" in genie.fail("label", data, "--server", server, "--step", "3")
    assert output.read_bytes() == before
    assert "3 of them by an earlier run" in genie.run("label", data, "--server", server, "--resume")
    genie.run("label", data, "--server", server, "--overwrite", "--step", "2")
    assert open_labelled(output).labels("demo_0")[1].step == 2


def test_a_server_that_is_killed_and_started_again_half_way_costs_nothing(
    genie_process: Genie, models_folder: Path, server: str, long_data: Path, tmp_path: Path
) -> None:
    output, port = long_data.with_name("long.labelled.hdf5"), free_port()
    with server_process(models_folder, port, "--max-frames-per-second", str(SLOW)) as (process, address):
        labelling = genie_process.start("label", long_data, "--server", address, "--jobs", "1")
        wait_until(lambda: finished_episodes(output) >= 3)
        process.kill()
    assert labelling.stderr is not None
    waiting = labelling.stderr.readline()  # the server stays away until that is noticed
    with server_process(models_folder, port):
        out, err = labelling.communicate(timeout=300)
    assert labelling.returncode == 0, err
    assert "20 of 20 labelled" in out
    wanted = rf"waiting for the server: it is gone \(\d+ of 600 s\): the server at {address} went away while labelling"
    assert re.search(wanted, waiting), waiting
    assert err.splitlines()[-1] == "going on"
    genie_process.run("label", long_data, "--server", server, "--out", tmp_path / "at-once.hdf5")
    assert_same_labels(output, tmp_path / "at-once.hdf5")
    assert not output.with_name(f"{output.name}.parts").exists()


def test_an_embedded_server_that_dies_is_not_waited_for(
    genie_process: Genie, models_folder: Path, long_data: Path
) -> None:
    output = long_data.with_name("long.labelled.hdf5")
    labelling = genie_process.start("label", long_data, "--models", models_folder)
    wait_until(lambda: finished_episodes(output) >= 2)
    children = Path(f"/proc/{labelling.pid}/task/{labelling.pid}/children").read_text().split()
    (server,) = [child for child in children if b"genie_service" in Path(f"/proc/{child}/cmdline").read_bytes()]
    os.kill(int(server), signal.SIGKILL)
    _, err = labelling.communicate(timeout=300)
    assert labelling.returncode == 2
    assert "error: the embedded server has ended, exit code -9" in err
    assert "of 20 episodes are finished; the same command goes on from there" in err


def test_ctrl_c_keeps_what_is_finished(genie_process: Genie, models_folder: Path, server: str, long_data: Path) -> None:
    output = long_data.with_name("long.labelled.hdf5")
    with serving(models_folder, max_frames_per_second=SLOW) as slow:
        labelling = genie_process.start("label", long_data, "--server", slow.server.address, "--jobs", "2")
        wait_until(lambda: finished_episodes(output) >= 2)
        labelling.send_signal(signal.SIGINT)
        _, err = labelling.communicate(timeout=300)
    assert labelling.returncode == 130
    assert f"stopped: {finished_episodes(output)} of 20 episodes are finished" in err
    assert "Traceback" not in err
    genie_process.run("label", long_data, "--server", server)
    assert len(open_labelled(output).episodes) == 20


def test_bad_episodes_stop_the_run_or_are_left_out_and_named(genie: Genie, server: str, data: Path) -> None:
    with h5py.File(data, "a") as file:
        frames = file["data/demo_1/obs/agentview_image"][:1]
        del file["data/demo_1/obs/agentview_image"]
        file["data/demo_1/obs/agentview_image"] = frames
    err = genie.fail("label", data, "--server", server)
    assert "demo_1: got 1 frame, expected at least 2" in err
    assert "--skip-bad" in err
    said = genie.run("label", data, "--server", server, "--skip-bad")
    assert "2 of 3 labelled" in said
    assert "left out demo_1" in said
    again = " ".join(genie.run("label", data, "--server", server, "--skip-bad").split())
    assert "is complete: it holds these labels of 2 of 3 episodes" in again
    assert "left out demo_1:" in again
    assert "exists already" in genie.fail("label", data, "--server", server)


def test_a_damaged_video_is_left_out_and_named(genie: Genie, server: str, tmp_path: Path) -> None:
    folder = tmp_path / "clips"
    folder.mkdir()
    make_video(folder / "good.mp4", frames=12)
    whole = make_video(folder / "torn.mkv", frames=60).read_bytes()
    (folder / "torn.mkv").write_bytes(whole[: len(whole) // 2])
    assert "torn.mkv" in genie.fail("label", folder, "--server", server)
    assert "left out torn" in genie.run("label", folder, "--server", server, "--skip-bad")


def test_what_cannot_be_done_is_said_in_one_line(genie: Genie, server: str, data: Path, tmp_path: Path) -> None:
    assert f"no server at {NOBODY} (start one with `genie serve`)" in genie.fail("label", data, "--server", NOBODY)
    assert "the cameras are: agentview_image" in genie.fail("label", data, "--server", server, "--camera", "wrist")
    assert "there is no model 'big'; there are: nano" in genie.fail("label", data, "--server", server, "--model", "big")
    assert "no such file" in genie.fail("label", tmp_path / "nothing.hdf5", "--server", server)
    assert "choose one" in genie.fail("label", data, "--server", server, "--resume", "--overwrite")
    unknown_rate = make_robomimic(tmp_path / "unknown.hdf5", episodes=1, fps=None)
    assert "frame rate" in genie.fail("label", unknown_rate, "--server", server)
    genie.run("label", unknown_rate, "--server", server, "--fps", "10", "--overwrite")


@pytest.fixture(scope="module")
def motion_models(tmp_path_factory: pytest.TempPathFactory) -> Path:
    folder = tmp_path_factory.mktemp("motion-models")
    make_motion_bundle(folder / "motion", usual_norm=1e-3)
    return folder


def test_the_step_is_found_on_the_data_stated_stored_and_kept(genie: Genie, motion_models: Path, data: Path) -> None:
    output = data.with_name("lift.labelled.hdf5")
    words = ("label", data, "--models", motion_models, "--model", "motion")
    said = genie.run(*words)
    assert "step: 1 frames of 10 frames/s, 0.1 s: the shortest at which motion is as large as in the model's" in said
    assert "warning" not in said
    labelled = open_labelled(output)
    assert {(a.step, a.step_policy) for a in map(labelled.labels_attrs, labelled.episodes)} == {(1, "auto")}
    with h5py.File(output, "r+") as file:  # as if another version had found another step
        for demo in list(file["data"])[1:]:
            del file[f"data/{demo}"]
        file["data/demo_0/latent_actions"].attrs["step"] = 3
        del file["data/demo_0/latent_actions"].attrs["sha256"]
    assert "as an earlier run found" in genie.run(*words, "--resume")
    labelled = open_labelled(output)
    assert [labelled.labels_attrs(name).step for name in labelled.episodes] == [3, 3, 3]


def test_inspect_says_which_step_would_be_found(genie: Genie, data: Path) -> None:
    assert "step: 1 frames of 10 frames/s, 0.1 s" in genie.run("inspect", data, "--step")


def test_a_step_of_one_s_own_is_given_or_from_the_rates(genie: Genie, server: str, data: Path) -> None:
    genie.run("label", data, "--server", server, "--step", "rates")
    assert open_labelled(data.with_name("lift.labelled.hdf5")).labels_attrs("demo_0").step_policy == "rates"
    assert "latents of nano have unit length" in genie.fail(
        "label", data, "--server", server, "--overwrite", "--step", "auto"
    )
