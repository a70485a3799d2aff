"""What every labelled file in robomimic's layout has beside labels: frames, filter keys, totals, what tools ask for.

Whose labels and demos they are is others' work: `assembly` has fresh ones, `export.robomimic` those of another file.
"""

from __future__ import annotations

import json
from collections.abc import Mapping, Sequence

import h5py
import numpy as np

from genie_core.data.labelled.provenance import FileProvenance, LabelModel
from genie_core.data.labelled.schema import write_model
from genie_core.data.storage.hdf5 import read_hdf5
from genie_core.data.storage.location import SourcePath

_GYM_TYPE = 2
"""Robomimic's number for environments that it knows nothing special of."""

_CHUNK_BYTES = 256 * 1024
"""About how many bytes of frames lie in one HDF5 chunk."""


def create_frames(file: h5py.File, key: str, size: tuple[int, ...]) -> h5py.Dataset:
    """An empty array (0, H, W, 3) uint8 at `key`, compressed, to be resized as frames of `size` come."""
    frame_shape = (*size, 3)
    chunk = (max(1, min(16, _CHUNK_BYTES // int(np.prod(frame_shape)))), *frame_shape)
    return file.create_dataset(
        key,
        shape=(0, *frame_shape),
        maxshape=(None, *frame_shape),
        dtype=np.uint8,
        chunks=chunk,
        compression="gzip",
        compression_opts=1,
    )


def complete_file(
    file: h5py.File,
    model: LabelModel,
    attrs: FileProvenance,
    masks: Mapping[str, Sequence[str]],
    like: SourcePath | None,
) -> None:
    """Write what is said once a file, when all demos are in it.

    Args:
        file: being written; its demos have ``num_samples`` and, where known, ``fps``.
        model: that made the labels.
        attrs: of the model's group.
        masks: names of demos by the name of a filter key.
        like: the robomimic file whose attributes stay true of this one; None: there is none.

    """
    data = file["data"]
    if like is not None:
        _copy_attributes(like, file)
    if "env_args" not in data.attrs:
        _describe(data)
    data.attrs["total"] = np.int64(sum(int(demo.attrs["num_samples"]) for demo in data.values()))
    for key, names in masks.items():
        file[f"mask/{key}"] = np.array(names, "S")
    write_model(file, model, attrs)


def _copy_attributes(source: SourcePath, output: h5py.File) -> None:
    with read_hdf5(source) as file:
        for group in ("/", "data"):
            for key, value in file[group].attrs.items() if group in file else ():
                output[group].attrs[key] = value


def _describe(data: h5py.Group) -> None:
    """Say what robomimic's tools ask of every file, where there is no environment to make of it.

    The frame rate is said where all demos have the same.
    """
    rates = {demo.attrs.get("fps") for demo in data.values()}
    fps = rates.pop() if len(rates) == 1 else None
    kwargs = {} if fps is None else {"control_freq": float(fps)}
    data.attrs["env_args"] = json.dumps({"env_name": "video", "type": _GYM_TYPE, "env_kwargs": kwargs})
    if fps is not None:
        data.attrs["fps"] = fps


__all__ = ["complete_file", "create_frames"]
