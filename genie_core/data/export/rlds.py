"""Labelled sets as RLDS: what of labels and robot goes into which feature of a step."""

from __future__ import annotations

import re
from collections.abc import Iterable, Iterator
from typing import Any

import numpy as np
from numpy.typing import NDArray

from genie_core.data.export.provenance import LabelledSet
from genie_core.data.formats.rlds.writer import StepColumn
from genie_core.data.frames.images import encode_image
from genie_core.data.frames.resize import Frames
from genie_core.data.labelled.labels import Labels

SHARD_BYTES = 256 * 2**20
"""Size of a shard: TensorFlow Datasets' own are 256 MiB to 1 GiB."""

METADATA = ("episode", "source")
"""What is said of each episode: its name in the labels, and the file that its frames came from."""


def camera_feature(camera: str) -> str:
    """Return the feature of a camera's pictures: ``observation/agentview_image``."""
    name = camera.removeprefix("observation.images.")
    return "observation/" + (re.sub(r"[^A-Za-z0-9_]+", "_", name).strip("_") or "image")


def step_columns(provenance: LabelledSet, action: int | None, state: int | None) -> dict[str, StepColumn]:
    """Return the features of a step; `action` and `state` are the widths of the robot's, None where not known."""
    decoded = provenance.action_names
    robot = {"action": action, "observation/state": state}
    return {
        **{key: StepColumn("float32", (width,)) for key, width in robot.items() if width is not None},
        "latent_action/code": StepColumn("int64"),
        "latent_action/latent": StepColumn("float32", (provenance.model.codebook.shape[1],)),
        "latent_action/confidence": StepColumn("float32"),
        "latent_action/valid": StepColumn("bool"),
        **({"latent_action/reason": StepColumn("int64")} if provenance.leaves_out else {}),
        **({} if provenance.model.fine_codebook is None else {"latent_action/fine_code": StepColumn("int64")}),
        **(
            {}
            if provenance.feature_dim is None
            else {"latent_action/feature": StepColumn("float32", (provenance.feature_dim,))}
        ),
        **({} if decoded is None else {"latent_action/action": StepColumn("float32", (len(decoded),))}),
    }


def step_values(
    labels: Labels, action: NDArray[Any] | None, state: NDArray[Any] | None, columns: dict[str, StepColumn]
) -> dict[str, NDArray[Any]]:
    """Return the columns of one episode, (T, ...), in the types that they are stored in."""
    values = {
        "action": action,
        "observation/state": state,
        "latent_action/code": labels.code,
        "latent_action/latent": labels.latent,
        "latent_action/confidence": labels.confidence,
        "latent_action/valid": labels.valid,
        "latent_action/reason": np.zeros(len(labels), np.uint8) if labels.reason is None else labels.reason,
        "latent_action/action": labels.action,
        "latent_action/fine_code": labels.fine_code,
        "latent_action/feature": labels.feature,
    }
    return {key: np.asarray(values[key], column.dtype) for key, column in columns.items()}


def jpegs(chunks: Iterable[Frames]) -> Iterator[bytes]:
    """Yield every frame as the bytes of a JPEG of high quality."""
    for chunk_THWC in chunks:
        for frame_HWC in chunk_THWC:
            yield encode_image(frame_HWC, "jpeg")


__all__ = ["METADATA", "SHARD_BYTES", "camera_feature", "jpegs", "step_columns", "step_values"]
