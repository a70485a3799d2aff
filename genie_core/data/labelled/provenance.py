"""Provenance of labels, i.e. what they were made with and from: defined, validated, compared, written and read here.

A new field goes into one of these classes and into docs/labels.md and, if the server supplies it (`Computation`), into
the contract's messages under the same name. All other code passes these objects on whole.
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
    field_validator,
    model_serializer,
    model_validator,
)

from genie_core.data.frames.convention import Colour, Convention
from genie_core.data.frames.turning import Rotation
from genie_core.data.labelled.labels import Density
from genie_core.data.storage.json_text import parse_json
from genie_core.errors import DatasetError, problems_of

Precision = Literal["float32", "bfloat16"]
"""Data type of the networks' arithmetic. Labels of two precisions differ near ties, so they are never mixed."""

Transport = Literal["raw", "png", "jpeg"]
"""Encoding of frames on their way to the model: raw, lossless PNG, or JPEG, which changes pixels and so labels."""

StepPolicy = Literal["given", "rates", "auto"]
"""How the transition length was chosen: ``given`` by the user or the alignment, from the frame ``rates`` of episode and
model, or ``auto``: the shortest at which motion is as large as in the model's training."""

FramesMode = Literal["link", "copy", "in_place", "model", "none"]
"""Where the frames of a labelled file are.

``link``: in the source, behind external links (HDF5 sources). ``copy``: copied with everything else in the demos (HDF5
sources). ``in_place``: labels are added to the source itself (HDF5 sources). ``model``: stored at the model's size
(video and LeRobot sources). ``none``: labels only.
"""


class Computation(BaseModel):
    """How the networks computed, as reported by the server that ran them; None where it does not say.

    Attributes:
        precision: data type of the arithmetic.
        processor: model of the GPU, or of the CPU and its vector instructions in use; the last bits of a latent may
            differ from one to another.
        torch_version: version of PyTorch.

    """

    model_config = ConfigDict(frozen=True)

    precision: Precision = "float32"
    processor: str | None = None
    torch_version: str | None = None

    def said(self) -> dict[str, Any]:
        """Return the known fields, named and typed as in attributes, documents and messages."""
        return self.model_dump(exclude_none=True)


_UNKNOWN = Computation()
"""Of files that do not say: they predate bfloat16."""


class StoredAttributes(BaseModel):
    """HDF5 attributes as a pydantic model: one per field, none for None; the fields of `computation` lie flat beside
    the others. JSON has the same names and values.
    """

    model_config = ConfigDict(frozen=True, protected_namespaces=())

    def said(self) -> dict[str, Any]:
        """Return the attributes, by name: every field that is not None."""
        return self.model_dump(exclude_none=True)

    def write(self, group: h5py.Group) -> None:
        """Store every field that is not None."""
        for key, value in self.said().items():
            group.attrs[key] = value

    @classmethod
    def read(cls, group: h5py.Group) -> Self:
        """Read the attributes of `group`. Raises DatasetError if one is missing or of the wrong type."""
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

    @model_serializer(mode="wrap")  # names no imported type: pydantic 2.10 looks them up where a subclass is defined
    def _spread(self, dump: SerializerFunctionWrapHandler) -> dict[str, object]:
        flat: dict[str, object] = {}
        for key, value in dump(self).items():
            flat |= value if key == "computation" else {key: value}
        return flat


@dataclass(frozen=True)
class LabelModel:
    """What labels record of the model that makes them.

    Attributes:
        bundle_id: SHA-256 of the bundle's contents, 64 hexadecimal digits.
        bundle_name: the bundle's name.
        model_fps: frame rate at which the model was trained, Hz.
        codebook: (codes, D) float32; ``codebook[code]`` is the quantized latent.
        computation: how its networks compute.
        fine_codebook: (fine codes, D) float32, the same of the second level; None of a model without one.

    """

    bundle_id: str
    bundle_name: str
    model_fps: float
    codebook: NDArray[np.float32]
    computation: Computation = _UNKNOWN
    fine_codebook: NDArray[np.float32] | None = None

    @property
    def codebook_sha256(self) -> str:
        """SHA-256 of the codebook as little-endian, row-major float32."""
        return _sha256(self.codebook)

    @property
    def fine_codebook_sha256(self) -> str | None:
        """The same of the second level; None without one."""
        return None if self.fine_codebook is None else _sha256(self.fine_codebook)

    def said(self) -> dict[str, Any]:
        """Return the model's fields in the provenance of labels and files, except for `computation`."""
        return {"bundle_id": self.bundle_id, "bundle_name": self.bundle_name, "model_fps": self.model_fps}


