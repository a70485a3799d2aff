"""What `genie train` and `genie adapt` learn from: DATA and --sources, and which episodes of it are held out."""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path

from pydantic import BaseModel, ConfigDict, TypeAdapter, ValidationError

from genie_core.data import Episode, ReadOptions, hold_out_episodes, open_dataset
from genie_core.errors import DatasetError


class _Source(BaseModel):
    """One entry of `--sources`."""

    model_config = ConfigDict(extra="forbid")

    path: str
    camera: str | None = None
    fps: float | None = None


def listed_sources(file: Path, reading: ReadOptions) -> list[tuple[str, ReadOptions]]:
    """Read a JSON list of datasets and their reading options; its paths are relative to its folder.

    Raises:
        DatasetError: the file cannot be read, or is not such a list.

    """
    try:
        listed = TypeAdapter(list[_Source]).validate_json(file.read_bytes())
    except (OSError, ValidationError) as error:
        raise DatasetError(f"--sources {file}: expected a JSON list of objects with a `path`: {error}") from error
    return [
        (
            source.path if "://" in source.path else str(file.parent / source.path),
            replace(reading, camera=source.camera or reading.camera, fps=source.fps or reading.fps),
        )
        for source in listed
    ]


def split_episodes(
    data: list[tuple[str, ReadOptions]], hold_out: float, seed: int
) -> tuple[list[Episode], list[Episode]]:
    """Split each dataset, by the seed, into episodes to train on and held-out ones; drops those that are too short."""
    training: list[Episode] = []
    held_out: list[Episode] = []
    for path, reading in data:
        kept, apart = hold_out_episodes(open_dataset(path, options=reading).episodes, hold_out, seed)
        training += kept
        held_out += apart
    return training, held_out


__all__ = ["listed_sources", "split_episodes"]
