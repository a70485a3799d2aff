"""The schema of labels on disk: an HDF5 group for the labels of an episode, and one for the model that made them.

    <demo>/latent_actions/{code (T,), latent (T, D), confidence (T,), valid (T,)}    attributes: `LabelAttrs`
    <demo>/latent_actions/action (T, A)                  where an alignment has decoded the robot's actions
    /latent_action_model/codebook (codes, D)                                        attributes: `ModelAttrs`

The model's group lies at the root, since robomimic takes every key of ``data`` for a demo.
"""

from __future__ import annotations

import hashlib
import json
from dataclasses import dataclass
from typing import Any, Literal, Self

import h5py
import numpy as np
from numpy.typing import NDArray
from pydantic import BaseModel, ConfigDict, ValidationError

from genie_core.data.formats.robomimic.reader import LABEL_GROUP
from genie_core.data.frames.convention import Colour, Convention
from genie_core.data.labelled.labels import Density, Labels
from genie_core.errors import DatasetError

MODEL_GROUP = "latent_action_model"
SCHEMA_VERSION: Literal[1] = 1

Precision = Literal["float32", "bfloat16"]
"""What the networks computed in: labels of one precision are the same everywhere, of two they differ near ties."""

Transport = Literal["raw", "png", "jpeg"]
"""How frames went to the model: as they are, packed without loss, or as JPEG, which changes pixels and so labels."""

FramesMode = Literal["link", "copy", "in_place", "model", "none"]
"""Where the frames of a labelled file are.

``link``: in the source, behind external links (HDF5 sources). ``copy``: copied with all else the demos hold (HDF5
sources). ``in_place``: the labels are in the source itself (HDF5 sources). ``model``: at the model's size (video
and LeRobot sources). ``none``: labels only.
"""


@dataclass(frozen=True)
class LabelModel:
    """The model that makes labels, as far as a label carries it.

    Attributes:
        bundle_id: SHA-256 of the bundle's contents, 64 hexadecimal digits.
        bundle_name: what the bundle is called.
        model_fps: frames a second at which the model was trained.
        codebook: (codes, D) float32; ``codebook[code]`` is the quantized latent.
        precision: what the networks compute in.

    """

    bundle_id: str
    bundle_name: str
    model_fps: float
    codebook: NDArray[np.float32]
    precision: Precision = "float32"

    @property
    def codebook_sha256(self) -> str:
        """Hash of the codebook's values, little-endian row-major float32."""
        return hashlib.sha256(np.ascontiguousarray(self.codebook, "<f4").tobytes()).hexdigest()


@dataclass(frozen=True)
class LabelAlignment:
    """What decodes the robot's actions beside the labels, as far as a label carries it.

    Attributes:
        name: what it is called.
        alignment_id: SHA-256 of its file, 64 hexadecimal digits.
        action_names: names of the A numbers of an action.

    """

    name: str
    alignment_id: str
    action_names: tuple[str, ...]


class _Attributes(BaseModel):
    """HDF5 attributes as a pydantic model; a field that is None has no attribute."""

    model_config = ConfigDict(frozen=True, protected_namespaces=())

    def write(self, group: h5py.Group) -> None:
        """Store every field that is not None."""
        for key, value in self.model_dump(exclude_none=True).items():
            group.attrs[key] = value

    @classmethod
    def read(cls, group: h5py.Group) -> Self:
        """Raise DatasetError where an attribute is missing or not of its type."""
        values = {key: _python_value(group.attrs[key]) for key in cls.model_fields if key in group.attrs}
        try:
            return cls.model_validate(values)
        except ValidationError as error:
            problems = "; ".join(f"{problem['loc'][0]}: {problem['msg']}" for problem in error.errors())
            raise DatasetError(f"{group.file.filename}: {group.name}: wrong attributes: {problems}") from error


class LabelAttrs(_Attributes):
    """What the labels of one episode were made with and from.

    Attributes:
        bundle_id: SHA-256 of the bundle's contents.
        bundle_name: what the bundle was called.
        model_fps: frames a second at which the model was trained.
        step: frames from x_t to x_{t+step}.
        density: which frames are labelled.
        camera: the camera whose frames were labelled.
        fps: frames a second of the episode; None where only the step was given.
        colour: order of the channels in the stored pictures; None: ``rgb``.
        upside_down: whether the stored pictures are upside down; None: they are not.
        frames_path: where in the source the frames are, as the user gave it; None: where the format has them.
        actions_path: where in it the robot's actions of this episode are, where the user has said so.
        precision: what the networks computed in.
        transport: ``jpeg`` where the frames went to the model as JPEG; None: unchanged.
        alignment: name of what decoded the robot's actions; None: there are none.
        alignment_id: SHA-256 of its file.
        action_names: names of the A numbers of an action, a JSON list.
        created: when the labelling began, ISO 8601, UTC.
        tool_version: version of Genie.
        source: file that held the frames, as an absolute path or a URL.
        source_name: the episode's name in the dataset that was labelled.
        source_size: bytes of `source`.
        source_mtime_ns: when `source` was last changed, nanoseconds of Unix time.

    """

    bundle_id: str
    bundle_name: str
    model_fps: float
    step: int
    density: Density
    camera: str
    fps: float | None = None
    colour: Colour | None = None
    upside_down: bool | None = None
    frames_path: str | None = None
    actions_path: str | None = None
    precision: Precision = "float32"
    transport: Literal["jpeg"] | None = None
    alignment: str | None = None
    alignment_id: str | None = None
    action_names: str | None = None
    created: str
    tool_version: str
    source: str
    source_name: str
    source_size: int
    source_mtime_ns: int

    @property
    def aligned_by(self) -> LabelAlignment | None:
        """What decoded the robot's actions; None: there are none."""
        if self.alignment_id is None:
            return None
        return LabelAlignment(self.alignment or "", self.alignment_id, tuple(json.loads(self.action_names or "[]")))

    @property
    def convention(self) -> Convention:
        """How the pictures of the source are stored."""
        return Convention(self.colour or "rgb", bool(self.upside_down))