@dataclass(frozen=True)
class LabelAlignment:
    """What labels record of the alignment that decodes the robot's actions.

    Attributes:
        name: the alignment's name.
        alignment_id: SHA-256 of its file, 64 hexadecimal digits.
        action_names: names of the A numbers of an action.

    """

    name: str
    alignment_id: str
    action_names: tuple[str, ...]

    def said(self) -> dict[str, Any]:
        """Return what the labels say of it."""
        names = json.dumps(self.action_names)
        return {"alignment": self.name, "alignment_id": self.alignment_id, "action_names": names}


class Provenance(StoredAttributes):
    """Provenance of the labels of one episode.

    Attributes:
        bundle_id: SHA-256 of the bundle's contents.
        bundle_name: the bundle's name at that time.
        model_fps: frame rate at which the model was trained, Hz.
        step: frames from x_t to x_{t+step}.
        step_policy: how `step` was chosen; None: not recorded (files of version 0.1).
        density: which frames are labelled.
        camera: the camera whose frames were labelled; of fused labels the first one.
        fused: names of the cameras whose labels were fused, a JSON list; None: labels are of `camera` alone.
        fused_sources: path or URL, size in bytes and modification time in nanoseconds of the files of the cameras after
            the first, a JSON list of lists.
        fps: frame rate of the episode, Hz; None where only the step was given.
        colour: channel order of the stored images; None: ``rgb``.
        upside_down: whether the stored images are upside down; None: they are not.
        rotate: degrees clockwise by which they were turned, as the user said; None: not at all.
        frames_path: path of the frames in the source, as the user gave it; None: where the format puts them.
        actions_path: path of this episode's actions in the source, if the user gave one.
        computation: how the networks computed.
        transport: ``jpeg`` if frames went to the model as JPEG; None: unchanged.
        alignment: name of the alignment that decoded the robot's actions; None: none were decoded.
        alignment_id: SHA-256 of the alignment's file.
        action_names: names of the A components of an action, a JSON list.
        excluded: how many transitions got no label for what their pictures or times show, by reason, a JSON object;
            None: all of them did.
        frozen: ``kept`` if transitions of frozen pictures were to be labelled all the same; None: they were not.
        feature_dim: size F of the features beside the labels; None: there are none.
        created: when labelling began, ISO 8601, UTC.
        tool_version: version of Genie.
        source: file that held the frames, as an absolute path or a URL.
        source_name: the episode's name in the labelled dataset.
        source_size: size of `source`, bytes.
        source_mtime_ns: modification time of `source`, nanoseconds since the Unix epoch.
        source_sha256: SHA-256 of `source` before it was labelled; None if it is large or behind a URL.

    """

    bundle_id: str
    bundle_name: str
    model_fps: float
    step: int
    step_policy: StepPolicy | None = None
    density: Density
    camera: str
    fused: str | None = None
    fused_sources: str | None = None
    fps: float | None = None
    colour: Colour | None = None
    upside_down: bool | None = None
    rotate: Rotation | None = None
    frames_path: str | None = None
    actions_path: str | None = None
    computation: Computation = Computation()
    transport: Literal["jpeg"] | None = None
    alignment: str | None = None
    alignment_id: str | None = None
    action_names: str | None = None
    excluded: str | None = None
    frozen: Literal["kept"] | None = None
    feature_dim: int | None = None
    created: str
    tool_version: str
    source: str
    source_name: str
    source_size: int
    source_mtime_ns: int
    source_sha256: str | None = None

    @field_validator("action_names", "fused")
    @classmethod
    def _is_a_list(cls, text: str | None) -> str | None:
        _names_in(text or "[]")
        return text

    @model_validator(mode="after")
    def _has_a_source_for_each(self) -> Self:
        """Labels are read from files of strangers: each camera after the first has a path, a size and a time."""
        others = parse_json(self.fused_sources or "[]")
        if not isinstance(others, list) or len(others) != max(len(self.fused_cameras) - 1, 0):
            raise ValueError(f"fused_sources: got {str(self.fused_sources)[:60]!r}, expected one for each other camera")
        for one in others:
            if not isinstance(one, list) or [type(value) for value in one] != [str, int, int]:
                raise ValueError(f"fused_sources: got {str(one)[:60]!r}, expected a path, a size and a time")
        return self

    @property
    def aligned_by(self) -> LabelAlignment | None:
        """The alignment that decoded the robot's actions; None: none were decoded."""
        if self.alignment_id is None:
            return None
        return LabelAlignment(self.alignment or "", self.alignment_id, _names_in(self.action_names or "[]"))

    @property
    def fused_cameras(self) -> tuple[str, ...]:
        """The cameras whose labels were fused; empty where labels are of one camera."""
        return _names_in(self.fused or "[]")

    def seen_by(self, camera: str) -> Provenance:
        """Return what is true of the labels that one of the fused cameras had by itself: its name, and its own file."""
        if camera == self.camera:
            return self
        others = parse_json(self.fused_sources or "[]")
        path, size, mtime_ns = others[self.fused_cameras.index(camera) - 1]
        frames_path = None if self.frames_path is None else _renamed(self.frames_path, self.camera, camera)
        own = {"camera": camera, "source": path, "source_size": size, "source_mtime_ns": mtime_ns}
        return self.model_copy(update={**own, "frames_path": frames_path, "source_sha256": None})

    @property
    def precision(self) -> Precision:
        """Number format that the networks computed in."""
        return self.computation.precision

    @property
    def convention(self) -> Convention:
        """How the source stores images."""
        return Convention(self.colour or "rgb", bool(self.upside_down), self.rotate)

    def difference(self, wanted: Provenance, *, same_source: bool) -> str | None:
        """Say how these labels differ from the `wanted` ones, in words; None if they are the same.

        Another machine or another version of Genie is no difference.

        Args:
            wanted: provenance of the labels that are wanted.
            same_source: whether the source must be unchanged; labelling in place changes it.

        """
        for field in (*_OF_THE_LABELS, *(_OF_THE_SOURCE if same_source else ())):
            there, want = getattr(self, field), getattr(wanted, field)
            if there != want:
                return f"{field} {there}, expected {want}"
        return None


