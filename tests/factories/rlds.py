"""Small RLDS datasets for tests, in the layout that TFDS leaves.

Framing, CRC and messages are written here from their specifications, byte by byte, so that the reader is not tested
against itself.
"""

from __future__ import annotations

import json
import struct
from collections.abc import Callable, Mapping, Sequence
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from genie_core.data import encode_image
from tests.factories.data import make_frames

Features = dict[str, Any]
"""Lists of bytes, floats or ints by name."""

IMAGE, WRIST, DEPTH = "observation/image", "observation/wrist", "observation/depth_image"
SHARDS = {"train": ((4, 6), (3,)), "val": ((5,),)}
"""Number of steps of each record of each shard of each split."""

SIZE = (24, 32)
STATE, ACTION = 4, 7
NAME = "arm"

_TABLE = []
for _byte in range(256):
    for _ in range(8):
        _byte = _byte >> 1 ^ (0x82F63B78 if _byte & 1 else 0)
    _TABLE.append(_byte)


def crc32c(data: bytes) -> int:
    """CRC-32C (Castagnoli) by its definition, a byte at a time."""
    crc = 0xFFFFFFFF
    for byte in data:
        crc = _TABLE[(crc ^ byte) & 0xFF] ^ crc >> 8
    return crc ^ 0xFFFFFFFF


def frame_record(data: bytes) -> bytes:
    """One TFRecord."""
    length = struct.pack("<Q", len(data))
    return length + struct.pack("<I", _masked(length)) + data + struct.pack("<I", _masked(data))


def encode_example(features: Mapping[str, Sequence[Any]], field: int = 1) -> bytes:
    """A tf.train.Example; with `field` 2 the message is a tf.SequenceExample instead."""
    entries = [_bytes(1, _bytes(1, name.encode()) + _bytes(2, _feature(held))) for name, held in features.items()]
    return _bytes(field, b"".join(entries))


def frames_of(seed: int, length: int, size: tuple[int, int] = SIZE) -> NDArray[np.uint8]:
    """What the camera IMAGE of an episode shows; WRIST shows it mirrored. `seed` counts episodes over all splits."""
    return make_frames(length, *size, seed=seed)


def state_of(seed: int, length: int) -> NDArray[np.float32]:
    """What `observation/state` of an episode holds, (length, STATE)."""
    return np.random.default_rng(100 + seed).normal(size=(length, STATE)).astype(np.float32)


def action_of(seed: int, length: int) -> NDArray[np.float32]:
    """What `action` of an episode holds, (length, ACTION)."""
    return np.random.default_rng(200 + seed).normal(size=(length, ACTION)).astype(np.float32)


def episode_features(seed: int, length: int, size: tuple[int, int] = SIZE) -> Features:
    """The features of one record, as TFDS flattens them."""
    frames = frames_of(seed, length, size)
    depth = encode_image(np.zeros((*size, 3), np.uint8))
    return {
        "steps/is_first": [int(step == 0) for step in range(length)],
        "steps/is_last": [int(step == length - 1) for step in range(length)],
        "steps/is_terminal": [0] * length,
        "steps/reward": [0.5 * step for step in range(length)],
        "steps/action": action_of(seed, length).ravel().tolist(),
        "steps/language_instruction": [f"lift cube {seed}".encode()] * length,
        "steps/observation/state": state_of(seed, length).ravel().tolist(),
        "steps/observation/image": [encode_image(frame) for frame in frames],
        "steps/observation/wrist": [encode_image(np.ascontiguousarray(frame[:, ::-1])) for frame in frames],
        "steps/observation/depth_image": [depth] * length,
        "episode_metadata/file_path": [f"/raw/{seed}".encode()],
    }