class ModelAttrs(_Attributes):
    """What is said once a file: the model, and how the file was made.

    Attributes:
        bundle_id: SHA-256 of the bundle's contents.
        bundle_name: what the bundle was called.
        model_fps: frames a second at which the model was trained.
        codebook_sha256: hash of the codebook's values, little-endian row-major float32.
        frames: where the frames are.
        created: when the labelling began, ISO 8601, UTC.
        tool_version: version of Genie.
        layout: the format in whose layout the labels are, where that is not robomimic's.
        schema_version: of this schema.

    """

    bundle_id: str
    bundle_name: str
    model_fps: float
    codebook_sha256: str
    frames: FramesMode
    created: str
    tool_version: str
    layout: Literal["aloha", "hdf5"] | None = None
    schema_version: Literal[1] = SCHEMA_VERSION


def write_labels(demo: h5py.Group, labels: Labels, attrs: LabelAttrs) -> None:
    """Write the labels of a whole episode into its group `demo`."""
    group = demo.create_group(LABEL_GROUP)
    attrs.write(group)
    group["code"] = labels.code.astype(np.uint16, copy=False)
    group["latent"] = labels.latent.astype(np.float32, copy=False)
    group["confidence"] = labels.confidence.astype(np.float32, copy=False)
    group["valid"] = labels.valid.astype(np.bool_, copy=False)
    if labels.action is not None:
        group["action"] = labels.action.astype(np.float32, copy=False)


def read_labels_of(demo: h5py.Group) -> tuple[Labels, LabelAttrs]:
    """Read the labels in the group `demo`. Raises DatasetError where there are none or they do not fit together."""
    attrs = read_attrs_of(demo)
    group = demo[LABEL_GROUP]
    try:
        arrays = (group[key][()] for key in ("code", "latent", "confidence", "valid"))
        labels = Labels(0, *arrays, action=None if attrs.alignment_id is None else group["action"][()])
    except (KeyError, ValueError) as error:
        raise DatasetError(f"{group.file.filename}: {group.name}: not as Genie writes it: {error}") from error
    return labels, attrs


def read_attrs_of(demo: h5py.Group) -> LabelAttrs:
    """Read only what the labels in the group `demo` were made with. Raises DatasetError as `read_labels_of`."""
    group = demo.get(LABEL_GROUP)
    if not isinstance(group, h5py.Group):
        raise DatasetError(f"{demo.file.filename}: {demo.name} carries no latent actions")
    return LabelAttrs.read(group)


def write_model(file: h5py.File, model: LabelModel, attrs: ModelAttrs) -> None:
    """Write the model's group, in place of one that is there."""
    if MODEL_GROUP in file:
        del file[MODEL_GROUP]
    group = file.create_group(MODEL_GROUP)
    attrs.write(group)
    group["codebook"] = model.codebook.astype(np.float32, copy=False)


def read_model(file: h5py.File) -> tuple[LabelModel, ModelAttrs]:
    """Read the model's group. Raises DatasetError where the file is not a labelled one."""
    group = file.get(MODEL_GROUP)
    if not isinstance(group, h5py.Group) or "codebook" not in group:
        raise DatasetError(f"{file.filename}: carries no latent actions, wanted a file that Genie has labelled")
    attrs = ModelAttrs.read(group)
    return LabelModel(attrs.bundle_id, attrs.bundle_name, attrs.model_fps, group["codebook"][()]), attrs


def _python_value(value: Any) -> Any:
    return value.item() if isinstance(value, np.generic) else value


__all__ = [
    "MODEL_GROUP",
    "FramesMode",
    "LabelAlignment",
    "LabelAttrs",
    "LabelModel",
    "ModelAttrs",
    "Precision",
    "Transport",
    "read_attrs_of",
    "read_labels_of",
    "read_model",
    "write_labels",
    "write_model",
]
