"""Writes RLDS datasets as TensorFlow Datasets opens them: TFRecord shards, features.json, dataset_info.json.

Messages are written from their specification (tensorflow/core/example/feature.proto), without TensorFlow. Does not know
where labels come from.
"""

from __future__ import annotations

import json
import re
import struct
from collections.abc import Iterable, Iterator, Mapping
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import IO, Any

import numpy as np
from numpy.typing import NDArray

from genie_core.data.formats.rlds.tfrecord import masked_crc
from genie_core.data.storage.atomic import failures_named, new_folder
from genie_core.errors import DatasetError

DOCUMENT = "genie.json"
"""Name of the document of provenance in the dataset's folder. TensorFlow Datasets never reads it."""

_SPLIT, _VERSION = "train", "1.0.0"
_MOST = 2**31 - 1
"""Largest message of Protocol Buffers, bytes."""

_FEATURES = "tensorflow_datasets.core.features."


@dataclass(frozen=True)
class StepColumn:
    """A numeric feature of a step.

    Attributes:
        dtype: name of its NumPy type: ``float32``, ``int64``, ``bool``.
        shape: of one step's value; empty for a number.

    """

    dtype: str
    shape: tuple[int, ...] = ()

    def describe(self) -> dict[str, Any]:
        """Return the feature's entry in ``features.json``."""
        shape = {"dimensions": [str(length) for length in self.shape]} if self.shape else {}
        name = "tensor_feature.Tensor" if self.shape else "scalar.Scalar"
        return _node(name, tensor={"shape": shape, "dtype": self.dtype, "encoding": "none"})


_MARKS = {"is_first": StepColumn("bool"), "is_last": StepColumn("bool"), "is_terminal": StepColumn("bool")}
_TEXT = "language_instruction"


class RldsWriter:
    """Appends episodes to a dataset; created by `write_rlds`."""

    def __init__(
        self, folder: Path, name: str, camera: str, columns: Mapping[str, StepColumn], shard_bytes: int
    ) -> None:
        self._folder, self._name, self._camera = folder, name, camera
        self._columns, self._shard_bytes = columns, shard_bytes
        self._counts: list[int] = []
        self._bytes = 0
        self._file: IO[bytes] | None = None

    def add(
        self, values: Mapping[str, NDArray[Any]], pictures: Iterable[bytes], task: str, metadata: Mapping[str, str]
    ) -> None:
        """Write one episode of at least one step.

        Args:
            values: by name, (T, ...), for every column that the writer was created with.
            pictures: the frames as the bytes of PNG or JPEG, T in total.
            task: instruction to the robot, in words.
            metadata: facts about the episode, the same names for all.

        Raises:
            DatasetError: the episode takes more than 2 GiB, which no record can hold.

        """
        count = len(next(iter(values.values())))
        steps = np.arange(count)
        marks = {"is_first": steps == 0, "is_last": steps == count - 1, "is_terminal": steps == count - 1}
        features = [
            *(_feature(f"steps/{key}", _numbers(array)) for key, array in {**values, **marks}.items()),
            _feature(f"steps/{self._camera}", _texts(pictures, count)),
            _feature(f"steps/{_TEXT}", _texts([task.encode()] * count, count)),
            *(_feature(f"episode_metadata/{key}", _texts([text.encode()], 1)) for key, text in metadata.items()),
        ]
        size = sum(map(len, features))
        if size > _MOST - 2**16:
            raise DatasetError(
                f"{self._name}: an episode takes {size} bytes, RLDS can hold 2 GiB: export smaller frames"
            )
        self._write(_field(1, b"".join(features)))

    def finish(self, description: str, metadata: Iterable[str], document: bytes) -> None:
        """Write what describes the dataset."""
        self.close()
        total = len(self._counts)
        for number in range(total):
            (self._folder / _part(number)).rename(
                self._folder / f"{self._name}-{_SPLIT}.tfrecord-{number:05d}-of-{total:05d}"
            )
        info = {
            "description": description,
            "fileFormat": "tfrecord",
            "moduleName": "",
            "name": self._name,
            "releaseNotes": {_VERSION: "Exported by Genie."},
            "splits": [
                {
                    "filepathTemplate": "{DATASET}-{SPLIT}.{FILEFORMAT}-{SHARD_X_OF_Y}",
                    "name": _SPLIT,
                    "numBytes": str(self._bytes),
                    "shardLengths": [str(count) for count in self._counts],
                }
            ],
            "version": _VERSION,
        }
        texts = {key: _node("text_feature.Text", text={}) for key in metadata}
        steps = _node("dataset_feature.Dataset", sequence={"feature": _nested(self._described()), "length": "-1"})
        features = _group({"steps": steps, "episode_metadata": _group(texts)})
        for name, content in (("dataset_info", info), ("features", features)):
            (self._folder / f"{name}.json").write_text(json.dumps(content, indent=2))
        (self._folder / DOCUMENT).write_bytes(document)

    def close(self) -> None:
        """Finish the open file."""
        if self._file is not None:
            self._file.close()
            self._file = None

    def _described(self) -> dict[str, dict[str, Any]]:
        picture = {"shape": {"dimensions": ["-1", "-1", "3"]}, "dtype": "uint8", "encodingFormat": "jpeg"}
        numbers = {key: column.describe() for key, column in {**self._columns, **_MARKS}.items()}
        return {
            **numbers,
            self._camera: _node("image_feature.Image", image=picture),
            _TEXT: _node("text_feature.Text", text={}),
        }

    def _write(self, data: bytes) -> None:
        if self._file is None or self._file.tell() + len(data) > self._shard_bytes:
            self.close()
            self._file = (self._folder / _part(len(self._counts))).open("wb")
            self._counts.append(0)
        length = struct.pack("<Q", len(data))
        self._file.write(length + struct.pack("<I", masked_crc(length)))
        self._file.write(data)
        self._file.write(struct.pack("<I", masked_crc(data)))
        self._counts[-1] += 1
        self._bytes += len(data)


