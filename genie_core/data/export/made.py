"""Checks whether an existing export is the one asked for, and complete, so that nothing is left to do."""

from __future__ import annotations

from pathlib import Path

from genie_core.data.dataset import Dataset, ReadOptions
from genie_core.data.export.parquet import open_parquet_labels, read_document
from genie_core.data.export.plan import ExportFormat, ExportPlan
from genie_core.data.export.provenance import LabelledSet, request_in
from genie_core.data.formats.lerobot.writer import PROVENANCE
from genie_core.data.formats.rlds.writer import DOCUMENT
from genie_core.data.labelled.reading import open_labelled
from genie_core.data.opening import camera_names, open_dataset
from genie_core.errors import DatasetError


def holds_export(output: Path, labels: LabelledSet, plan: ExportPlan) -> bool:
    """Return whether `output` is what exporting `labels` by `plan` makes.

    Of all labels, and of the last frame of each episode, it is read whether they are there; other frames are not read.
    """
    try:
        if _request(output, plan.to) != plan.request(labels):
            return False
        return _is_whole(output, plan.to, [episode.num_frames for episode in labels.episodes])
    except (DatasetError, OSError):
        return False


def _request(output: Path, to: ExportFormat) -> str | None:
    if to == "parquet":
        return request_in(read_document(output))
    if to == "robomimic":
        return open_labelled(output).attrs.export_request
    return request_in((output / {"lerobot": PROVENANCE, "rlds": DOCUMENT}[to]).read_bytes())


def _is_whole(output: Path, to: ExportFormat, lengths: list[int]) -> bool:
    if to == "parquet":
        file = open_parquet_labels(output)
        return [len(file.labels(episode.name)) for episode in file.provenance.episodes] == lengths
    if to == "robomimic":
        labelled = open_labelled(output)
        return len(labelled.episodes) == len(lengths) and all(map(labelled.is_intact, labelled.episodes))
    return all(
        _has_last_frames(open_dataset(output, camera=camera), lengths) for camera in camera_names(output, ReadOptions())
    )


def _has_last_frames(dataset: Dataset, lengths: list[int]) -> bool:
    there = [episode.num_frames for episode in dataset.episodes]
    lasts = [len(episode.frames(count - 1, count)) for episode, count in zip(dataset.episodes, there, strict=True)]
    return there == lengths and lasts == [1] * len(lengths)


__all__ = ["holds_export"]
