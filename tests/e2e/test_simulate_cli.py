"""`genie simulate`, `genie models` and `genie view` as users run them, against a real server."""

from __future__ import annotations

import re
from collections.abc import Iterator
from pathlib import Path

import av
import h5py
import numpy as np
import pytest

from genie_client.embedded import embedded_server
from genie_client.prompt import Moment
from genie_client.replay import read_replay
from genie_core.bundles import models_dir
from genie_core.data import encode_image, open_dataset, open_labelled
from tests.factories.data import make_frames, make_robomimic, make_video
from tests.support.processes import Genie


@pytest.fixture
def picture(tmp_path: Path) -> Path:
    path = tmp_path / "scene.png"
    path.write_bytes(encode_image(make_frames(1, 48, 64)[0]))
    return path


def video_frames(path: Path) -> np.ndarray:
    (episode,) = open_dataset(path).episodes
    return episode.frames()


def mean_difference(one: np.ndarray, other: np.ndarray) -> float:
    """Of 8-bit pixels. x264 gives other bytes for the same pictures now and then: those are within 1 on average."""
    assert one.shape == other.shape
    return float(np.abs(one.astype(int) - other).mean())


def test_a_picture_and_actions_make_a_video_and_a_recording(genie: Genie, server: str, picture: Path) -> None:
    said = genie.run(
        "simulate", "--prompt", picture, "--actions", "3,3,3,1", "--out", "x.mp4", "--save", "x.rrd", "--server", server
    )
    assert "4 frames in" in said
    assert video_frames(genie.folder / "x.mp4").shape == (5, 32, 32, 3)
    with av.open(str(genie.folder / "x.mp4")) as container:
        assert container.streams.video[0].average_rate == 10
    assert (genie.folder / "x.rrd").stat().st_size > 0


def test_the_same_seed_gives_the_same_video(genie: Genie, server: str, picture: Path) -> None:
    for name, seed in (("a.mp4", "1"), ("b.mp4", "1"), ("c.mp4", "2")):
        genie.run(
            "simulate", "--prompt", picture, "--actions", "0,1", "--out", name, "--seed", seed, "--server", server
        )
    same, again, other = (video_frames(genie.folder / name) for name in ("a.mp4", "b.mp4", "c.mp4"))
    assert mean_difference(same, again) < 2 < mean_difference(same, other)


def test_a_moment_of_a_dataset_is_a_prompt_with_its_past(genie: Genie, server: str, tmp_path: Path) -> None:
    data = make_robomimic(tmp_path / "lift.hdf5", frames=20)
    clip = make_video(tmp_path / "clip.mp4", frames=40, fps=20)
    words = ("--actions", "1", "--out", "x.mp4", "--overwrite", "--server", server)
    more = ("--save", "x.rrd", "--counterfactuals")
    genie.run("simulate", "--prompt", data, "--episode", "demo_1", "--frame", "9", *words, *more)
    assert len(video_frames(genie.folder / "x.mp4")) == 4 + 1
    from tests.support.recordings import entities  # skips what needs a Rerun that reads its own files

    shown = entities(genie.folder / "x.rrd")
    assert {"/future", "/error/simulated", "/error/action_7", "/videos/action_7/frame"} <= shown
    genie.run("simulate", "--prompt", clip, "--frame", "2", *words)
    assert len(video_frames(genie.folder / "x.mp4")) == 2 + 1


@pytest.fixture
def motion_server() -> Iterator[str]:
    """The shipped model that moves frames: an untrained one draws the same whatever the latents are."""
    with embedded_server(models_dir() / "motion") as address:
        yield address


def name_another(node: h5py.Group | h5py.Dataset) -> None:
    """Let labels say that another bundle made them."""
    if "bundle_id" in node.attrs:
        node.attrs["bundle_id"] = "0" * 64