@contextmanager
def write_rlds(folder: Path, camera: str, columns: Mapping[str, StepColumn], shard_bytes: int) -> Iterator[RldsWriter]:
    """Write the dataset `folder` whole or not at all; the block adds its episodes and finishes it.

    Args:
        folder: must not exist.
        camera: feature of the pictures within a step, ``observation/image``.
        columns: numeric features of a step; ``/`` in a name makes groups.
        shard_bytes: size beyond which a new file starts.

    Raises:
        DatasetError: the disk is full or cannot be written; `folder` does not exist then.

    """
    with failures_named(folder), new_folder(folder) as temporary:
        writer = RldsWriter(temporary, dataset_name(folder), camera, columns, shard_bytes)
        try:
            yield writer
        finally:
            writer.close()


def dataset_name(folder: Path) -> str:
    """Return a name that TensorFlow Datasets allows: lower case, digits and underscores, beginning with a letter."""
    name = re.sub(r"[^a-z0-9]+", "_", folder.name.lower()).strip("_")
    return name if name[:1].isalpha() else f"set_{name}".rstrip("_")


def _part(number: int) -> str:
    return f"{number:05d}.part"


def _nested(features: Mapping[str, dict[str, Any]]) -> dict[str, Any]:
    """Return features whose names have parts as groups within groups."""
    inner: dict[str, dict[str, dict[str, Any]]] = {}
    held: dict[str, dict[str, Any]] = {}
    for key, feature in features.items():
        first, slash, rest = key.partition("/")
        if slash:
            inner.setdefault(first, {})[rest] = feature
        else:
            held[key] = feature
    return _group({**held, **{key: _nested(parts) for key, parts in inner.items()}})


def _group(features: Mapping[str, dict[str, Any]]) -> dict[str, Any]:
    return _node("features_dict.FeaturesDict", featuresDict={"features": dict(features)})


def _node(name: str, **content: Any) -> dict[str, Any]:
    return {"pythonClassName": _FEATURES + name, **content}


def _feature(key: str, value: bytes) -> bytes:
    """Return an entry of the map of features: key and value."""
    return _field(1, _field(1, key.encode()) + _field(2, value))


def _numbers(values: NDArray[Any]) -> bytes:
    """Return a packed list of floats, or of whole numbers, row by row."""
    flat = np.ascontiguousarray(values).ravel()
    if flat.dtype.kind == "f":
        return _field(2, _field(1, flat.astype("<f4").tobytes()))
    return _field(3, _field(1, b"".join(_varint(int(value) & (2**64 - 1)) for value in flat.tolist())))


def _texts(texts: Iterable[bytes], count: int) -> bytes:
    parts = [_field(1, text) for text in texts]
    if len(parts) != count:
        raise DatasetError(f"got {len(parts)} frames, expected {count}, one a step")
    return _field(1, b"".join(parts))


def _field(number: int, data: bytes) -> bytes:
    """Return a field of a message that holds bytes."""
    return _varint(number << 3 | 2) + _varint(len(data)) + data


def _varint(value: int) -> bytes:
    parts = bytearray()
    while value > 0x7F:
        parts.append(value & 0x7F | 0x80)
        value >>= 7
    parts.append(value)
    return bytes(parts)


__all__ = ["DOCUMENT", "RldsWriter", "StepColumn", "dataset_name", "write_rlds"]
