"""Writes what every labelled file in robomimic's layout has beside labels: frames, filter keys, totals, ``env_args``.

`assembly` (fresh labels) and `export.robomimic` (those of another file) write the labels and demos.
"""

from __future__ import annotations

import json
from collections.abc import Mapping, Sequence

import h5py
import numpy as np

from genie_core.data.labelled.file_provenance import FileProvenance
from genie_core.data.labelled.provenance import LabelModel
from genie_core.data.labelled.schema import write_model
from genie_core.data.storage.hdf5 import read_hdf5
from genie_core.data.storage.location import SourcePath

_GYM_TYPE = 2
"""Robomimic's code for a Gym environment, the least specific one."""

_CHUNK_BYTES = 256 * 1024
"""Approximate size of an HDF5 chunk of frames."""


def create_frames(file: h5py.File, key: str, size: tuple[int, ...]) -> h5py.Dataset:
    """Create an empty, compressed array (0, H, W, 3) uint8 at `key`, to be extended with frames of `size`, (H, W)."""
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
    """Write what is stored once per file; call it when all demos are written.

    Args:
        file: the file being written; its demos have ``num_samples`` and, where known, ``fps``.
        model: the model that made the labels.
        attrs: attributes of the model's group.
        masks: names of demos, by filter key.
        like: robomimic file whose attributes to copy; None: there is none.

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
    """Write the ``env_args`` that robomimic's tools require, for data without an environment.

    The frame rate is included if all demos share it.
    """
    rates = {demo.attrs.get("fps") for demo in data.values()}
    fps = rates.pop() if len(rates) == 1 else None
    kwargs = {} if fps is None else {"control_freq": float(fps)}
    data.attrs["env_args"] = json.dumps({"env_name": "video", "type": _GYM_TYPE, "env_kwargs": kwargs})
    if fps is not None:
        data.attrs["fps"] = fps


__all__ = ["complete_file", "create_frames"]
