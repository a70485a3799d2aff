"""Validates a bundle's files before anything of the size that they state is allocated.

Reads only the configuration and headers. Weights must be exactly those of the configuration's networks, so that loading
them allocates no more than the size of the files.
"""

from __future__ import annotations

from collections.abc import Mapping
from functools import lru_cache
from pathlib import Path
from typing import Any

import torch
from pydantic import ValidationError
from safetensors import SafetensorError, safe_open
from torch import Tensor, nn
from torch.overrides import TorchFunctionMode

from genie_core.errors import ModelError, problems_of
from genie_core.models.config import ModelConfig
from genie_core.models.genie import Genie

_MOST_TEXT_BYTES = 1 << 20
"""Largest configuration or card that is read, bytes."""

Shapes = Mapping[str, tuple[int, ...]]

_SHOWN = 5
"""Largest number of tensors named in an error."""

TRAINING_ONLY = ("count_K", "sum_KD", "idle_K")
"""Ends of the names of the codebooks' averages, which only training needs: bundles leave them out."""


def read_text(file: Path) -> str:
    """Read a text file of a bundle. Raises ModelError if it cannot be read, is too large or not UTF-8."""
    try:
        with file.open("rb") as opened:
            data = opened.read(_MOST_TEXT_BYTES + 1)
    except OSError as error:
        raise ModelError(f"{file} cannot be read: {error.strerror}") from error
    if len(data) > _MOST_TEXT_BYTES:
        raise ModelError(f"{file} is larger than {_MOST_TEXT_BYTES} bytes, expected a short text")
    try:
        return data.decode()
    except UnicodeDecodeError as error:
        raise ModelError(f"{file} is not UTF-8 (byte {error.start}): save it as UTF-8") from None


def read_config(file: Path) -> ModelConfig:
    """Read a model configuration. Raises ModelError naming what is wrong."""
    try:
        return ModelConfig.model_validate_json(read_text(file))
    except ValidationError as error:
        raise ModelError(f"{file} is not a model configuration: {problems_of(error)}") from error


def check_weights(folder: Path, config: ModelConfig, components: tuple[str, ...]) -> None:
    """Raise ModelError unless every component's file holds exactly the tensors that the configuration requires."""
    try:
        wanted = _shapes(config)
    except (ValueError, RuntimeError, OverflowError) as error:
        raise ModelError(f"{folder / 'config.json'} describes no model that can be built: {error}") from error
    for component in components:
        _check_component(folder / f"{component}.safetensors", wanted[component])


_OF_ONE_SHAPE = frozenset(
    {
        Tensor.mul,
        Tensor.div,
        Tensor.neg,
        Tensor.__rpow__,
        nn.functional.normalize,
        nn.init.kaiming_uniform_,
        nn.init.uniform_,
        nn.init.normal_,
        nn.init.constant_,
    }
)
"""What the networks are built with, and gives a tensor of the shape that it is given."""


class _ShapesAlone(TorchFunctionMode):
    """Leaves numbers out: on the meta device PyTorch computes them in Python and loads its compiler for that, 1.7 s."""

    def __torch_function__(self, func: Any, types: Any, args: Any = (), kwargs: Any = None) -> Any:
        if func in _OF_ONE_SHAPE:
            return args[0] if args else kwargs["tensor"]
        if func is torch.arange:
            return torch.empty(len(range(*args)))
        return (torch.empty if func is torch.randn else func)(*args, **(kwargs or {}))


@lru_cache(maxsize=8)
def _shapes(config: ModelConfig) -> Mapping[str, Shapes]:
    """Return the shape of every tensor of every component; kept, as building the networks is most of the work."""
    with torch.device("meta"), _ShapesAlone():  # nothing is allocated
        genie = Genie(config)
    return {
        component: {name: tuple(tensor.shape) for name, tensor in getattr(genie, component).state_dict().items()}
        for component in config.components
    }


def check_finite(file: Path, tensors: Mapping[str, Tensor]) -> None:
    """Raise ModelError if weights hold numbers that are not finite, which would make all outputs so."""
    for name, tensor in tensors.items():
        if not bool(torch.isfinite(tensor).all()):
            raise ModelError(f"{file}: {name} holds numbers that are not finite (NaN or infinity)")


def _check_component(file: Path, wanted: Shapes) -> None:
    try:
        with safe_open(file, framework="pt") as opened:
            slices = {name: opened.get_slice(name) for name in opened.keys()}  # noqa: SIM118 - it is not a dictionary
            held = {name: (tuple(part.get_shape()), part.get_dtype()) for name, part in slices.items()}
    except (SafetensorError, OSError) as error:
        raise ModelError(f"{file} cannot be read: {error}") from error
    missing = sorted(name for name in wanted if name not in held and not name.endswith(TRAINING_ONLY))
    unexpected = sorted(name for name in held if name not in wanted)
    if missing or unexpected:
        raise ModelError(f"{file} does not fit config.json: missing {_few(missing)}, unexpected {_few(unexpected)}")
    for name, (shape, kind) in held.items():
        if shape != wanted[name]:
            raise ModelError(f"{file} does not fit config.json: {name} is of shape {shape}, expected {wanted[name]}")
        if not kind.startswith(("F", "BF")):
            raise ModelError(f"{file}: {name} is of type {kind}, expected floating-point numbers")


def _few(names: list[str]) -> str:
    more = len(names) - _SHOWN
    return f"[{', '.join(names[:_SHOWN])}{f' and {more} more' if more > 0 else ''}]"


__all__ = ["TRAINING_ONLY", "check_finite", "check_weights", "read_config", "read_text"]
