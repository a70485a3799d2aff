"""What the robot was to do, in words: of LeRobot v2.0 and v2.1 (JSON lines) and v3.0 (Parquet), and of RLDS.

Reading frames and labels is the work of others; other formats' words are not looked for.
"""

from __future__ import annotations

import json
from collections.abc import Iterator
from pathlib import Path
from typing import Any

from genie_core.data.episode import Episode
from genie_core.data.formats.rlds.reader import RldsReader
from genie_core.data.storage.parquet import ParquetTable
from genie_core.errors import DatasetError


def lerobot_tasks(folder: Path) -> dict[str, str]:
    """The first task of every episode of a LeRobot dataset, by the episode's name (``episode_000003``).

    Episodes without one are left out. Raises DatasetError where the list of episodes is damaged.
    """
    try:
        return {f"episode_{index:06d}": str(tasks[0]) for index, tasks in _episodes(folder) if tasks}
    except (KeyError, TypeError, ValueError, OSError) as error:
        raise DatasetError(f"{folder}: its list of episodes is not as LeRobot writes it: {error}") from error


def rlds_task(episode: Episode) -> str | None:
    """The instruction of an RLDS episode; None of one without, and of any other. Raises DatasetError where damaged."""
    return episode.reader.instruction if isinstance(episode.reader, RldsReader) else None


def _episodes(folder: Path) -> Iterator[tuple[int, Any]]:
    lines = folder / "meta" / "episodes.jsonl"
    if lines.is_file():
        for line in filter(str.strip, lines.read_text(encoding="utf-8").splitlines()):
            described = json.loads(line)
            yield int(described["episode_index"]), described.get("tasks")
    for path in sorted((folder / "meta" / "episodes").glob("*/*.parquet")):
        table = ParquetTable(path)
        if "tasks" not in table.columns:
            continue
        rows = range(table.num_rows)
        for indices, tasks in zip(
            table.cells("episode_index", rows, 1000), table.cells("tasks", rows, 1000), strict=True
        ):
            yield from zip(map(int, indices), tasks, strict=True)


__all__ = ["lerobot_tasks", "rlds_task"]
