"""Rerun's own importer of LeRobot datasets on our exports: pictures of every camera, and numbers. Run by `run.py`."""

from __future__ import annotations

import json
import re
import subprocess
import sys
from importlib.metadata import version
from pathlib import Path
from typing import Any

import numpy as np
import pyarrow.parquet as pq
from rerun.chunk import RrdReader

DATASETS = ("lerobot", "lerobot-aligned", "lerobot-in-place", "lerobot-copied", "lerobot-fused", "lerobot-fused-copied")
COUNTED = {"timestamp", "frame_index", "episode_index", "index", "task_index"}
"""Columns that LeRobot itself adds to every row."""


def main(data: Path, folder: Path) -> None:
    """Run all checks; raises where one fails."""
    print(f"rerun-sdk {version('rerun-sdk')}")
    for name in DATASETS:
        check_import(data / name, folder / f"{name}.rrd")


def check_import(root: Path, output: Path) -> None:
    """Import a dataset as ``rerun FOLDER`` does: an episode a recording, a sample a picture, numbers to the bit."""
    output.unlink(missing_ok=True)
    command = [sys.executable, "-m", "rerun", str(root), "--save", str(output)]
    subprocess.run(command, check=True, capture_output=True, timeout=300)
    info = json.loads((root / "meta/info.json").read_text())
    cameras = [key for key, feature in info["features"].items() if feature["dtype"] == "video"]
    numbers = [key for key, feature in info["features"].items() if feature["dtype"] == "float32" and key not in COUNTED]
    rows = pq.read_table(root / "data").to_pydict()
    episodes = np.array(rows["episode_index"])
    reader = RrdReader(output)
    recordings = reader.recordings()
    assert len(recordings) == info["total_episodes"], (len(recordings), info["total_episodes"])
    for store in recordings:
        number = int(re.findall(r"\d+", store.recording_id)[-1])
        chosen = np.flatnonzero(episodes == number)
        found = columns(reader.stream(store=store).to_chunks())
        for camera in cameras:
            samples = found[camera, "VideoStream:sample"]
            assert len(samples) == len(chosen), (camera, number, len(samples), len(chosen))
        for key in numbers:
            wanted = np.array([rows[key][row] for row in chosen], np.float32).reshape(len(chosen), -1)
            got = np.array([found[key, "Scalars:scalars"][at] for at in range(len(chosen))], np.float32)
            np.testing.assert_array_equal(got.reshape(wanted.shape), wanted, err_msg=f"{key} of episode {number}")
    print(
        f"{root.name}: {len(recordings)} episodes, {len(episodes)} pictures of each of {', '.join(cameras)}; {numbers}"
    )


def columns(chunks: Any) -> dict[tuple[str, str], dict[int, Any]]:
    """The values of every component by entity, name and frame."""
    found: dict[tuple[str, str], dict[int, Any]] = {}
    for chunk in chunks:
        batch = chunk.to_record_batch()
        if "frame_index" not in batch.schema.names:
            continue
        times = batch.column("frame_index").to_pylist()
        for name in batch.schema.names:
            values = zip(times, batch.column(name).to_pylist(), strict=True)
            held = {at: value for at, value in values if value is not None}
            found.setdefault((chunk.entity_path.removeprefix("/"), name), {}).update(held)
    return found


if __name__ == "__main__":
    main(Path(sys.argv[1]), Path(sys.argv[2]))
