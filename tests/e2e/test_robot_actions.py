"""Simulation by the robot's own actions, end to end: label, `genie align`, then ask what actions would do."""

from __future__ import annotations

import asyncio
import json
import shutil
from collections.abc import Iterator
from pathlib import Path

import h5py
import numpy as np
import pytest

from genie_client import AsyncClient, Client, ModelError, OutOfRangeWarning, RequestError, trusted_frames
from genie_client.embedded import embedded_server
from genie_client.prompt import Moment
from genie_client.records import HostedAlignment
from genie_client.robot_actions import encoding_alignment, read_robot_actions
from genie_core.alignment import load_alignment
from genie_core.bundles import shipped
from genie_core.data import open_dataset
from genie_core.errors import DatasetError
from genie_core.inference.confidence import Calibration, write_calibration
from genie_core.models.bundle import CONFIDENCE, read_bundle_info
from tests.factories.data import make_robomimic
from tests.factories.squares import make_squares
from tests.support.processes import Genie

RIGHT, LEFT = np.array([0.0, 4.0]), np.array([0.0, -4.0])
"""Actions are the square's motion: y and x in pixels."""


@pytest.fixture(scope="module")
def models(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """The shipped model that moves frames, in a folder that can be written to."""
    folder = tmp_path_factory.mktemp("models")
    shutil.copytree(shipped("motion"), folder / "motion")
    return folder


@pytest.fixture(scope="module")
def data(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return make_squares(tmp_path_factory.mktemp("data") / "sq.hdf5", episodes=6, frames=30, size=64)


@pytest.fixture(scope="module")
def server(models: Path) -> Iterator[str]:
    with pytest.MonkeyPatch.context() as patch:
        patch.setenv("OMP_NUM_THREADS", "1")
        with embedded_server(models) as address:
            yield address


@pytest.fixture
def aligned(genie: Genie, server: str, models: Path, data: Path) -> Path:
    """The alignment `sq`, made once, while the server runs."""
    path = models / "motion" / "alignments" / "sq.safetensors"
    if not path.exists():
        labelled = data.with_name("sq.labelled.hdf5")
        genie.run("label", data, "--step", "1", "--server", server)
        words = ("--bundle", models / "motion", "--name", "sq", "--seeds", "1", "--budgets", "50")
        genie.run("align", labelled, *words, "--supervised-steps", "0", "--no-mlp")
    return path


def centre_x(frame: np.ndarray) -> float:
    """Where the bright square is, pixels from the left."""
    bright = frame.astype(float).mean(axis=2)
    bright = np.maximum(bright - 90, 0)
    return float((bright.sum(axis=0) * np.arange(frame.shape[1])).sum() / bright.sum())


def test_the_robots_own_actions_move_what_they_moved_in_the_video(server: str, data: Path, aligned: Path) -> None:
    prompt = open_dataset(data).episodes[1].frames(5, 6)
    with Client(server) as client:
        (alignment,) = client.model().alignments
        assert (alignment.encodes, alignment.reduce, alignment.step) == (True, "mean", 1)
        assert alignment.action_low == (-3, -3)
        right = client.rollout(prompt, robot_actions=[RIGHT * 0.7] * 3, alignment="sq")
        left = client.rollout(prompt, robot_actions=[LEFT * 0.7] * 3, alignment="sq")
        both = client.branch(prompt, robot_actions=[[RIGHT * 0.7] * 3, [LEFT * 0.7] * 3], alignment="sq")
        with client.play(prompt, alignment="sq") as session:
            played = [session.step(robot_action=RIGHT * 0.7) for _ in range(3)]
    assert centre_x(right[-1]) > centre_x(prompt[0]) + 0.5 > centre_x(prompt[0]) - 0.5 > centre_x(left[-1])
    np.testing.assert_array_equal(both, [right, left])
    np.testing.assert_array_equal(played, right)

    async def ask() -> np.ndarray:
        async with AsyncClient(server) as client:
            return await client.rollout(prompt, robot_actions=[RIGHT * 0.7] * 3, alignment="sq")

    np.testing.assert_array_equal(asyncio.run(ask()), right)


def test_actions_are_encoded_as_the_alignment_does_from_the_frame_they_begin_in(
    server: str, models: Path, data: Path, aligned: Path
) -> None:
    prompt = open_dataset(data).episodes[0].frames(2, 3)
    loaded = load_alignment(aligned, read_bundle_info(models / "motion"))
    actions, frame, latents = np.array([[1.0, 2.0], [-2.0, 0.5]]), prompt, []
    with Client(server) as client:
        by_robot = client.rollout(prompt, robot_actions=actions, alignment="sq")
        for action, after in zip(actions, by_robot, strict=True):
            latents.append(loaded.encode(action[None], frame)[0][0])
            frame = after[None]
        np.testing.assert_array_equal(client.rollout(prompt, latents=np.array(latents)), by_robot)


def test_actions_out_of_range_are_taken_as_they_are_and_told(server: str, data: Path, aligned: Path) -> None:
    prompt = open_dataset(data).episodes[0].frames(0, 1)
    far = np.array([[1.0, 1.0], [1.0, 50.0], [-9.0, 60.0]])
    with Client(server) as client:
        with pytest.warns(OutOfRangeWarning, match=r"robot action 1: action\[1\] of it lies beyond the range"):
            steps = list(client.rollout_steps(prompt, robot_actions=far, alignment="sq"))
        assert [step.out_of_range for step in steps] == [(), (1,), (0, 1)]
        with pytest.warns(OutOfRangeWarning):
            nearer = client.rollout(prompt, robot_actions=[[1.0, 1.0], [1.0, 3.5]], alignment="sq")
        assert not np.array_equal(nearer[1], steps[1].frame_HWC)  # not clipped to the range, which ends at 3
        with pytest.warns(OutOfRangeWarning, match="branches 1"):
            client.branch(prompt, robot_actions=[far[:1], far[1:2]], alignment="sq")
        with client.play(prompt, alignment="sq") as session:
            session.step(robot_action=[0.0, 0.0])
            assert session.newest is not None
            assert session.newest.out_of_range == ()
            with pytest.warns(OutOfRangeWarning):
                session.step(robot_action=[0.0, 9.0])
            assert session.newest.out_of_range == (1,)


def test_bad_robot_actions_are_refused_by_name(server: str, data: Path, aligned: Path) -> None:
    prompt = open_dataset(data).episodes[0].frames(0, 1)
    with Client(server) as client:
        with pytest.raises(RequestError, match=r"robot_actions.*start\.alignment"):
            client.rollout(prompt, robot_actions=[RIGHT])
        with pytest.raises(RequestError, match=r"start\.alignment.*'can'.*sq"):
            client.rollout(prompt, robot_actions=[RIGHT], alignment="can")
        with pytest.raises(RequestError, match=r"expected 1 to \d+ actions of 8 bytes"):
            client.rollout(prompt, robot_actions=[[1.0, 2.0, 3.0]], alignment="sq")
        for wrong in ([RIGHT, [np.nan, 0]], RIGHT, [], [["a", "b"]]):
            with pytest.raises(RequestError, match="robot_actions"):
                client.rollout(prompt, robot_actions=wrong, alignment="sq")
        with pytest.raises(RequestError, match="got codes and robot actions"):
            client.rollout(prompt, [1], robot_actions=[RIGHT], alignment="sq")
        with client.play(prompt, alignment="sq") as session, pytest.raises(RequestError, match="either a code"):
            session.step(1, robot_action=RIGHT)


def test_the_command_line_reads_arrays_tables_and_episodes(
    genie: Genie, server: str, data: Path, aligned: Path
) -> None:
    actions = open_dataset(data).episodes[2].actions
    assert actions is not None
    np.save(genie.folder / "own.npy", actions[4:8])
    rows = [",".join(map(repr, row)) for row in actions[4:8].tolist()]
    (genie.folder / "own.csv").write_text("\n".join(["y,x", *rows]))
    start = ("simulate", "--prompt", data, "--episode", "demo_2", "--frame", "4", "--server", server)
    for source, out in (("own.npy", "a.mp4"), ("own.csv", "b.mp4"), (data, "c.mp4")):
        said = genie.run(*start, "--robot-actions", source, "--length", "4", "--out", out)
        assert "4 frames in" in said
        assert [f["out_of_range"] for f in json.loads((genie.folder / f"{out}.json").read_text())["frames"]] == [[]] * 4
    np.save(genie.folder / "far.npy", [[0.0, 1.0], [0.0, 99.0]])
    code, _, told = genie.call(*start, "--robot-actions", "far.npy", "--alignment", "sq", "--out", "d.mp4")
    assert code == 0
    assert "1 of 2 robot actions lie beyond the alignment's range, the first (action[1]) before frame 2" in told
    notes = json.loads((genie.folder / "d.mp4.json").read_text())
    assert notes["frames"][1]["out_of_range"] == ["action[1]"]
    assert "--alignment" in genie.fail(*start, "--actions", "1", "--alignment", "sq", "--out", "e.mp4").replace(
        "alignment: is for --robot-actions", "--alignment"
    )
    assert "expected the name of one of motion's" in genie.fail(
        *start, "--robot-actions", "far.npy", "--alignment", "can", "--out", "e.mp4"
    )


def test_actions_of_an_episode_are_reduced_as_the_alignment_was(tmp_path: Path) -> None:
    data = make_robomimic(tmp_path / "a.hdf5", episodes=1, frames=20, size=8)
    with h5py.File(data) as file:
        raw = file["data/demo_0/actions"][:]
    alignment = HostedAlignment("arm", "f" * 64, tuple("abcdefg"[: raw.shape[1]]), 3, reduce="mean", encodes=True)
    read = read_robot_actions(data, alignment, Moment(None, 2))
    np.testing.assert_allclose(read, [raw[t : t + 3].mean(axis=0) for t in range(2, 20, 3)], rtol=1e-6)
    change = HostedAlignment("arm", "f" * 64, alignment.action_names, 3, reduce="change", encodes=True)
    np.testing.assert_allclose(
        read_robot_actions(data, change, Moment(None, 2)), raw[5:20:3] - raw[2:17:3], rtol=1e-4, atol=1e-6
    )


@pytest.mark.parametrize("text", ["1,2\n3\n", "a,b\nc,d\n", "1,2\n3,nan\n", "", "1\n2\n"])
def test_a_table_of_something_else_is_refused(tmp_path: Path, text: str) -> None:
    path = tmp_path / "own.csv"
    path.write_text(text)
    alignment = HostedAlignment("sq", "f" * 64, ("y", "x"), 1, reduce="mean", encodes=True)
    with pytest.raises(DatasetError, match=r"own\.csv"):
        read_robot_actions(path, alignment, Moment())


def test_an_alignment_that_only_decodes_is_named(server: str, aligned: Path) -> None:
    with Client(server) as client:
        info = client.model()
    assert encoding_alignment(info, None).name == "sq"
    with pytest.raises(ModelError, match="got can, expected the name of one of motion's"):
        encoding_alignment(info, "can")


def test_confidence_comes_with_each_frame_where_it_was_asked_for(
    genie: Genie, server: str, models: Path, data: Path, aligned: Path
) -> None:
    prompt = open_dataset(data).episodes[0].frames(0, 1)
    info = read_bundle_info(models / "motion")
    with Client(server) as client:
        assert not client.model().calibrated
        with pytest.raises(RequestError, match="was not calibrated on real futures"):
            client.rollout(prompt, [1], confidence=True)
        made = Calibration(
            bundle_id=info.bundle_id,
            intercept=-1.0,
            weights=(4.0, 0.0, -3.0),
            data="sq",
            rollouts=1,
            episodes=1,
            created="",
        )
        write_calibration(info, made)  # while the server runs
        try:
            steps = list(client.rollout_steps(prompt, [1] * 4, confidence=True))
            confidences = [step.confidence for step in steps]
            assert all(c is not None and 0 < c < 1 for c in confidences)
            assert [step.frame_HWC.tolist() for step in steps] == client.rollout(prompt, [1] * 4).tolist()
            assert [s.confidence for s in client.rollout_steps(prompt, [1] * 4)] == [None] * 4
            with client.play(prompt, confidence=True) as session:
                for wanted in confidences:
                    session.step(1)
                    assert session.newest is not None
                    assert session.newest.confidence == wanted
            start = ("simulate", "--prompt", data, "--actions", "1,1,1,1", "--server", server)
            said = genie.run(*start, "--out", "sure.mp4", "--confidence")
            notes = json.loads((genie.folder / "sure.mp4.json").read_text())
            assert [f["confidence"] for f in notes["frames"]] == confidences
            assert f"trust the first {notes['trusted_frames']} of 4 frames" in said
            assert notes["trusted_frames"] == trusted_frames(confidences) < 4
        finally:
            (info.path / CONFIDENCE).unlink()


def test_frames_are_trusted_up_to_the_first_that_is_not() -> None:
    assert trusted_frames([0.9, 0.85, 0.5, 0.99]) == 2
    assert trusted_frames([0.9, 0.9]) == 2
    assert trusted_frames([None, 0.9]) == 0
    assert trusted_frames([0.6, 0.9], least=0.5) == 2