def make_rlds(
    path: Path,
    shards: Mapping[str, Sequence[Sequence[int]]] = SHARDS,
    size: tuple[int, int] = SIZE,
    change: Callable[[int, Features], None] = lambda seed, features: None,
    features: dict[str, Any] | None = None,
    **info: Any,
) -> Path:
    """Write shards, features.json and dataset_info.json into `path`.

    `change` may alter the features of a record, numbered over all splits, before it is written; `features` takes the
    place of those that features.json declares of a step; `info` is merged into dataset_info.json.
    """
    path.mkdir(parents=True, exist_ok=True)
    seed = 0
    for split, lengths in shards.items():
        for number, records in enumerate(lengths):
            parts = []
            for length in records:
                held = episode_features(seed, length, size)
                change(seed, held)
                parts.append(frame_record(encode_example(held)))
                seed += 1
            shard_path(path, split, number, len(lengths)).write_bytes(b"".join(parts))
    (path / "features.json").write_text(json.dumps(dataset_features(features or step_features(size))))
    splits = [
        {"name": split, "shardLengths": [str(len(records)) for records in lengths]} for split, lengths in shards.items()
    ]
    document = {"name": NAME, "fileFormat": "tfrecord", "version": "1.0.0", "splits": splits, **info}
    (path / "dataset_info.json").write_text(json.dumps(document))
    return path


def shard_path(path: Path, split: str = "train", number: int = 0, count: int = 1) -> Path:
    """What a shard is called."""
    return path / f"{NAME}-{split}.tfrecord-{number:05d}-of-{count:05d}"


def edit_info(path: Path, **changes: Any) -> None:
    """Change fields of dataset_info.json."""
    info = path / "dataset_info.json"
    info.write_text(json.dumps({**json.loads(info.read_text()), **changes}))


def tensor(dtype: str = "float32", *shape: int, encoding: str = "none") -> dict[str, Any]:
    """A Tensor as features.json declares it."""
    held = {"shape": {"dimensions": [str(axis) for axis in shape]}, "dtype": dtype, "encoding": encoding}
    return _node("tensor_feature.Tensor", tensor=held)


def image(shape: Sequence[int], dtype: str = "uint8") -> dict[str, Any]:
    """An Image as features.json declares it."""
    held = {"shape": {"dimensions": [str(axis) for axis in shape]}, "dtype": dtype, "encodingFormat": "png"}
    return _node("image_feature.Image", image=held)


def text() -> dict[str, Any]:
    """A Text as features.json declares it."""
    return _node("text_feature.Text", text={})


def sequence(feature: dict[str, Any]) -> dict[str, Any]:
    """A Sequence as features.json declares it."""
    return _node("sequence_feature.Sequence", sequence={"feature": feature, "length": "-1"})


def group(**features: dict[str, Any]) -> dict[str, Any]:
    """A FeaturesDict as features.json declares it."""
    return _node("features_dict.FeaturesDict", featuresDict={"features": features})


def step_features(size: tuple[int, int] = SIZE) -> dict[str, Any]:
    """What features.json declares of a step."""
    return {
        "action": tensor("float32", ACTION),
        "observation": group(
            image=image((*size, 3)),
            wrist=image((-1, -1, 3)),
            depth_image=image((*size, 1), "uint16"),
            state=tensor("float32", STATE),
        ),
        "reward": tensor(),
        "is_first": tensor("bool"),
        "is_last": tensor("bool"),
        "is_terminal": tensor("bool"),
        "language_instruction": text(),
    }


def dataset_features(steps: dict[str, Any]) -> dict[str, Any]:
    """The whole of features.json."""
    dataset = _node("dataset_feature.Dataset", sequence={"feature": group(**steps), "length": "-1"})
    return group(steps=dataset, episode_metadata=group(file_path=text()))


def _node(name: str, **content: Any) -> dict[str, Any]:
    return {"pythonClassName": f"tensorflow_datasets.core.features.{name}", **content}


def _masked(data: bytes) -> int:
    crc = crc32c(data)
    return ((crc >> 15 | crc << 17) + 0xA282EAD8) % 2**32


def _feature(held: Sequence[Any]) -> bytes:
    if not held:
        return b""
    if isinstance(held[0], bytes):
        return _bytes(1, b"".join(_bytes(1, value) for value in held))
    if isinstance(held[0], float):
        return _bytes(2, _bytes(1, np.array(held, "<f4").tobytes()))
    return _bytes(3, _bytes(1, b"".join(_varint(value % 2**64) for value in held)))


def _bytes(field: int, data: bytes) -> bytes:
    return _varint(field << 3 | 2) + _varint(len(data)) + data


def _varint(value: int) -> bytes:
    parts = bytearray()
    while value > 0x7F:
        parts.append(value & 0x7F | 0x80)
        value >>= 7
    return bytes([*parts, value])
