"""Reads Rerun recordings back, in tests."""

from __future__ import annotations

import os
import subprocess
import sys
from pathlib import Path
from typing import Any

import pytest

RrdReader = pytest.importorskip("rerun.chunk", reason="an older Rerun does not read its own files").RrdReader


def verify(path: Path) -> None:
    """Let Rerun check a file."""
    done = subprocess.run(
        [sys.executable, "-m", "rerun", "rrd", "verify", str(path)],
        env={**os.environ, "RERUN_ANALYTICS": "0"},
        capture_output=True,
        text=True,
        check=False,
    )
    assert done.returncode == 0, done.stderr


def column(path: Path, entity: str, component: str, *, index: int = 0, timeline: str = "frame") -> dict[Any, Any]:
    """The values of one component of an entity in the file's recording number `index`, by time (None: static)."""
    reader = RrdReader(path)
    values: dict[Any, Any] = {}
    for chunk in reader.stream(store=reader.recordings()[index]).to_chunks():
        batch = chunk.to_record_batch()
        if chunk.entity_path != entity or component not in batch.schema.names:
            continue
        times = batch.column(timeline).to_pylist() if timeline in batch.schema.names else [None] * batch.num_rows
        values |= dict(zip(times, batch.column(component).to_pylist(), strict=True))
    return values


def entities(path: Path) -> set[str]:
    """The entities of a file's first recording."""
    reader = RrdReader(path)
    return {chunk.entity_path for chunk in reader.stream(store=reader.recordings()[0]).to_chunks()}


__all__ = ["RrdReader", "column", "entities", "verify"]
