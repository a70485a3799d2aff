"""Reads TFRecord files: an index of the records, and one record at a time. Knows nothing of their contents.

A record is its length (8 bytes, little-endian), the length's CRC, the data and the data's CRC: CRC-32C, masked.
Source: TensorFlow, tensorflow/core/lib/io/record_writer.h and tensorflow/core/lib/hash/crc32c.h.
"""

from __future__ import annotations

import os
import struct
from dataclasses import dataclass

import google_crc32c
import numpy as np
from numpy.typing import NDArray

from genie_core.data.storage.git_lfs import lfs_pointer
from genie_core.data.storage.location import SourcePath, local_file
from genie_core.errors import DatasetError

_HEADER = struct.Struct("<QI")
_FOOTER = struct.Struct("<I")
_MASK_DELTA = 0xA282EAD8


@dataclass(frozen=True)
class RecordIndex:
    """Locations of the records of one file.

    Attributes:
        path: the file.
        spans: (n, 2) int64, first byte and length in bytes of each record's data, in the order of the file.
        damage: why there may be more records that cannot be found; None if these are all. The records before the
            damage are whole, as far as their lengths tell.

    """

    path: SourcePath
    spans: NDArray[np.int64]
    damage: str | None

    def __len__(self) -> int:
        """Return the number of records found."""
        return len(self.spans)

    def read(self, number: int) -> bytes:
        """Return the data of record `number` >= 0.

        Raises DatasetError if there is no such record, the file has changed, or the data's CRC is wrong.
        """
        if number >= len(self):
            raise DatasetError(self.damage or f"{self.path}: no record {number}, the file holds {len(self)}")
        start, length = self.spans[number].tolist()
        try:
            with local_file(self.path).open("rb") as file:
                file.seek(start)
                data = file.read(length)
                footer = file.read(_FOOTER.size)
        except OSError as error:
            raise DatasetError(f"{self.path}: record {number}: {error.strerror}") from error
        if len(footer) < _FOOTER.size:
            raise DatasetError(f"{self.path}: record {number}: the file has become shorter since it was indexed")
        if masked_crc(data) != _FOOTER.unpack(footer)[0]:
            raise DatasetError(f"{self.path}: record {number}: damaged, its {length} bytes do not match their CRC")
        return data


def index_records(path: SourcePath) -> RecordIndex:
    """Find the records of a TFRecord file by their lengths; the data in between is skipped, not read.

    A file that is cut off or damaged between records is indexed up to there; `RecordIndex.damage` then gives the
    reason. Raises DatasetError if `path` cannot be read.
    """
    spans: list[tuple[int, int]] = []
    try:
        with local_file(path).open("rb", buffering=_HEADER.size) as file:
            size = os.fstat(file.fileno()).st_size
            position, damage = 0, None
            while position < size and damage is None:
                file.seek(position)
                length, damage = _length(file.read(_HEADER.size), size - position)
                if damage is None:
                    spans.append((position + _HEADER.size, length))
                    position += _HEADER.size + length + _FOOTER.size
    except OSError as error:
        raise DatasetError(f"{path}: {error.strerror}") from error
    pointer = lfs_pointer(local_file(path)) if damage and not spans else None
    if pointer:
        damage = f"{path}: {pointer}"
    elif damage:
        damage = f"{path}: record {len(spans)}, at byte {position} of {size}: {damage}"
    return RecordIndex(path, np.array(spans, np.int64).reshape(-1, 2), damage)


def masked_crc(data: bytes) -> int:
    """Return the CRC-32C of `data` as TFRecord stores it: rotated and shifted, so that CRCs of CRCs stay strong."""
    crc = int(google_crc32c.value(data))
    return ((crc >> 15 | crc << 17) + _MASK_DELTA) & 0xFFFFFFFF


def _length(header: bytes, left: int) -> tuple[int, str | None]:
    """Return the length of the data that `header` announces, and the damage, if any.

    `left` is the number of bytes of the file that the record can have at most.
    """
    if len(header) < _HEADER.size:
        return 0, f"the file is truncated, expected {_HEADER.size} bytes of length and CRC, {len(header)} are there"
    length, crc = _HEADER.unpack(header)
    if masked_crc(header[:8]) != crc:
        return 0, "not a TFRecord, or damaged: the length of the record does not match its CRC"
    wanted = _HEADER.size + length + _FOOTER.size
    if wanted > left:
        return 0, f"the file is truncated, expected {wanted} bytes, {left} are there"
    return length, None


__all__ = ["RecordIndex", "index_records", "masked_crc"]
