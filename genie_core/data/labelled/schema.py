"""The schema of labels on disk: one HDF5 group for the labels of an episode, one for the model that made them.

    <demo>/latent_actions/{code (T,), latent (T, D), confidence (T,), valid (T,)}    attributes: `Provenance`
    <demo>/latent_actions/action (T, A)                  if an alignment decoded the robot's actions
    <demo>/latent_actions/reason (T,)                    if transitions were left out
    <demo>/latent_actions/fine_code (T,)                 of a model with a second level of codes
    <demo>/latent_actions/feature (T, F)                 if features were asked for
    <demo>/latent_actions/views/<camera>/...             the same arrays of each view, if these labels are fused
    /latent_action_model/codebook (codes, D)                                        attributes: `FileProvenance`
    /latent_action_model/fine_codebook (fine codes, D)   of a model with a second level

The model's group is at the root because robomimic takes every key of ``data`` for a demo.
"""

from __future__ import annotations

from collections.abc import Iterator
from typing import Any

import h5py
import numpy as np
from numpy.typing import NDArray

from genie_core.data.formats.robomimic.reader import LABEL_GROUP
from genie_core.data.labelled.checksum import CHECKSUM, FRAMES_CHECKSUM, digest_of
from genie_core.data.labelled.file_provenance import FileProvenance
from genie_core.data.labelled.labels import Labels
from genie_core.data.labelled.provenance import LabelModel, Provenance
from genie_core.data.storage.hdf5 import read_array, read_hdf5, write_arrays, write_attributes
from genie_core.data.storage.location import SourcePath
from genie_core.errors import DatasetError

MODEL_GROUP = "latent_action_model"

VIEWS_GROUP = "views"
"""Group, in that of fused labels, of each camera's own."""


def write_labels(demo: h5py.Group, labels: Labels, attrs: Provenance, frames_sha256: str | None = None) -> None:
    """Write the labels of a whole episode, and their checksum, into its group `demo`.

    `frames_sha256`: `frames_digest` of the frames stored in `demo` at the model's size; None: none are.
    """
    group = demo.create_group(LABEL_GROUP)
    attributes = attrs.said()
    if frames_sha256 is not None:
        attributes[FRAMES_CHECKSUM] = frames_sha256
    arrays = _arrays_of(labels)
    for camera, view in (labels.views or {}).items():
        arrays |= {f"{_view(camera)}/{name}": values for name, values in _arrays_of(view).items()}
    write_arrays(group, arrays)
    write_attributes(group, {**attributes, CHECKSUM: digest_of(arrays, attributes)})


def _view(camera: str) -> str:
    return f"{VIEWS_GROUP}/{camera}"


def _arrays_of(labels: Labels) -> dict[str, NDArray[Any]]:
    """Return the arrays of labels by name, as they lie on disk."""
    arrays: dict[str, NDArray[Any]] = {
        "code": labels.code.astype(np.uint16, copy=False),
        "latent": labels.latent.astype(np.float32, copy=False),
        "confidence": labels.confidence.astype(np.float32, copy=False),
        "valid": labels.valid.astype(np.bool_, copy=False),
    }
    if labels.action is not None:
        arrays["action"] = labels.action.astype(np.float32, copy=False)
    if labels.reason is not None:
        arrays["reason"] = labels.reason.astype(np.uint8, copy=False)
    if labels.fine_code is not None:
        arrays["fine_code"] = labels.fine_code.astype(np.uint16, copy=False)
    if labels.feature is not None:
        arrays["feature"] = labels.feature.astype(np.float32, copy=False)
    return arrays


def read_labels_of(demo: h5py.Group) -> tuple[Labels, Provenance]:
    """Read the labels in the group `demo`. Raises DatasetError if there are none or the arrays do not fit together."""
    attrs = read_attrs_of(demo)
    group = demo[LABEL_GROUP]
    try:
        labels = Labels(
            0,
            *_arrays(group),
            action=None if attrs.alignment_id is None else read_array(group["action"]),
            reason=None if attrs.excluded is None else read_array(group["reason"]),
            fine_code=_known(group, "fine_code"),
            feature=None if attrs.feature_dim is None else read_array(group["feature"]),
            views={camera: _read_view(group[_view(camera)]) for camera in attrs.fused_cameras} or None,
        )
    except (KeyError, ValueError) as error:
        raise DatasetError(f"{group.file.filename}: {group.name}: not the labels that Genie writes: {error}") from error
    return labels, attrs


def _arrays(group: h5py.Group) -> Iterator[Any]:
    return (read_array(group[key]) for key in ("code", "latent", "confidence", "valid"))


def _known(group: h5py.Group, key: str) -> Any:
    return read_array(group[key]) if key in group else None


def _read_view(group: h5py.Group) -> Labels:
    optional = {key: _known(group, key) for key in ("reason", "fine_code", "feature")}
    return Labels(0, *_arrays(group), **optional)


def read_attrs_of(demo: h5py.Group) -> Provenance:
    """Read only the provenance of the labels in the group `demo`. Raises DatasetError if there are none."""
    group = demo.get(LABEL_GROUP)
    if not isinstance(group, h5py.Group):
        raise DatasetError(f"{demo.file.filename}: {demo.name} carries no latent actions")
    return Provenance.read(group)


def is_labelled(path: SourcePath) -> bool:
    """Return whether an HDF5 file carries labels. Raises DatasetError if it is not HDF5."""
    with read_hdf5(path) as file:
        return MODEL_GROUP in file


def write_model(file: h5py.File, model: LabelModel, attrs: FileProvenance) -> None:
    """Write the model's group, replacing any that is there."""
    if MODEL_GROUP in file:
        del file[MODEL_GROUP]
    group = file.create_group(MODEL_GROUP)
    attrs.write(group)
    group["codebook"] = model.codebook.astype(np.float32, copy=False)
    if model.fine_codebook is not None:
        group["fine_codebook"] = model.fine_codebook.astype(np.float32, copy=False)


def read_model(file: h5py.File) -> tuple[LabelModel, FileProvenance]:
    """Read the model's group. Raises DatasetError if the file carries no labels."""
    group = file.get(MODEL_GROUP)
    if not isinstance(group, h5py.Group) or "codebook" not in group:
        raise DatasetError(f"{file.filename}: carries no latent actions, expected a file labelled by Genie")
    attrs = FileProvenance.read(group)
    fine = read_array(group["fine_codebook"]) if "fine_codebook" in group else None
    return attrs.model(read_array(group["codebook"]), fine), attrs


__all__ = [
    "MODEL_GROUP",
    "is_labelled",
    "read_attrs_of",
    "read_labels_of",
    "read_model",
    "write_labels",
    "write_model",
]
