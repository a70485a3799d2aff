"""Labels as a layer over somebody's own recording: of the same identity and times, so that both are shown as one."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from importlib.metadata import version
from pathlib import Path

import numpy as np
import pyarrow as pa

from genie_core.data.storage.atomic import new_file
from genie_core.errors import GenieError
from genie_view.clock import Moments
from genie_view.labels_view import LabelledView, log_labels, log_properties
from genie_view.recording import stream_to

ENTITY = "genie"
"""Everything of the layer lies below this entity of the recording."""

_PICTURES = ("EncodedImage:blob", "Image:buffer", "VideoStream:sample", "VideoFrameReference:timestamp")


@dataclass(frozen=True)
class Target:
    """A recording to lay labels over.

    Attributes:
        application: its application's identity.
        recording_id: its own.
        entity: the entity whose frames were labelled.
        frames: number of these.
        moments: their times, on every timeline.

    """

    application: str
    recording_id: str
    entity: str
    frames: int
    moments: Moments


def find_target(path: Path, frames: int, entity: str | None = None) -> Target:
    """Find in an .rrd file the recording and entity that have as many frames as were labelled.

    `entity` names it where several have as many. Raises GenieError if there is none, or several, or Rerun cannot read
    the file.
    """
    found = [target for target in read_targets(path) if entity in (None, target.entity)]
    fitting = [target for target in found if target.frames == frames]
    if len(fitting) == 1:
        return fitting[0]
    named = "" if entity is None else f" at {entity}"
    if fitting:
        names = ", ".join(f"{t.entity} of {t.recording_id}" for t in fitting)
        raise GenieError(
            f"{path}: got {len(fitting)} videos of {frames} frames, expected one; choose --entity: {names}"
        )
    there = ", ".join(f"{t.entity} ({t.frames} frames)" for t in found) or "none"
    raise GenieError(f"{path}: expected a video{named} of the {frames} frames that were labelled, got {there}")


def read_targets(path: Path) -> list[Target]:
    """Read the videos and sequences of pictures in all recordings of an .rrd file. Raises GenieError."""
    try:
        from rerun.chunk import RrdReader
    except ImportError:
        raise GenieError(
            f"a layer reads your recording: got rerun-sdk {version('rerun-sdk')}, which cannot read files, expected "
            "one with rerun.chunk (0.41 can): pip install -U 'genie-latent[view]'"
        ) from None
    if not path.is_file():
        raise GenieError(f"{path}: no such recording")
    try:
        reader = RrdReader(path)
        return [target for entry in reader.recordings() for target in _targets(entry, reader.stream(store=entry))]
    except Exception as error:  # Rerun raises what it likes: OSError, ValueError, RuntimeError
        raise GenieError(
            f"{path}: rerun-sdk {version('rerun-sdk')} cannot read it: {str(error).strip()[:300]}; if a newer Rerun "
            "wrote it: pip install -U rerun-sdk, or `rerun rrd migrate` there"
        ) from error


def _targets(entry: object, stream: object) -> list[Target]:
    batches: dict[str, list[pa.RecordBatch]] = {}
    for chunk in stream.to_chunks():  # type: ignore[attr-defined]
        batch = chunk.to_record_batch()
        if not chunk.is_static and any(name in batch.schema.names for name in _PICTURES):
            batches.setdefault(chunk.entity_path, []).append(batch)
    return [
        Target(
            entry.application_id,  # type: ignore[attr-defined]
            entry.recording_id,  # type: ignore[attr-defined]
            entity,
            sum(batch.num_rows for batch in of),
            _moments(of),
        )
        for entity, of in sorted(batches.items())
    ]


def _moments(batches: Sequence[pa.RecordBatch]) -> Moments:
    """Return the times of all rows in the order of the first timeline that all chunks have."""
    kinds: dict[str, pa.DataType] = {}
    for name in batches[0].schema.names:
        field = batches[0].schema.field(name)
        is_index = (field.metadata or {}).get(b"rerun:kind") == b"index"
        if is_index and all(name in batch.schema.names for batch in batches):
            kinds[name] = field.type
    times = {
        name: np.concatenate([batch.column(name).cast(pa.int64()).to_numpy(zero_copy_only=False) for batch in batches])
        for name in kinds
    }
    if times:
        own = [name for name in times if name not in ("log_tick", "log_time")] or list(times)
        order = np.argsort(times[own[0]], kind="stable")
        times = {name: of[order] for name, of in times.items()}
    return Moments(
        {name: of for name, of in times.items() if pa.types.is_integer(kinds[name])},
        {name: of for name, of in times.items() if pa.types.is_duration(kinds[name])},
        {name: of for name, of in times.items() if pa.types.is_timestamp(kinds[name])},
    )


def write_layer(path: Path, view: LabelledView, target: Target) -> None:
    """Write the labels of one episode as a layer over `target` to an .rrd file, replacing it atomically.

    It has no blueprint of its own, so that the recording keeps the user's.
    """
    with (
        new_file(path, suffix=".rrd") as whole,
        stream_to(whole, target.application, target.recording_id, None) as stream,
    ):
        log_labels(stream, ENTITY, view, target.moments, f"{ENTITY}/actions")
        log_properties(stream, "genie", view)


__all__ = ["ENTITY", "Target", "find_target", "read_targets", "write_layer"]
