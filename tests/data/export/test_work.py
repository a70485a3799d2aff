"""What an export looks at grows with the number of episodes, and no faster: counted, not timed."""

from __future__ import annotations

import pickle
from collections import Counter
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import h5py
import numpy as np
import pyarrow as pa
import pyarrow.parquet as pq
import pytest

from genie_core.data import ReadOptions
from genie_core.data.export.run import ExportFormat, ExportPlan, export_labels
from genie_core.data.storage.parquet import ParquetTable
from tests.factories.data import make_aloha, make_robomimic
from tests.factories.labelled import label_file
from tests.factories.rlds import IMAGE, make_rlds


@pytest.fixture
def seen(monkeypatch: pytest.MonkeyPatch) -> Counter[str]:
    """How many names in HDF5 groups, files in folders, and row groups in Parquet footers are looked at from now on."""
    found: Counter[str] = Counter()

    def counted(what: str, listing: Callable[..., Iterator[Any]]) -> Callable[..., Iterator[Any]]:
        def count(*args: Any, **options: Any) -> Iterator[Any]:
            for name in listing(*args, **options):
                found[what] += 1
                yield name

        return count

    class CountedFile(pq.ParquetFile):
        def __init__(self, *args: Any, metadata: pq.FileMetaData | None = None, **options: Any) -> None:
            super().__init__(*args, metadata=metadata, **options)
            found["row groups"] += 0 if metadata else self.num_row_groups

    monkeypatch.setattr(h5py.Group, "__iter__", counted("names", h5py.Group.__iter__))
    monkeypatch.setattr(Path, "glob", counted("files", Path.glob))
    monkeypatch.setattr(pq, "ParquetFile", CountedFile)
    return found


def robomimic(folder: Path, episodes: int) -> Path:
    """A labelled file that links to its source."""
    return label_file(make_robomimic(folder / "a.hdf5", episodes=episodes, frames=3, size=8)).path


def aloha(folder: Path, episodes: int) -> Path:
    """A labelled folder of files, an episode each."""
    (folder / "a").mkdir()
    for number in range(episodes):
        make_aloha(folder / "a" / f"episode_{number}.hdf5", frames=3, size=(8, 8), cameras=("top",))
    return label_file(folder / "a", options=ReadOptions(fps=10)).path


def rlds(folder: Path, episodes: int) -> Path:
    """A labelled file of a dataset with a shard for each episode."""
    source = make_rlds(folder / "a", {"train": [[3]] * episodes}, size=(8, 8))
    return label_file(source, options=ReadOptions(camera=IMAGE, fps=5)).path


def exported(folder: Path, episodes: int, to: ExportFormat) -> Path:
    """An export of such a file, to be exported again."""
    export_labels(robomimic(folder, episodes), folder / "first", ExportPlan(to))
    return folder / "first"


SOURCES: dict[str, Callable[[Path, int], Path]] = {
    "robomimic": robomimic,
    "aloha": aloha,
    "rlds": rlds,
    "parquet": lambda folder, episodes: exported(folder, episodes, "parquet"),
    "lerobot": lambda folder, episodes: exported(folder, episodes, "lerobot"),
}


WAYS = [
    *(("robomimic", to) for to in ("lerobot", "parquet", "robomimic")),
    ("aloha", "parquet"),
    ("rlds", "lerobot"),
    ("parquet", "robomimic"),
    ("lerobot", "robomimic"),
]


@pytest.mark.parametrize(("source", "to"), WAYS)
def test_twice_the_episodes_are_twice_the_work(
    tmp_path: Path, seen: Counter[str], source: str, to: ExportFormat
) -> None:
    work = []
    for episodes in (2, 4, 8):
        folder = tmp_path / str(episodes)
        folder.mkdir()
        labelled = SOURCES[source](folder, episodes)
        seen.clear()
        export_labels(labelled, folder / "out", ExportPlan(to))
        work.append(Counter(seen))
    assert work[0]
    for what in work[-1]:
        two, four, eight = (counted[what] for counted in work)
        assert eight - four <= 2 * (four - two), f"{what} looked at: {two}, {four}, {eight}"


def test_a_footer_is_read_once_but_anew_where_the_file_has_changed(tmp_path: Path, seen: Counter[str]) -> None:
    path = tmp_path / "a.parquet"
    pq.write_table(pa.table({"a": np.arange(6)}), path, row_group_size=2)
    table = ParquetTable(path)
    for row in range(6):
        np.testing.assert_array_equal(table.array("a", range(row, row + 1)), [row])
    assert seen["row groups"] == 3
    np.testing.assert_array_equal(pickle.loads(pickle.dumps(table)).array("a"), np.arange(6))
    other = pa.table({"b": np.random.default_rng(0).normal(size=6), "a": 10 * np.arange(6)})
    pq.write_table(other, path, row_group_size=2)  # rows as before, in other places
    np.testing.assert_array_equal(table.array("a"), 10 * np.arange(6))
