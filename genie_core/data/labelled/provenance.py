"""The provenance of labels: what they were made with and from. It is defined, checked, compared, written and read here.

A new field goes into one of these classes and into docs/labels.md; if a server has to say it (`Computation`), also into
the contract's messages, under the same name. All else carries these objects whole.
"""

from __future__ import annotations

import hashlib
import json
from dataclasses import dataclass
from typing import Any, Literal, Self

import h5py
import numpy as np
from numpy.typing import NDArray
from pydantic import (
    BaseModel,
    ConfigDict,
    SerializerFunctionWrapHandler,
    ValidationError,
    model_serializer,
    model_validator,
)

from genie_core.data.frames.convention import Colour, Convention
from genie_core.data.labelled.labels import Density
from genie_core.errors import DatasetError, problems_of

SCHEMA_VERSION: Literal[1] = 1

Precision = Literal["float32", "bfloat16"]
"""What the networks computed in: labels of one precision are the same everywhere, of two they differ near ties."""

Transport = Literal["raw", "png", "jpeg"]
"""How frames went to the model: as they are, packed without loss, or as JPEG, which changes pixels and so labels."""

StepPolicy = Literal["given", "rates"]
"""How the transition length was chosen: ``given`` by the user, or from the frame ``rates`` of episode and model."""

FramesMode = Literal["link", "copy", "in_place", "model", "none"]
"""Where the frames of a labelled file are.

``link``: in the source, behind external links (HDF5 sources). ``copy``: copied with all else the demos hold (HDF5
sources). ``in_place``: the labels are in the source itself (HDF5 sources). ``model``: at the model's size (video
and LeRobot sources). ``none``: labels only.
"""


class Computation(BaseModel):
    """How the networks computed, as the server that ran them says; None where it does not.

    Attributes:
        precision: what the networks computed in.
        processor: the kind of GPU, or of CPU and the vector instructions in use; from one to another the last bits of a
            latent may differ.
        torch_version: version of PyTorch.

    """

    model_config = ConfigDict(frozen=True)

    precision: Precision = "float32"
    processor: str | None = None
    torch_version: str | None = None

    def said(self) -> dict[str, Any]:
        """The fields that are known, as attributes, documents and messages have them."""
        return self.model_dump(exclude_none=True)


_UNKNOWN = Computation()
"""Of files that do not say: they are older than bfloat16."""


class _Attributes(BaseModel):
    """HDF5 attributes as a pydantic model: one a field, none for a field that is None, those of `computation` beside
    the others. JSON has the same names and values.
    """

    model_config = ConfigDict(frozen=True, protected_namespaces=())

    def write(self, group: h5py.Group) -> None:
        """Store every field that is not None."""
        for key, value in self.model_dump(exclude_none=True).items():
            group.attrs[key] = value

    @classmethod
    def read(cls, group: h5py.Group) -> Self:
        """Raise DatasetError where an attribute is missing or not of its type."""
        keys = {**cls.model_fields, **Computation.model_fields}
        values = {key: _python_value(group.attrs[key]) for key in keys if key in group.attrs}
        try:
            return cls.model_validate(values)
        except ValidationError as error:
            raise DatasetError(
                f"{group.file.filename}: {group.name}: wrong attributes: {problems_of(error)}"
            ) from error

    @model_validator(mode="before")
    @classmethod
    def _gathered(cls, values: dict[str, Any]) -> dict[str, Any]:
        if "computation" in values:
            return values
        return {**values, "computation": {key: values[key] for key in Computation.model_fields if key in values}}

    @model_serializer(mode="wrap")
    def _spread(self, dump: SerializerFunctionWrapHandler) -> dict[str, Any]:
        flat: dict[str, Any] = {}
        for key, value in dump(self).items():
            flat |= value if key == "computation" else {key: value}
        return flat


@dataclass(frozen=True)
class LabelModel:
    """The model that makes labels, as far as a label carries it.

    Attributes:
        bundle_id: SHA-256 of the bundle's contents, 64 hexadecimal digits.
        bundle_name: what the bundle is called.
        model_fps: frames a second at which the model was trained.
        codebook: (codes, D) float32; ``codebook[code]`` is the quantized latent.
        computation: how its networks compute.

    """

    bundle_id: str
    bundle_name: str
    model_fps: float
    codebook: NDArray[np.float32]
    computation: Computation = _UNKNOWN

    @property
    def codebook_sha256(self) -> str:
        """Hash of the codebook's values, little-endian row-major float32."""
        return hashlib.sha256(np.ascontiguousarray(self.codebook, "<f4").tobytes()).hexdigest()

    def said(self) -> dict[str, Any]:
        """What labels, and the file that they are in, say of the model, but for how it computed."""
        return {"bundle_id": self.bundle_id, "bundle_name": self.bundle_name, "model_fps": self.model_fps}


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

    def said(self) -> dict[str, Any]:
        """What the labels say of it."""
        names = json.dumps(self.action_names)
        return {"alignment": self.name, "alignment_id": self.alignment_id, "action_names": names}


