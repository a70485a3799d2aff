"""Features of the steps of an RLDS dataset, as TFDS' ``features.json`` declares them or a first record shows them.

Touches no file. Source: tensorflow_datasets/core/features/feature.proto.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from typing import Any, Literal

import numpy as np
from pydantic import BaseModel, ConfigDict, Field, ValidationError
from pydantic.alias_generators import to_camel

from genie_core.data.formats.rlds.example import Values
from genie_core.data.frames.images import decode_image
from genie_core.errors import DatasetError, RequestError, problems_of

STEPS = "steps/"
"""Prefix of the names of all step features in a record."""

FLAT = "/ragged_flat_values"
"""Suffix that TFDS adds to a feature that is a sequence within a step: its numbers, flattened."""

_ROWS = "/ragged_row_lengths_"
_COUNTERS = ("is_first", "is_last", "is_terminal")
"""Features that RLDS requires in every step: one number each."""

_IMAGE_CHANNELS = (1, 3, 4, -1)


@dataclass(frozen=True)
class StepFeature:
    """One feature of a step.

    Attributes:
        key: name below ``steps``: ``observation/image_0``.
        kind: ``image``: a PNG or JPEG per step; ``number``: an array per step; ``text``: a string per step.
        shape: of one step's array or picture; -1 for a length that is not declared.
        dtype: NumPy name of the dtype of the array or picture.
        encoding: of an array, ``none``: its numbers one by one; ``bytes``, ``zlib``: a string that holds them.
        problem: why it cannot be read; None if it can.

    """

    key: str
    kind: Literal["image", "number", "text", "other"]
    shape: tuple[int, ...] = ()
    dtype: str = "uint8"
    encoding: str = "none"
    problem: str | None = None

    @property
    def is_camera(self) -> bool:
        """Whether it holds a picture for every step that can be read as RGB."""
        return self.kind == "image" and self.problem is None

    @property
    def frame_size(self) -> tuple[int, int]:
        """Declared height and width of a picture; (0, 0) if not declared."""
        height, width = self.shape[:2] if len(self.shape) == 3 else (0, 0)
        return max(height, 0), max(width, 0)


def step_count(values: Mapping[str, Values]) -> int | None:
    """Return the number of steps in a record, by its is_first, is_last and is_terminal; None without any of them."""
    return next((len(values[STEPS + key]) for key in _COUNTERS if STEPS + key in values), None)


def declared_features(document: Any) -> dict[str, StepFeature]:
    """Return the features of a step by key, from the contents of ``features.json``.

    Raises DatasetError, without naming the file, if it is not as TFDS writes it or declares no steps.
    """
    try:
        root = _Node.model_validate(document)
    except ValidationError as error:
        raise DatasetError(problems_of(error)) from error
    top = root.features_dict.features if root.features_dict else {}
    steps = top.get("steps")
    if steps is None or steps.sequence is None:
        exist = ", ".join(sorted(top)) or "none"
        raise DatasetError(f"declares no dataset `steps`, so this is not RLDS; the features are: {exist}")
    return {feature.key: feature for feature in _leaves(steps.sequence.feature, "", ())}


def inferred_features(values: Mapping[str, Values]) -> dict[str, StepFeature]:
    """Return the features of a step by key, inferred from one record of an episode with at least one step.

    Arrays of several axes are returned flat. Raises DatasetError, without naming the file, if there are no steps.
    """
    features = {}
    steps = {name.removeprefix(STEPS): held for name, held in values.items() if name.startswith(STEPS)}
    images = (len(held) for held in steps.values() if len(held) and _is_image(held[0]))
    count = step_count(values) or next(images, 0)
    if not count:
        exist = ", ".join(sorted(values)[:8])
        raise DatasetError(f"no features of steps, expected steps/is_first and others; it holds: {exist}")
    for key, held in sorted(steps.items()):
        if key.endswith(FLAT):
            key = key.removesuffix(FLAT)
            features[key] = StepFeature(key, "other", problem="its length may not be the same in every step")
        elif _ROWS not in key:
            features[key] = _inferred(key, held, count)
    return features


def _inferred(key: str, held: Values, count: int) -> StepFeature:
    if not len(held) or len(held) % count:
        return StepFeature(key, "other", problem=f"{len(held)} values in {count} steps, whose shape is unknown")
    first, per_step = held[0], len(held) // count
    if not isinstance(first, bytes):
        dtype = "float32" if isinstance(first, float) else "int64"
        return StepFeature(key, "number", () if per_step == 1 else (per_step,), dtype)
    if per_step > 1:
        return StepFeature(key, "other", problem=f"{per_step} strings a step, expected one")
    if not _is_image(first):
        return StepFeature(key, "text", dtype="str")
    problem = _camera_problem(key, (), (-1, -1, -1), "uint8")
    try:
        decode_image(first)
    except RequestError as error:
        problem = problem or str(error)
    return StepFeature(key, "image", (-1, -1, -1), problem=problem)


def _is_image(value: object) -> bool:
    return isinstance(value, bytes) and value.startswith((b"\x89PNG\r\n\x1a\n", b"\xff\xd8\xff"))


class _Json(BaseModel):
    model_config = ConfigDict(frozen=True, alias_generator=to_camel)


class _Shape(_Json):
    dimensions: tuple[int, ...] = ()


class _Tensor(_Json):
    shape: _Shape = _Shape()
    dtype: str
    encoding: str = "none"


class _Image(_Json):
    shape: _Shape = _Shape()
    dtype: str = "uint8"


class _Sequence(_Json):
    feature: _Node
    length: int = -1


class _FeaturesDict(_Json):
    features: Mapping[str, _Node] = {}


class _Node(_Json):
    """A feature: one of these, or of a kind that Genie does not use."""

    python_class_name: str = Field(min_length=1)
    features_dict: _FeaturesDict | None = None
    sequence: _Sequence | None = None
    image: _Image | None = None
    tensor: _Tensor | None = None
    text: Mapping[str, Any] | None = None
    class_label: Mapping[str, Any] | None = None


def _leaves(node: _Node, key: str, above: tuple[int, ...]) -> Iterator[StepFeature]:
    """Yield the features below `node`; `above` are the lengths of the sequences that enclose it within the steps."""
    if node.features_dict is not None:
        for name, inner in sorted(node.features_dict.features.items()):
            yield from _leaves(inner, f"{key}/{name}" if key else name, above)
    elif node.sequence is not None:
        yield from _leaves(node.sequence.feature, key, (*above, node.sequence.length))
    elif node.image is not None:
        shape = node.image.shape.dimensions
        yield StepFeature(
            key, "image", shape, node.image.dtype, problem=_camera_problem(key, above, shape, node.image.dtype)
        )
    elif node.tensor is not None:
        yield _tensor(node.tensor, key, above)
    elif node.class_label is not None:
        yield _tensor(_Tensor(dtype="int64"), key, above)
    elif node.text is not None:
        yield StepFeature(key, "text", dtype="str", problem="several strings a step" if above else None)
    else:
        problem = f"it is a {node.python_class_name.rpartition('.')[2]}, which is not read"
        yield StepFeature(key, "other", problem=problem)


def _tensor(tensor: _Tensor, key: str, above: tuple[int, ...]) -> StepFeature:
    shape = above + tensor.shape.dimensions
    try:
        dtype = "float32" if tensor.dtype == "bfloat16" else np.dtype(tensor.dtype).name
    except TypeError:
        dtype = tensor.dtype
    if tensor.dtype in ("string", "object") or dtype.startswith(("str", "bytes")):
        return StepFeature(key, "text", dtype="str", problem="several strings a step" if shape else None)
    problem = None
    if -1 in shape:
        problem = "its length is not the same in every step"
    elif dtype != "bool" and not dtype.startswith(("int", "uint", "float")):
        problem = f"{dtype}, expected numbers"
    elif tensor.encoding not in ("none", "bytes", "zlib") or (above and tensor.encoding != "none"):
        problem = f"its encoding is {tensor.encoding}{' in a sequence' if above else ''}, which is not read"
    return StepFeature(key, "number", shape, dtype, tensor.encoding, problem)


def _camera_problem(key: str, above: tuple[int, ...], shape: tuple[int, ...], dtype: str) -> str | None:
    """Return why an image feature is not a camera; None if it is one."""
    if "depth" in key.lower():
        return "depth is not read"
    if above:
        return "several pictures a step, expected one"
    if dtype != "uint8":
        return f"pictures of {dtype}, as depth is stored, expected uint8"
    if shape and (len(shape) != 3 or shape[2] not in _IMAGE_CHANNELS):
        return f"pictures of shape {shape}, expected (H, W, 3)"
    return None


__all__ = ["FLAT", "STEPS", "StepFeature", "declared_features", "inferred_features", "step_count"]
