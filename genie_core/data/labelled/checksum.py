"""Checksums of labels on disk: whether a file still holds what was written, attributes included."""

from __future__ import annotations

import hashlib
from collections.abc import Iterable, Mapping
from typing import Any

import h5py
import numpy as np
from numpy.typing import NDArray

from genie_core.data.storage.hdf5 import read_array

CHECKSUM = "sha256"
"""Attribute of a group of labels: its `group_digest`."""

FRAMES_CHECKSUM = "frames_sha256"
"""Attribute of a group of labels: `frames_digest` of the frames stored beside them at the model's size."""

_AT_A_TIME = 64


def group_digest(group: h5py.Group) -> str:
    """Return the SHA-256 over the arrays and attributes of a group except `CHECKSUM`; 64 hexadecimal digits.

    In the order of names (of arrays in a group within: paths), arrays first: name, little-endian dtype and shape of an
    array on a line, then its values row by row; name, type and value of an attribute on a line. Raises OSError if the
    file is damaged.
    """
    arrays = {name: np.asarray(read_array(group[name])) for name in _arrays_in(group)}
    if not all(isinstance(name, str) for name in (*arrays, *group.attrs)):
        raise OSError(f"{group.name}: a name is not UTF-8, of which h5py gives the bytes")
    return digest_of(arrays, {name: _python_value(group.attrs[name]) for name in group.attrs})


def digest_of(arrays: Mapping[str, NDArray[Any]], attributes: Mapping[str, Any]) -> str:
    """Return the `group_digest` of a group that holds these arrays, by path, and these attributes as Python's values.

    Whoever writes a group need not read it again for its checksum.
    """
    digest = hashlib.sha256()
    for name in sorted(arrays):
        values = np.ascontiguousarray(arrays[name], arrays[name].dtype.newbyteorder("<"))
        digest.update(f"{name} {values.dtype.str} {values.shape}\n".encode())
        digest.update(values.tobytes())
    for name in sorted(set(attributes) - {CHECKSUM}):
        digest.update(f"@{name} {type(attributes[name]).__name__} {attributes[name]!r}\n".encode())
    return digest.hexdigest()


def _arrays_in(group: h5py.Group) -> list[str]:
    """Return the paths in the group of its arrays; of fused labels also those of each view."""
    found: list[str] = []
    group.visititems(lambda name, item: found.append(name) if isinstance(item, h5py.Dataset) else None)
    return found


def frames_digest(chunks: Iterable[NDArray[np.uint8]]) -> str:
    """Return the SHA-256 over the pixels of an episode's frames, row by row; 64 hexadecimal digits."""
    digest = hashlib.sha256()
    for chunk in chunks:
        digest.update(np.ascontiguousarray(chunk).tobytes())
    return digest.hexdigest()


def stored_frames_digest(frames: h5py.Dataset) -> str:
    """Return `frames_digest` of frames in a file, reading some at a time. Raises OSError if the file is damaged."""
    return frames_digest(frames[start : start + _AT_A_TIME] for start in range(0, len(frames), _AT_A_TIME))


def is_intact(group: h5py.Group) -> bool | None:
    """Return whether a group of labels is as written; None if it has no checksum (Genie before 0.2)."""
    expected = group.attrs.get(CHECKSUM)
    if expected is None:
        return None
    try:
        return bool(group_digest(group) == expected)
    except OSError:
        return False


def _python_value(value: Any) -> Any:
    return value.item() if isinstance(value, np.generic) else value


__all__ = [
    "CHECKSUM",
    "FRAMES_CHECKSUM",
    "digest_of",
    "frames_digest",
    "group_digest",
    "is_intact",
    "stored_frames_digest",
]