def test_the_latents_of_a_labelled_episode_are_replayed(genie: Genie, motion_server: str, tmp_path: Path) -> None:
    data = make_robomimic(tmp_path / "lift.hdf5", frames=9)
    genie.run("label", data, "--step", "1", "--server", motion_server)
    labels, _ = open_labelled(tmp_path / "lift.labelled.hdf5").labels("demo_1")
    np.save(tmp_path / "own.npy", labels.latent[3:7])
    start = ("--prompt", data, "--episode", "demo_1", "--frame", "3", "--server", motion_server)
    genie.run("simulate", *start, "--latents", "lift.labelled.hdf5", "--length", "4", "--out", "a.mp4")
    genie.run("simulate", *start, "--latents", "own.npy", "--out", "b.mp4")
    replayed = video_frames(genie.folder / "a.mp4")
    assert len(replayed) == 4 + 4  # frames 0 to 3 are the prompt
    np.save(tmp_path / "other.npy", -labels.latent[3:7])
    genie.run("simulate", *start, "--latents", "other.npy", "--out", "other.mp4")
    own, other = (video_frames(genie.folder / name)[4:] for name in ("b.mp4", "other.mp4"))
    assert mean_difference(replayed[4:], own) < 2 < mean_difference(replayed[4:], other)
    genie.run("simulate", *start, "--latents", "lift.labelled.hdf5", "--out", "c.mp4")
    assert len(video_frames(genie.folder / "c.mp4")) == 4 + 5  # up to the last transition
    with h5py.File(tmp_path / "lift.labelled.hdf5", "r+") as file:
        file["data/demo_1/latent_actions"].attrs["source_name"] = "episode_000001"  # as if LeRobot had been labelled
    by_source = read_replay(tmp_path / "lift.labelled.hdf5", Moment("episode_000001", 3), 4)
    np.testing.assert_array_equal(by_source.latent_TD, labels.latent[3:7])
    with h5py.File(tmp_path / "lift.labelled.hdf5", "r+") as file:
        name_another(file)
        file.visititems(lambda _, node: name_another(node))
    assert "expected the bundle that labelled lift.labelled.hdf5" in genie.fail(
        "simulate", *start, "--latents", "lift.labelled.hdf5", "--out", "d.mp4"
    )
    assert "expected one of --actions, --latents and" in genie.fail("simulate", *start, "--out", "d.mp4")
    np.save(tmp_path / "flat.npy", labels.latent[0])
    assert "expected latents" in genie.fail("simulate", *start, "--latents", "flat.npy", "--out", "d.mp4")


def test_moved_frames_have_the_size_of_their_prompt_unless_another_is_asked_for(
    genie: Genie, motion_server: str, server: str, tmp_path: Path
) -> None:
    picture = tmp_path / "scene.png"
    picture.write_bytes(encode_image(make_frames(1, 601, 900)[0]))

    def size(name: str, *words: str, at: str = motion_server) -> tuple[int, ...]:
        genie.run("simulate", "--prompt", picture, "--actions", "1,1", "--out", name, "--server", at, *words)
        return video_frames(genie.folder / name).shape[1:3]

    assert size("auto.mp4") == (452, 678)  # 640 x 480 pixels, or as good as that
    assert size("own.mp4", "--size", "model") == (64, 64)
    assert size("other.mp4", "--size", "46x62") == (46, 62)
    assert size("tokens.mp4", "--steps", "3") == (64, 64)
    assert size("drawn.mp4", at=server) == (32, 32)
    start = ("simulate", "--prompt", picture, "--actions", "1", "--out", "x.mp4", "--server")
    assert "got 'large', expected auto, model or HEIGHTxWIDTH" in genie.fail(*start, server, "--size", "large")
    assert "the only size that nano simulates" in genie.fail(*start, server, "--size", "48x48")


def test_what_cannot_be_simulated_is_said_in_one_line(genie: Genie, server: str, picture: Path) -> None:
    def fail(*words: str | Path) -> str:
        return genie.fail("simulate", "--prompt", picture, "--out", "x.mp4", "--server", server, *words)

    assert "latent action 9 is out of range, expected 0 to 7" in fail("--actions", "1,9")
    assert "got '1;2', expected latent action codes" in fail("--actions", "1;2")
    assert "there is no model 'big'" in fail("--actions", "1", "--model", "big")
    (genie.folder / "x.mp4").touch()
    assert "x.mp4 exists" in fail("--actions", "1")
    assert (genie.folder / "x.mp4").stat().st_size == 0


def test_models_are_listed(genie: Genie, server: str) -> None:
    said = genie.run("models", "--server", server)
    for words in ("nano (default)", "ready", "32 x 32", "213,552"):
        assert words in said


def test_what_the_device_has_done_is_shown(genie: Genie, server: str) -> None:
    said = genie.run("models", "--statistics", "--server", server)
    assert "nano/prepare" in said
    assert re.search(r"up \d+ s; \d+ of \d+ lanes? busy, \d+ pieces waiting; \d+ dropped", said)


def test_a_server_that_cannot_start_says_why(genie: Genie, tmp_path: Path) -> None:
    err = genie.fail("models", "--models", tmp_path / "nowhere")
    assert "the embedded server did not start" in err
    assert "nowhere" in err


def test_labelled_episodes_are_recorded_and_drawn(genie: Genie, server: str, tmp_path: Path) -> None:
    data = make_robomimic(tmp_path / "lift.hdf5", episodes=2)
    genie.run("label", data, "--server", server)
    said = genie.run("view", "lift.labelled.hdf5", "--save", "x.rrd", "--sheet", "x.png", "--episode", "1")
    assert "rerun x.rrd" in said
    assert (tmp_path / "x.rrd").exists()
    assert (tmp_path / "x.png").exists()