class Provenance(_Attributes):
    """What the labels of one episode were made with and from.

    Attributes:
        bundle_id: SHA-256 of the bundle's contents.
        bundle_name: what the bundle was called.
        model_fps: frames a second at which the model was trained.
        step: frames from x_t to x_{t+step}.
        step_policy: how `step` was chosen; None: not recorded (files of version 0.1).
        density: which frames are labelled.
        camera: the camera whose frames were labelled.
        fps: frames a second of the episode; None where only the step was given.
        colour: order of the channels in the stored pictures; None: ``rgb``.
        upside_down: whether the stored pictures are upside down; None: they are not.
        frames_path: where in the source the frames are, as the user gave it; None: where the format has them.
        actions_path: where in it the robot's actions of this episode are, where the user has said so.
        computation: how the networks computed.
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
        source_sha256: SHA-256 of its bytes before it was labelled; None where it is large or behind a URL.

    """

    bundle_id: str
    bundle_name: str
    model_fps: float
    step: int
    step_policy: StepPolicy | None = None
    density: Density
    camera: str
    fps: float | None = None
    colour: Colour | None = None
    upside_down: bool | None = None
    frames_path: str | None = None
    actions_path: str | None = None
    computation: Computation = Computation()
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
    source_sha256: str | None = None

    @property
    def aligned_by(self) -> LabelAlignment | None:
        """What decoded the robot's actions; None: there are none."""
        if self.alignment_id is None:
            return None
        return LabelAlignment(self.alignment or "", self.alignment_id, tuple(json.loads(self.action_names or "[]")))

    @property
    def precision(self) -> Precision:
        """What the networks computed in."""
        return self.computation.precision

    @property
    def convention(self) -> Convention:
        """How the pictures of the source are stored."""
        return Convention(self.colour or "rgb", bool(self.upside_down))

    def difference(self, wanted: Provenance, *, same_source: bool) -> str | None:
        """Why labels made so are not those that `wanted` describes, in words; None where they are.

        That they were computed on another machine, or by another version, is no difference.

        Args:
            wanted: what labels are wanted.
            same_source: whether the source must be as it was; labelling in place changes it.

        """
        for field in (*_OF_THE_LABELS, *(_OF_THE_SOURCE if same_source else ())):
            there, want = getattr(self, field), getattr(wanted, field)
            if there != want:
                return f"{field} {there}, expected {want}"
        return None


_OF_THE_LABELS = (
    "bundle_id",
    "alignment_id",
    "step",
    "density",
    "camera",
    "fps",
    "colour",
    "upside_down",
    "precision",
    "transport",
)
_OF_THE_SOURCE = ("source_size", "source_mtime_ns")


class FileProvenance(_Attributes):
    """What is said once a file: the model, and how the file was made.

    Attributes:
        bundle_id: SHA-256 of the bundle's contents.
        bundle_name: what the bundle was called.
        model_fps: frames a second at which the model was trained.
        computation: how the networks computed in the run that completed the file.
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
    computation: Computation = Computation()
    codebook_sha256: str
    frames: FramesMode
    created: str
    tool_version: str
    layout: Literal["aloha", "hdf5"] | None = None
    schema_version: Literal[1] = SCHEMA_VERSION

    @classmethod
    def of(
        cls,
        model: LabelModel,
        frames: FramesMode,
        created: str,
        tool_version: str,
        layout: Literal["aloha", "hdf5"] | None = None,
    ) -> Self:
        """The attributes of a file with labels of `model`."""
        return cls(
            **model.said(),
            computation=model.computation,
            codebook_sha256=model.codebook_sha256,
            frames=frames,
            created=created,
            tool_version=tool_version,
            layout=layout,
        )

    def model(self, codebook: NDArray[np.float32]) -> LabelModel:
        """The model, with the codebook that lies beside these attributes."""
        return LabelModel(self.bundle_id, self.bundle_name, self.model_fps, codebook, self.computation)


def _python_value(value: Any) -> Any:
    return value.item() if isinstance(value, np.generic) else value


__all__ = [
    "Computation",
    "FileProvenance",
    "FramesMode",
    "LabelAlignment",
    "LabelModel",
    "Precision",
    "Provenance",
    "StepPolicy",
    "Transport",
]
