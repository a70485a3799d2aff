"""Turns the provenance of a labelled set into one JSON document and back, for formats without attributes. No I/O.

The document holds the attributes of a labelled HDF5 file and the codebook, so that nothing is lost on the way to
another format and back. Values shared by all episodes are stored once.
"""

from __future__ import annotations

import json
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from functools import cached_property
from typing import Any

import numpy as np
from numpy.typing import NDArray
from pydantic import ValidationError

from genie_core import __version__
from genie_core.data.dataset import camera_label
from genie_core.data.labelled.provenance import Computation, LabelModel, Provenance
from genie_core.data.storage.json_text import parse_json
from genie_core.errors import DatasetError, problems_of, reason_of

DOCUMENT_VERSION = 1
_KIND = "genie latent actions"


@dataclass(frozen=True)
class LabelledEpisode:
    """One labelled episode.

    Attributes:
        name: ``demo_3``, as in a labelled file.
        num_frames: its number of labels, valid or not.
        attrs: provenance of its labels: model, settings, source.

    """

    name: str
    num_frames: int
    attrs: Provenance


@dataclass(frozen=True)
class LabelledSet:
    """Provenance of a set of labels.

    Attributes:
        model: the model, with its codebook.
        created: when labelling began, ISO 8601, UTC.
        tool_version: version of Genie that made the labels.
        episodes: in the order of the file.
        masks: names of episodes, by filter key (``train``, ``valid``).

    """

    model: LabelModel
    created: str
    tool_version: str
    episodes: tuple[LabelledEpisode, ...]
    masks: Mapping[str, tuple[str, ...]]

    @cached_property
    def feature_dim(self) -> int | None:
        """Size of the features, the same of all labels; None if there are none."""
        return next((e.attrs.feature_dim for e in self.episodes if e.attrs.feature_dim is not None), None)

    @cached_property
    def action_names(self) -> tuple[str, ...] | None:
        """Names of the components of decoded actions, the same for all episodes; None if none were decoded."""
        decoded = (episode.attrs.aligned_by for episode in self.episodes)
        return next((alignment.action_names for alignment in decoded if alignment is not None), None)

    @cached_property
    def view_names(self) -> dict[str, str]:
        """Short name of each camera whose labels were fused, the same of all episodes; empty where none were."""
        cameras = next((e.attrs.fused_cameras for e in self.episodes if e.attrs.fused is not None), ())
        return {camera: camera_label(camera, cameras) for camera in cameras}

    @property
    def leaves_out(self) -> bool:
        """Whether any transition of any episode was left out for what its pictures or times show."""
        return any(episode.attrs.excluded is not None for episode in self.episodes)


def provenance_document(provenance: LabelledSet, exported: str, request: str | None = None) -> dict[str, Any]:
    """Build the document of JSON types.

    Args:
        provenance: of the labels.
        exported: time of the export, ISO 8601, UTC.
        request: SHA-256 of what was asked for; see `request_in`.

    """
    model = provenance.model
    described = [episode.attrs.model_dump(exclude_none=True) for episode in provenance.episodes]
    shared = _shared(described)
    return {
        "kind": _KIND,
        "version": DOCUMENT_VERSION,
        "exported": exported,
        "exported_by": __version__,
        **({} if request is None else {"request": request}),
        "created": provenance.created,
        "tool_version": provenance.tool_version,
        "model": {
            **model.said(),
            **model.computation.said(),
            "codebook_sha256": model.codebook_sha256,
            "codebook": model.codebook.tolist(),
            **(
                {}
                if model.fine_codebook is None
                else {"fine_codebook_sha256": model.fine_codebook_sha256, "fine_codebook": model.fine_codebook.tolist()}
            ),
        },
        "labels": shared,
        "episodes": [
            {
                "name": episode.name,
                "num_frames": episode.num_frames,
                **{key: value for key, value in attrs.items() if key not in shared},
            }
            for episode, attrs in zip(provenance.episodes, described, strict=True)
        ],
        "masks": {key: list(names) for key, names in provenance.masks.items()},
    }


def provenance_bytes(provenance: LabelledSet, exported: str, request: str | None = None) -> bytes:
    """Return the document as UTF-8."""
    return json.dumps(provenance_document(provenance, exported, request), ensure_ascii=False).encode()


def request_in(document: bytes) -> str | None:
    """Return what was asked for, as a document says it; None if it does not, or cannot be read."""
    try:
        request = parse_json(document)["request"]
    except (KeyError, TypeError, ValueError):
        return None
    return request if isinstance(request, str) else None


def read_provenance(document: bytes, where: str) -> LabelledSet:
    """Read what `provenance_bytes` wrote; `where` names its location in errors.

    Raises:
        DatasetError: it is not such a document, is of a version unknown to this Genie, or its codebook does not match
            the stored hash.

    """
    try:
        content = parse_json(document)
        if content["kind"] != _KIND or content["version"] != DOCUMENT_VERSION:
            came = f"{content['kind']} of version {content['version']}"
            raise DatasetError(f"{where}: got {came}, expected {_KIND} of version {DOCUMENT_VERSION}")
        return _parse(content, where)
    except ValidationError as error:
        raise DatasetError(f"{where}: not the provenance that Genie writes: {problems_of(error)}") from error
    except (KeyError, TypeError, ValueError) as error:
        raise DatasetError(f"{where}: not the provenance that Genie writes: {reason_of(error)}") from error


def _parse(content: dict[str, Any], where: str) -> LabelledSet:
    described = content["model"]
    codebook, fine = _codebook(described, "codebook"), None
    if "fine_codebook" in described:
        fine = _codebook(described, "fine_codebook")
    named = {key: described[key] for key in ("bundle_id", "bundle_name", "model_fps")}
    computation = Computation.model_validate(described)
    model = LabelModel(**named, codebook=codebook, computation=computation, fine_codebook=fine)
    found = (model.codebook_sha256, model.fine_codebook_sha256)
    wanted = (described["codebook_sha256"], described.get("fine_codebook_sha256"))
    if found != wanted:
        raise DatasetError(f"{where}: codebook: got SHA-256 {found}, expected {wanted}")
    return LabelledSet(
        model=model,
        created=str(content["created"]),
        tool_version=str(content["tool_version"]),
        episodes=tuple(
            LabelledEpisode(
                name=str(episode["name"]),
                num_frames=int(episode["num_frames"]),
                attrs=Provenance.model_validate({**content["labels"], **episode}),
            )
            for episode in content["episodes"]
        ),
        masks={str(key): tuple(map(str, names)) for key, names in content["masks"].items()},
    )


def _codebook(described: Mapping[str, Any], key: str) -> NDArray[np.float32]:
    return np.array(described[key], np.float32).reshape(len(described[key]), -1)


def _shared(described: Sequence[Mapping[str, Any]]) -> dict[str, Any]:
    """Return the attributes that have the same value in all episodes."""
    if not described:
        return {}
    first, *others = described
    return {key: value for key, value in first.items() if all(other.get(key) == value for other in others)}


__all__ = [
    "DOCUMENT_VERSION",
    "LabelledEpisode",
    "LabelledSet",
    "provenance_bytes",
    "provenance_document",
    "read_provenance",
    "request_in",
]
