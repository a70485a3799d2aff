"""`genie play` as a browser uses it, against a real server."""

from __future__ import annotations

import json
import socket
import urllib.error
from collections.abc import Iterator
from contextlib import ExitStack
from io import BytesIO
from pathlib import Path

import av
import h5py
import numpy as np
import pytest
from websockets.exceptions import ConnectionClosed, InvalidStatus

from genie_client import Client
from genie_client.prompt import Moment, read_prompt
from genie_core.alignment import save_alignment
from genie_core.data import encode_image, open_dataset, resize_frames
from genie_core.models.bundle import read_bundle_info
from tests.factories.alignment import make_alignment
from tests.factories.bundles import make_nano_bundle
from tests.factories.data import make_frames, make_robomimic
from tests.support.play_page import PlayPage, picture_of, playing
from tests.support.processes import Genie, server_process

FRAMES = 12


@pytest.fixture(scope="module")
def folder(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return tmp_path_factory.mktemp("play")


@pytest.fixture(scope="module")
def page(folder: Path, server: str) -> Iterator[PlayPage]:
    data = make_robomimic(folder / "lift.hdf5", frames=FRAMES)
    with playing(Genie(folder), "--prompt", data, "--server", server, "--seed", "3") as page:
        yield page


def test_the_page_and_its_files_are_served_and_nothing_else(page: PlayPage) -> None:
    assert b"play.js" in page.get("")
    assert b"WebSocket" in page.get("play.js")
    assert b"#screen" in page.get("play.css")
    about = json.loads(page.get("about"))
    assert [episode["frames"] for episode in about["episodes"]][:1] == [FRAMES]
    assert len(about["palette"]) == 8
    for path in ("../about", "page.py", "static/play.js", "..%2f..%2fpyproject.toml", "thumbnail/0/12", "save/x/0.mp4"):
        with pytest.raises(urllib.error.HTTPError) as error:
            page.get(path)
        assert error.value.code in (400, 404), path


def test_without_the_secret_or_under_another_name_nothing_is_answered(page: PlayPage) -> None:
    with pytest.raises(urllib.error.HTTPError, match="404"):
        PlayPage(f"http://{page.host}/", page.process).get("about")
    with pytest.raises(urllib.error.HTTPError, match="400"):
        page.get("about", Host="evil.example")  # a name that an attacker points at this machine
    with pytest.raises((InvalidStatus, ConnectionClosed)), page.game(origin="http://evil.example"):
        pass


def test_actions_lead_where_the_same_rollout_leads(page: PlayPage, server: str, folder: Path) -> None:
    (episode, *_) = open_dataset(folder / "lift.hdf5").episodes
    with page.game() as game, Client(server) as client:
        info = client.model()
        game.send(type="start")
        prompt = resize_frames(episode.frames(0, 1), *info.frame_size)
        np.testing.assert_array_equal(picture_of(game.receive("started")), prompt[0])
        at = [0]
        for code in (3, 3, 1):
            at.append(game.step(at[-1], code)["node"])
        branch = game.step(at[1], 5)
        assert branch["drawn"] == 2  # the way there is played again in a session of its own
        assert game.step(at[1], 3)["node"] == at[2]  # known: nothing is drawn
        assert game.step(at[1], 3)["drawn"] == 0
        assert game.step(at[3], 0)["drawn"] == 1  # the first branch goes on where it was
        np.testing.assert_array_equal(picture_of(branch), client.rollout(prompt, [3, 5], seed=3)[-1])


def test_what_was_played_is_saved_and_can_be_read_again(page: PlayPage, folder: Path) -> None:
    with page.game() as game:
        game.send(type="start", episode=1, frame=4)
        start = picture_of(game.receive("started"))
        last = game.step(game.step(0, 2)["node"], 6)
        video = page.get(f"save/{game.name}/{last['node']}.mp4")
        with av.open(BytesIO(video)) as container:
            assert sum(1 for _ in container.decode(video=0)) == 3
        assert page.get(f"save/{game.name}/{last['node']}.rrd").startswith(b"RR")
        saved = folder / "played.hdf5"
        saved.write_bytes(page.get(f"save/{game.name}/{last['node']}.hdf5"))
    (episode,) = open_dataset(saved).episodes
    frames = episode.frames()
    np.testing.assert_array_equal(frames[0], start)
    np.testing.assert_array_equal(frames[2], picture_of(last))
    assert episode.fps == 10
    with h5py.File(saved) as file:
        assert file["data/demo_0/played_code"][()].tolist() == [2, 6]


def test_a_picture_that_is_dropped_is_a_start_and_shows_what_each_code_does(page: PlayPage) -> None:
    with page.game() as game:
        game.socket.send(encode_image(make_frames(1, 48, 64)[0]))
        assert picture_of(game.receive("started")).shape == (32, 32, 3)
        previews = game.receive("previews")["png"]
        assert (len(previews), len(previews[0])) == (8, 2)


@pytest.mark.parametrize(
    ("message", "said"),
    [
        ("{", "message: got no JSON object"),
        ("[" * 100_000, "message: got no JSON object"),
        ('{"type": "jump"}', "type: got 'jump', expected start or step"),
        ('{"type": "step", "from": 0, "code": 1}', "action: got one before a start"),
        ('{"type": "start", "episode": 99, "frame": 0}', "episode: got 99, expected 0 to"),
        ('{"type": "start", "episode": 0, "frame": 99}', "frame: got 99, expected 0 to 11"),
        ('{"type": "start", "episode": -1}', "episode: got -1, expected a whole number from 0"),
        (b"GIF89a", "picture: got"),
        (b"", "picture: got"),
    ],
)
def test_what_makes_no_sense_is_said_and_the_game_goes_on(page: PlayPage, message: str | bytes, said: str) -> None:
    with page.game() as game:
        game.socket.send(message)
        assert said in game.receive("error")["message"]
        game.send(type="start")
        game.receive("started")
        for origin, code in ((0, 8), (0, -1), (7, 0)):
            game.send(type="step", **{"from": origin}, code=code)
            assert "expected" in game.receive("error")["message"]
        assert game.step(0, 1)["node"] == 1


def test_browsers_that_vanish_while_frames_are_drawn_leave_nothing_behind(page: PlayPage) -> None:
    for _ in range(20):  # more than there may be games at once
        with page.game() as game:
            game.send(type="start")
            game.receive("started")
            game.send(type="step", **{"from": 0}, code=1)
            game.socket.socket.shutdown(socket.SHUT_RDWR)
    with page.game() as first, page.game() as second:
        for game in (first, second):
            game.send(type="start")
        for game in (first, second):
            game.receive("started")
        np.testing.assert_array_equal(picture_of(first.step(0, 4)), picture_of(second.step(0, 4)))


def test_two_players_on_one_server_do_not_mix(page: PlayPage, server: str, folder: Path) -> None:
    ways = {0: [3, 1, 6], 7: [5, 2, 5]}
    with page.game() as first, page.game() as second, Client(server) as client:
        games = dict(zip(ways, (first, second), strict=True))
        for frame, game in games.items():
            game.send(type="start", episode=0, frame=frame)
        for place in range(3):
            for frame, game in games.items():  # both are under way at once
                game.send(type="step", **{"from": place}, code=ways[frame][place])
        for frame, game in games.items():
            shown = np.stack([picture_of(game.receive("frame")) for _ in range(3)])
            prompt = read_prompt(folder / "lift.hdf5", client.model(), Moment(frame=frame))
            np.testing.assert_array_equal(shown, client.rollout(prompt, ways[frame], seed=3))


def test_a_picture_that_shows_no_robot_is_played_like_any(page: PlayPage) -> None:
    noise = np.random.default_rng(0).integers(0, 256, (300, 200, 3), np.uint8)
    for picture in (noise, np.full((16, 90, 3), 255, np.uint8)):
        with page.game() as game:
            game.socket.send(encode_image(picture))
            assert picture_of(game.receive("started")).shape == (32, 32, 3)
            shown = [picture_of(game.step(place, place)) for place in range(3)]
            assert {frame.shape for frame in shown} == {(32, 32, 3)}


def test_a_server_that_stops_is_said_on_the_page(genie_process: Genie, models_folder: Path, tmp_path: Path) -> None:
    picture = tmp_path / "x.png"
    picture.write_bytes(encode_image(make_frames(1, 48, 64)[0]))
    with ExitStack() as stack:
        server, address = stack.enter_context(server_process(models_folder))
        page = stack.enter_context(playing(genie_process, "--prompt", picture, "--server", address))
        game = stack.enter_context(page.game())
        game.send(type="start")
        game.receive("previews")
        assert game.step(0, 1)["node"] == 1
        server.kill()
        game.send(type="step", **{"from": 1}, code=2)
        assert address in game.receive("error")["message"]
        assert game.step(0, 1)["drawn"] == 0  # what was drawn is not lost


def test_what_cannot_be_played_is_refused_before_a_page_is_served(genie: Genie, tmp_path: Path, server: str) -> None:
    wrong = tmp_path / "x.png"
    wrong.write_bytes(b"not a picture")
    assert "x.png" in genie.fail("play", "--prompt", wrong, "--server", server)
    assert "no episode `demo_9`" in genie.fail(
        "play", "--prompt", make_robomimic(tmp_path / "a.hdf5"), "--episode", "demo_9", "--server", server
    )
    assert "expected loopback" in genie.fail("play", "--host", "0.0.0.0", "--server", server)
    other = tmp_path / "other.safetensors"
    save_alignment(other, make_alignment(read_bundle_info(make_nano_bundle(tmp_path / "nano", seed=5)), observe=False))
    start = ("play", "--prompt", tmp_path / "a.hdf5", "--server", server)
    assert "codes and latents of another mean other motions" in genie.fail(*start, "--alignment", other)
    assert "expected NAME=PLUS/MINUS, NAME one of x, y" in genie.fail(*start, "--alignment", other, "--words", "z=a/b")
    assert "--words: expected --alignment beside it" in genie.fail(*start, "--words", "x=left/right")


def test_moved_frames_are_shown_at_the_size_of_their_prompt(folder: Path) -> None:
    picture = folder / "scene.png"
    picture.write_bytes(encode_image(make_frames(1, 480, 640)[0]))
    with playing(Genie(folder), "--prompt", picture, "--model", "motion") as page, page.game() as game:
        game.send(type="start")
        assert picture_of(game.receive("started")).shape == (240, 320, 3)
        previews = game.receive("previews")["png"]
        assert picture_of({"png": previews[0][0]}).shape == (82, 110, 3)
        assert picture_of(game.step(0, 1)).shape == (240, 320, 3)
