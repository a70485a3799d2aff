"""LeRobot: its JSON files, and Parquet."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path

from genie_core.data import open_dataset
from genie_core.data.storage.parquet import ParquetTable
from tests.factories.lerobot import make_lerobot_v21, make_lerobot_v30
from tests.fuzz.mutation import mutate_json
from tests.fuzz.target import Read, Target
from tests.fuzz.targets.rlds import may_fail, use

SIZE = (16, 16)
_JSON = ("meta/info.json", "meta/episodes.jsonl")
_PARQUET = ("data/chunk-000/file-000.parquet", "meta/episodes/chunk-000/file-000.parquet")


def _v21(folder: Path) -> Path:
    return make_lerobot_v21(folder / "x", (3, 2), size=SIZE, dtype="image")


def _v30(folder: Path) -> Path:
    return make_lerobot_v30(folder / "x", (3, 2), size=SIZE, dtype="image")


def _with_file(make: Callable[[Path], Path], names: tuple[str, ...]) -> Read:
    """Reads a dataset in which one file, named by the first byte, is the rest of the input."""

    def read(data: bytes, folder: Path) -> None:
        path = folder / "x" if (folder / "x").exists() else make(folder)
        name = names[data[0] % len(names)] if data else names[0]
        whole = (path / name).read_bytes()
        try:
            (path / name).write_bytes(data[1:])
            if name.endswith(".parquet"):
                _table(path / name)
            use(open_dataset(path))
        finally:
            (path / name).write_bytes(whole)

    return read


def _table(path: Path) -> None:
    table = ParquetTable(path)
    for key in sorted(table.columns)[:20]:
        may_fail(lambda key=key: table.array(key))
        may_fail(lambda key=key: next(table.cells(key, range(min(3, table.num_rows)), 2), None))


def _files(make: Callable[[Path], Path], names: tuple[str, ...]) -> Callable[[Path], list[bytes]]:
    def seeds(folder: Path) -> list[bytes]:
        path = make(folder)
        return [bytes((number,)) + (path / name).read_bytes() for number, name in enumerate(names)]

    return seeds


def _mutate(data: bytes, most: int, seed: int) -> bytes:
    """One value of the file, or of one of its lines."""
    lines = data[1:].split(b"\n") if data[:1] == b"\1" else [data[1:]]
    at = seed % len(lines)
    lines[at] = mutate_json(lines[at], most - len(data) + len(lines[at]), seed)
    return (data[:1] + b"\n".join(lines))[:most]


TARGETS = (
    Target("lerobot-json", _with_file(_v21, _JSON), _files(_v21, _JSON), inputs=8_000, largest=200_100, mutate=_mutate),
    Target("parquet", _with_file(_v30, _PARQUET), _files(_v30, _PARQUET), inputs=5_000, largest=32_000),
)
