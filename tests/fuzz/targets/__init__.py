"""All targets by name; a module is imported when one of its targets is asked for, since some need torch."""

from __future__ import annotations

from importlib import import_module

from tests.fuzz.target import Target

MODULES = {
    "requests": "requests",
    "png": "images",
    "jpeg": "images",
    "image-file": "images",
    "image-folder": "images",
    "tfrecord": "rlds",
    "tf-example": "rlds",
    "rlds-json": "rlds",
    "lerobot-json": "lerobot",
    "parquet": "lerobot",
    "hdf5": "hdf5",
    "labelled": "hdf5",
    "journal": "hdf5",
    "video": "video",
    "webdataset": "video",
    "mcap": "recordings",
    "bag": "recordings",
    "bag2": "recordings",
    "zarr": "recordings",
    "zarr-zip": "recordings",
    "calvin": "recordings",
    "bundle-text": "bundles",
    "bundle-weights": "bundles",
    "alignment": "bundles",
}
"""The module of each target."""


def target_named(name: str) -> Target:
    """The target of that name."""
    module = import_module(f"tests.fuzz.targets.{MODULES[name]}")
    return next(target for target in module.TARGETS if target.name == name)


__all__ = ["MODULES", "target_named"]