_OF_THE_LABELS = (
    "bundle_id",
    "alignment_id",
    "feature_dim",
    "step",
    "density",
    "camera",
    "fused",
    "fps",
    "colour",
    "upside_down",
    "rotate",
    "precision",
    "transport",
    "frozen",
)
_OF_THE_SOURCE = ("source_size", "source_mtime_ns", "fused_sources")


def _sha256(codebook: NDArray[np.float32]) -> str:
    return hashlib.sha256(np.ascontiguousarray(codebook, "<f4").tobytes()).hexdigest()


def _renamed(path: str, camera: str, other: str) -> str:
    """Put another camera into a path in a file, where its own is a part of it."""
    return "/".join(other if part == camera else part for part in path.split("/"))


def _names_in(text: str) -> tuple[str, ...]:
    """Return the names in a JSON list. Raises ValueError if it is none."""
    names = parse_json(text)
    if not isinstance(names, list) or not all(isinstance(name, str) for name in names):
        raise ValueError(f"got {text[:60]!r}, expected a JSON list of names")
    return tuple(names)


def _python_value(value: Any) -> Any:
    return value.item() if isinstance(value, np.generic) else value


__all__ = [
    "Computation",
    "FramesMode",
    "LabelAlignment",
    "LabelModel",
    "Precision",
    "Provenance",
    "StepPolicy",
    "StoredAttributes",
    "Transport",
]
