"""What a live viewer is sent, taken down by Rerun itself in the viewer's place."""

from __future__ import annotations

import subprocess
import sys
import time
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from typing import Any

import numpy as np
import pytest

pytest.importorskip("rerun", reason="looking at recordings is an extra")

from genie_core.data import open_dataset
from genie_core.data.frames.palette import code_palette
from genie_core.errors import GenieError
from genie_view.clock import Clock
from genie_view.labels_view import LabelledViews, labels_recording
from genie_view.live import LiveViewer, live_simulation, show, show_labels, start_viewer
from genie_view.simulation_view import SimulationView, Track
from tests.factories.data import make_frames, make_robomimic
from tests.factories.labelled import label_file, make_labels
from tests.support.recordings import column

pytestmark = pytest.mark.filterwarnings("ignore:RRD file has no footer")  # it is still being written


def taken_down(viewer: LiveViewer, path: Path, entity: str, component: str, count: int) -> dict[object, object]:
    """End the viewer once the file has as many values as are sent, and return them."""
    until, found = time.monotonic() + 120, dict[object, object]()
    try:
        while time.monotonic() < until:
            try:
                found = column(path, entity, component)
            except (OSError, ValueError, RuntimeError, IndexError):
                found = {}  # still being written
            if len(found) >= count:
                return found
            time.sleep(0.2)
    finally:
        viewer.close()
    return column(path, entity, component)


def test_an_episode_is_shown_when_it_is_labelled(tmp_path: Path) -> None:
    episode = open_dataset(make_robomimic(tmp_path / "lift.hdf5", episodes=1, frames=12)).episodes[0]
    viewer = start_viewer("", ("--save", str(tmp_path / "x.rrd")))
    labels = make_labels(12)
    show_labels(viewer, episode, labels, 8)
    found = taken_down(viewer, tmp_path / "x.rrd", "/labels/code/number", "Scalars:scalars", 11)
    assert found == {t: [float(labels.code[t])] for t in range(11)}


def test_simulated_frames_are_shown_one_by_one(tmp_path: Path) -> None:
    frames = make_frames(4, 16, 16)
    view = SimulationView(frames[:1], [Track("simulated", frames[:0], [3, 1, 2])], code_palette(8), Clock(10.0))
    viewer = start_viewer("", ("--save", str(tmp_path / "x.rrd")))
    with live_simulation(viewer, "simulation", view) as shown:
        for frame_HWC in frames[1:]:
            shown.show(np.asarray(frame_HWC))
    found = taken_down(viewer, tmp_path / "x.rrd", "/videos/simulated/frame", "EncodedImage:blob", 3)
    assert sorted(found) == [1, 2, 3]  # type: ignore[type-var]


def test_recordings_are_shown_as_they_are_read_until_the_viewer_is_closed(tmp_path: Path) -> None:
    labelled = label_file(make_robomimic(tmp_path / "lift.hdf5", episodes=1))
    viewer = start_viewer("", ("--save", str(tmp_path / "x.rrd")))
    recordings = [labels_recording(view) for view in LabelledViews(labelled).of(labelled.episodes)]
    with ThreadPoolExecutor(1) as pool:
        shown = pool.submit(show, viewer, recordings)
        found = taken_down(viewer, tmp_path / "x.rrd", "/camera", "EncodedImage:blob", 12)
        shown.result()
    assert sorted(found) == list(range(12))  # type: ignore[type-var]


def test_a_viewer_listens_on_loopback_and_reports_nothing(monkeypatch: pytest.MonkeyPatch) -> None:
    calls = []

    def start(command: list[str], **kwargs: Any) -> Any:
        calls.append((command, kwargs["env"]))
        raise KeyboardInterrupt

    monkeypatch.setenv("DISPLAY", ":0")
    monkeypatch.setattr(subprocess, "Popen", start)
    with pytest.raises(KeyboardInterrupt):
        start_viewer("")
    ((command, environment),) = calls
    assert command[command.index("--bind") + 1] == "127.0.0.1"
    assert environment["RERUN_ANALYTICS"] == "0"


@pytest.mark.skipif(not sys.platform.startswith("linux"), reason="elsewhere a display needs no variable")
def test_without_a_display_nothing_is_started(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.delenv("DISPLAY", raising=False)
    monkeypatch.delenv("WAYLAND_DISPLAY", raising=False)
    with pytest.raises(
        GenieError, match=r"needs a display, and neither DISPLAY nor WAYLAND_DISPLAY is set; try --save"
    ):
        start_viewer("try --save")


def test_a_viewer_that_ends_at_once_says_why() -> None:
    with pytest.raises(GenieError, match=r"(?s)the Rerun viewer failed: .*--no-such-option.*; leave --view out"):
        start_viewer("leave --view out", ("--no-such-option",))
