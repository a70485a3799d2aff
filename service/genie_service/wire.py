"""Counts the elements in a serialized message before it is parsed: two bytes can become a hundred in memory.

Reads only the structure, not values; bytes that are not a message are left to the parser, which rejects them.
"""

from __future__ import annotations

from collections.abc import Mapping

from google.protobuf.descriptor import Descriptor, FieldDescriptor

from genie_core.errors import RequestError

_VARINT, _FIXED64, _BYTES, _GROUP, _GROUP_END, _FIXED32 = range(6)

_SLACK = 1024
"""Fields that a message may have beside those of repeated fields: each once, including unknown ones."""

_CONTINUED = bytes(range(128, 256))
"""Bytes that are not the last of a varint."""


def check_counts(data: bytes, message: Descriptor, limits: Mapping[str, int]) -> None:
    """Raise RequestError, naming the field, if a repeated field has more elements than allowed.

    Args:
        data: a serialized message, or any other bytes.
        message: its expected type.
        limits: largest total number of elements of each repeated field, by the field's full name.

    """
    try:
        _Count(data, limits).walk(message, 0, len(data), "")
    except IndexError:  # cut off: the parser will see no more than what has been counted
        return


class _Count:
    def __init__(self, data: bytes, limits: Mapping[str, int]) -> None:
        self._data, self._limits = data, limits
        self._counts: dict[str, int] = {}
        self._others = 0

    def walk(self, message: Descriptor, at: int, end: int, path: str) -> None:
        """Count the fields of one message, at data[at:end]."""
        while at < end:
            tag, at = self._varint(at)
            field = message.fields_by_number.get(tag >> 3)
            kind, begin = tag & 7, at
            if kind == _VARINT:
                _, at = self._varint(at)
            elif kind == _BYTES:
                size, begin = self._varint(at)
                at = begin + size
                if at > end:
                    raise IndexError
            else:
                at += {_FIXED64: 8, _FIXED32: 4}.get(kind, 0)
            self._add(field, kind, begin, at, path)

    def _add(self, field: FieldDescriptor | None, kind: int, begin: int, end: int, path: str) -> None:
        if field is None or not field.is_repeated:
            self._others += 1
            if self._others > _SLACK:
                raise RequestError(path or "request", f"got more than {_SLACK} fields, expected each once")
        else:
            self._repeated(field, kind, begin, end, f"{path}{field.name}")
        if field is not None and kind == _BYTES and field.message_type is not None:
            self.walk(field.message_type, begin, end, f"{path}{field.name}.")

    def _repeated(self, field: FieldDescriptor, kind: int, begin: int, end: int, path: str) -> None:
        packed = kind == _BYTES and field.cpp_type not in (
            FieldDescriptor.CPPTYPE_STRING,
            FieldDescriptor.CPPTYPE_MESSAGE,
        )
        new = len(self._data[begin:end].translate(None, _CONTINUED)) if packed else 1
        count = self._counts[field.full_name] = self._counts.get(field.full_name, 0) + new
        limit = self._limits.get(field.full_name, _SLACK)
        if count > limit:
            raise RequestError(path, f"got more than {limit}, expected at most {limit}")

    def _varint(self, at: int) -> tuple[int, int]:
        value = shift = 0
        while True:
            byte = self._data[at]
            at += 1
            value |= (byte & 127) << shift
            if byte < 128:
                return value, at
            shift += 7
            if shift > 63:
                raise IndexError


__all__ = ["check_counts"]
