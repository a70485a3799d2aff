from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest
from numpy.typing import NDArray

from genie_core.data import AutoSteps, Dataset, FoundStep, Frames, find_steps, open_dataset
from tests.factories.data import make_robomimic, make_video

SIZE = (32, 32)
USUAL = 40.0
"""A step is long enough at a quarter of it: 10."""


def brightness(pairs_NTHWC: Frames) -> NDArray[np.float32]:
    """What stands for latents: how much brighter each frame is than the one before."""
    mean_T = pairs_NTHWC.astype(np.float32).mean((1, 2, 3))
    return np.diff(mean_T)[:, None]


def change(pairs_NTHWC: Frames) -> NDArray[np.float32]:
    """How much each frame differs from the one before."""
    return np.abs(np.diff(pairs_NTHWC.astype(np.float32), axis=0)).mean((1, 2))


def brightening(tmp_path: Path, fps: float, by: float, frames: int = 90) -> Dataset:
    """Episodes that become brighter by `by` a frame."""
    import h5py

    path = make_robomimic(tmp_path / f"b{fps}.hdf5", episodes=3, frames=frames, size=32, fps=fps)
    levels_T = (np.arange(frames) * by) % 250
    with h5py.File(path, "r+") as file:
        for demo in file["data"].values():
            demo["obs/agentview_image"][...] = levels_T[:, None, None, None].astype(np.uint8)
    return open_dataset(path)


@pytest.mark.parametrize(("fps", "by", "step"), [(50, 1, 10), (20, 2, 5), (5, 5, 2), (10, 40, 1), (30, 0.1, 21)])
def test_the_step_is_the_shortest_at_which_motion_is_large_enough(
    tmp_path: Path, fps: float, by: float, step: int
) -> None:
    data = brightening(tmp_path, fps, by, frames=90 if by < 3 else 25)
    found = find_steps(data.episodes, brightness, USUAL, SIZE)
    (only,) = found.found
    assert (only.fps, only.step) == (fps, step)  # the last: not longer than 0.7 s
    chosen = found.step(fps)
    assert chosen is not None
    assert (chosen.step, chosen.effective_fps) == (step, fps / step)
    assert find_steps(data.episodes, brightness, USUAL, SIZE) == found


def test_of_still_video_no_step_is_found(tmp_path: Path) -> None:
    found = find_steps(brightening(tmp_path, 10, 0).episodes, brightness, USUAL, SIZE)
    assert found == AutoSteps(())
    assert found.step(10) is None


def test_each_frame_rate_has_its_step_and_what_cannot_be_read_is_passed_over(tmp_path: Path) -> None:
    folder = tmp_path / "clips"
    folder.mkdir()
    for name, fps in (("a", 10), ("b", 10.2), ("c", 30)):
        make_video(folder / f"{name}.mp4", frames=20, size=32, fps=fps)
    (folder / "d.mp4").write_bytes((folder / "a.mp4").read_bytes()[:400])
    episodes = open_dataset(folder, check=False).episodes
    found = find_steps(episodes, change, 1.0, SIZE)
    assert [round(f.fps or 0) for f in found.found] == [10, 30]


def test_a_rate_that_none_was_found_for_takes_the_duration_of_the_nearest() -> None:
    steps = AutoSteps((FoundStep(10, 2, 11.0), FoundStep(30, 9, 12.0)))
    assert [s and s.step for s in map(steps.step, (10.2, 20, 29.97, 60, 1))] == [2, 6, 9, 18, 1]
    assert steps.step(None) is None
    assert AutoSteps.of(steps.pairs).pairs == steps.pairs
    unknown = AutoSteps((FoundStep(None, 4, 11.0),)).step(None)
    assert unknown is not None
    assert (unknown.step, unknown.effective_fps) == (4, None)
