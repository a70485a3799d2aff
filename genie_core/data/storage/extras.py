"""Libraries that only some formats need: imported when the first file of that format is opened, each from an extra."""

from __future__ import annotations

from importlib import import_module
from types import ModuleType

from genie_core.data.storage.location import SourcePath
from genie_core.errors import DatasetError


def library(module: str, extra: str, path: SourcePath, what: str) -> ModuleType:
    """Import the library that reads `path`.

    Args:
        module: name of the module.
        extra: extra of the distribution that installs it.
        path: what is being read, for the error.
        what: format of `path`, in words.

    Raises:
        DatasetError: it is not installed; the message says how to install it.

    """
    try:
        return import_module(module)
    except ModuleNotFoundError as error:
        if (error.name or "").partition(".")[0] != module.partition(".")[0]:
            raise
        raise DatasetError(
            f"{path}: reading {what} needs `pip install 'genie-latent[{extra}]'` (there is no {error.name} here)"
        ) from error


__all__ = ["library"]
