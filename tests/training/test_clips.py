from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from numpy.typing import NDArray

from genie_core.data import Episode
from genie_core.errors import DatasetError
from genie_core.training import clips
from genie_core.training.clips import _sources, build_store


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


@pytest.mark.parametrize("threads", [1, 3])
def test_episodes_are_stored_in_order_however_many_are_decoded_at_once(
    threads: int, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(clips, "_threads", lambda: threads)
    frames = [np.full((count, 8, 8, 3), count, np.uint8) for count in (5, 150, 2, 70)]
    for some in frames:
        some[:, 0, 0, 0] = np.arange(len(some))
    episodes = [Episode(str(i), tmp_path / f"{i}.npy", "array", _Saved(some)) for i, some in enumerate(frames)]
    told: list[int] = []
    store = build_store(episodes, tmp_path / "store", height=8, width=8, fps=10, progress=told.append)
    np.testing.assert_array_equal(store.frames[:], np.concatenate(frames))
    assert (told == sorted(told), told[-1]) == (True, 227)
    for lacking in (1, -1):
        wrong = [*episodes, Episode("wrong", tmp_path / "0.npy", "array", _Saved(frames[0], lacking))]
        with pytest.raises(DatasetError, match=r"episode wrong .* has other than its"):
            build_store(wrong, tmp_path / f"other{lacking}", height=8, width=8, fps=10)
        assert not (tmp_path / f"other{lacking}" / "index.json").exists()


@dataclass(frozen=True)
class _Saved:
    """Reads an array, which has `lacking` frames fewer than it says."""

    saved: NDArray[np.uint8]
    lacking: int = 0
    fps: float | None = 10.0
    frame_size = (8, 8)

    @property
    def num_frames(self) -> int:
        return len(self.saved) + self.lacking

    def chunks(self, size: int) -> Iterator[NDArray[np.uint8]]:
        return (self.saved[at : at + size] for at in range(0, len(self.saved), size))

    def read(self, start: int, stop: int) -> NDArray[np.uint8]:
        return self.saved[start:stop]

    def array(self, key: str) -> None:
        return None

    actions: Any = None
    proprioception: Any = None
    task: Any = None
    group: Any = None
