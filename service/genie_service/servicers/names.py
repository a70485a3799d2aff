"""Conversion between resource names of models, ``models/{model}``, and plain names."""

from __future__ import annotations

from genie_core.errors import RequestError

_PREFIX = "models/"


def model_name(resource_name: str, field: str, *, required: bool = False) -> str:
    """Return {model} of ``models/{model}``; "" (the default model) for "" unless `required`. Raises RequestError."""
    if not resource_name and not required:
        return ""
    name = resource_name.removeprefix(_PREFIX)
    if not resource_name.startswith(_PREFIX) or not name or "/" in name:
        raise RequestError(field, f"got {resource_name!r}, expected 'models/' and the model's name")
    return name


def resource_name(name: str) -> str:
    """``models/{name}``."""
    return _PREFIX + name


__all__ = ["model_name", "resource_name"]
