"""Provenance that a labelled file has once: the model that made its labels, and how the file was made."""

from __future__ import annotations

from typing import Literal, Self

import numpy as np
from numpy.typing import NDArray

from genie_core.data.labelled.provenance import (
    Computation,
    FramesMode,
    LabelModel,
    StoredAttributes,
)

SCHEMA_VERSION: Literal[1] = 1


class FileProvenance(StoredAttributes):
    """Provenance stored once per file: the model, and how the file was made.

    Attributes:
        bundle_id: SHA-256 of the bundle's contents.
        bundle_name: the bundle's name at that time.
        model_fps: frame rate at which the model was trained, Hz.
        computation: how the networks computed in the run that completed the file.
        codebook_sha256: SHA-256 of the codebook as little-endian, row-major float32.
        fine_codebook_sha256: the same of the second level; None without one.
        frames: where the frames are.
        created: when labelling began, ISO 8601, UTC.
        tool_version: version of Genie.
        layout: format whose layout the file has; None: robomimic's.
        export_request: SHA-256 of what `genie export` was asked for, where it has written the file.
        schema_version: version of this schema.

    """

    bundle_id: str
    bundle_name: str
    model_fps: float
    computation: Computation = Computation()
    codebook_sha256: str
    fine_codebook_sha256: str | None = None
    frames: FramesMode
    created: str
    tool_version: str
    layout: Literal["aloha", "hdf5"] | None = None
    export_request: str | None = None
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
        """Return the provenance of a file with labels of `model`."""
        return cls(
            **model.said(),
            computation=model.computation,
            codebook_sha256=model.codebook_sha256,
            fine_codebook_sha256=model.fine_codebook_sha256,
            frames=frames,
            created=created,
            tool_version=tool_version,
            layout=layout,
        )

    def model(self, codebook: NDArray[np.float32], fine_codebook: NDArray[np.float32] | None) -> LabelModel:
        """Return the model, with the codebooks that lie beside these attributes."""
        return LabelModel(self.bundle_id, self.bundle_name, self.model_fps, codebook, self.computation, fine_codebook)


__all__ = ["FileProvenance"]
