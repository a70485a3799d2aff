from __future__ import annotations

from pathlib import Path

from genie_core.training.clips import _sources


def test_a_source_is_the_file_that_holds_several_episodes_or_the_folder_of_one_a_file() -> None:
    videos = [Path(f"/a/videos/{camera}/{i}.mp4") for camera in ("wrist", "front") for i in range(3)]
    assert _sources([*videos, Path("/b/robot.hdf5"), Path("/b/robot.hdf5")]) == [
        *["wrist"] * 3,
        *["front"] * 3,
        *["robot.hdf5"] * 2,
    ]
    assert _sources([Path("/a/one.mp4")]) == ["one.mp4"]
    assert _sources(
        [Path("/a/wrist/0.mp4"), Path("/a/wrist/1.mp4"), Path("/b/wrist/0.mp4"), Path("/b/wrist/1.mp4")]
    ) == [
        *["a/wrist"] * 2,
        *["b/wrist"] * 2,
    ]
