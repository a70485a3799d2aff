"""Recordings of simulations: aligned in time with what they were simulated from."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest

pytest.importorskip("rerun", reason="looking at recordings is an extra")

from genie_core.data import decode_image
from genie_core.data.frames.palette import code_palette
from genie_view.clock import Clock
from genie_view.recording import write_recordings
from genie_view.simulation_view import SimulationView, Track, better_until, simulation_recording
from tests.factories.data import make_frames
from tests.support.recordings import column, verify

pytestmark = pytest.mark.usefixtures("strict")


def track(name: str, actions: list[int]) -> Track:
    return Track(name, make_frames(len(actions), 16, 16, seed=1), actions)


def test_a_simulation_lies_beside_its_prompt_on_the_clock_of_its_source(tmp_path: Path) -> None:
    prompt, tracks = make_frames(2, 16, 16), [track("real", [3, 1]), track("action 5", [5, 5])]
    path = tmp_path / "x.rrd"
    view = SimulationView(prompt, tracks, code_palette(8), Clock(20.0, start=100, step=2))
    write_recordings(path, [simulation_recording("what if", view)])
    verify(path)
    assert sorted(column(path, "/prompt", "EncodedImage:blob")) == [98, 100]  # type: ignore[type-var]
    assert sorted(column(path, "/videos/real/frame", "EncodedImage:blob")) == [100, 102, 104]  # type: ignore[type-var]
    assert column(path, "/videos/real/action", "StateChange:state") == {100: ["3"], 102: ["1"], 104: ["-"]}
    assert column(path, "/videos/action_5/action/number", "Scalars:scalars") == {100: [5.0], 102: [5.0]}


def test_the_true_future_is_compared_frame_by_frame(tmp_path: Path) -> None:
    prompt = np.zeros((1, 16, 16, 3), np.uint8)
    future = np.stack([np.full((16, 16, 3), level, np.uint8) for level in (10, 20, 30)])
    simulated = future + np.array([1, 2, 200], np.uint8)[:, None, None, None]
    drawn = Track("same actions", np.concatenate([simulated, simulated[:1]]), [1, 1, 2, 2])
    clock, trust = Clock(10.0), [1.0, 0.9, 0.2, 0.1]
    view = SimulationView(prompt, [drawn], code_palette(8), clock, future, ["", "left"], trust, 2)
    assert better_until(view, drawn) == 2
    path = tmp_path / "x.rrd"
    write_recordings(path, [simulation_recording("what if", view)])
    verify(path)
    (lines,) = column(path, "/error/same_actions", "SeriesLines:names").values()
    assert lines == ["same actions: beats the start frame to frame 2"]
    assert column(path, "/error/same_actions", "Scalars:scalars") == {1: [1.0], 2: [2.0], 3: [200.0]}
    assert column(path, "/error/start_frame", "Scalars:scalars") == {1: [10.0], 2: [20.0], 3: [30.0]}
    assert column(path, "/confidence", "Scalars:scalars") == {1: [1.0], 2: [0.9], 3: [0.2], 4: [0.1]}
    apart = column(path, "/videos/same_actions/difference", "EncodedImage:blob")
    assert [decode_image(bytes(apart[t][0])).max() for t in (1, 2, 3)] == [1, 2, 200]
    (names,) = column(path, "/videos/same_actions/action", "StateConfiguration:labels").values()
    assert names[1:4] == ["0", "1 left", "2"]
