"""RLDS: TFRecord files, the tf.train.Examples in them, and the two JSON files that describe them."""

from __future__ import annotations

import json
from collections.abc import Callable
from contextlib import suppress
from functools import cache
from pathlib import Path

from genie_core.data import open_dataset
from genie_core.data.dataset import Dataset
from genie_core.data.formats.rlds.example import parse_example
from genie_core.data.formats.rlds.features import StepFeature, declared_features, inferred_features
from genie_core.data.formats.rlds.instruction import find_instruction
from genie_core.data.formats.rlds.reader import Steps
from genie_core.data.formats.rlds.tfrecord import index_records
from genie_core.errors import GenieError
from tests.factories.rlds import (
    dataset_features,
    encode_example,
    episode_features,
    frame_record,
    make_rlds,
    step_features,
    tensor,
)
from tests.fuzz.mutation import mutate_json
from tests.fuzz.target import Target

SIZE = (6, 7)
_FILES = ("features.json", "dataset_info.json")


def _read_records(data: bytes, folder: Path) -> None:
    """As they came, and in one record whose checksums are right."""
    path = folder / "x.tfrecord"
    path.write_bytes(data)
    index = index_records(path)
    for number in range(len(index) + 1):
        try:
            parse_example(index.read(number))
        except GenieError:
            continue


@cache
def _declared() -> dict[str, StepFeature]:
    features = {**step_features(SIZE), "packed": tensor("float32", 2, encoding="zlib"), "raw": tensor("int16", 2)}
    return declared_features(dataset_features(features))


def _read_example(data: bytes, folder: Path) -> None:
    steps = Steps("x", parse_example(data))
    for features in (_declared(), _inferred(data)):
        for camera in (feature for feature in features.values() if feature.is_camera):
            for feature in features.values():
                may_fail(steps.array, feature, camera)
            may_fail(_first_frames, steps, camera)
    find_instruction(steps.values)


def _first_frames(steps: Steps, camera: StepFeature) -> None:
    if steps.count(camera):
        steps.frames(camera, 0, min(2, steps.count(camera)))


def _inferred(data: bytes) -> dict[str, StepFeature]:
    try:
        return inferred_features(parse_example(data))
    except GenieError:
        return {}


def may_fail(read: Callable[..., object], *words: object) -> None:
    """Read one thing of several, each of which may be refused by itself."""
    with suppress(GenieError):
        read(*words)


def use(dataset: Dataset) -> None:
    """Ask everything of the first episodes of a dataset; each may fail by itself."""
    for episode in dataset.episodes[:2]:
        for ask in (
            lambda episode=episode: episode.num_frames,
            lambda episode=episode: (episode.height, episode.width),
            lambda episode=episode: episode.fps,
            lambda episode=episode: episode.frames(0, 2),
            lambda episode=episode: next(episode.chunks(), None),
            lambda episode=episode: episode.actions,
            lambda episode=episode: episode.proprioception,
            lambda episode=episode: episode.task,
        ):
            may_fail(ask)


def _read_description(data: bytes, folder: Path) -> None:
    """The first byte says which of the two files is what."""
    if not (folder / "features.json").exists():
        make_rlds(folder, {"train": [[3]]}, SIZE)
    whole = {name: (folder / name).read_bytes() for name in _FILES}
    name = _FILES[data[0] % 2] if data else _FILES[0]
    try:
        (folder / name).write_bytes(data[1:])
        use(open_dataset(folder))
    finally:
        (folder / name).write_bytes(whole[name])


def _mutate_description(data: bytes, most: int, seed: int) -> bytes:
    return data[:1] + mutate_json(data[1:], most - 1, seed)


def _records(folder: Path) -> list[bytes]:
    record = encode_example({"steps/is_first": [1, 0], "steps/reward": [0.5, 1.0], "steps/text": [b"a", b"b"]})
    return [frame_record(record), frame_record(record) + frame_record(b"") + frame_record(b"\x0a\x00")]


def _examples(folder: Path) -> list[bytes]:
    small = {
        "steps/is_first": [1, 0],
        "steps/action": [0.5, 1.0] * 7,
        "steps/packed": [b"x\x9cc`\x80\x00\x00\x00\x08\x00\x01"] * 2,
        "steps/natural_language_embedding": [1.0, 2.0],
        "steps/observation/state/ragged_flat_values": [1, 2, 3],
        "steps/language_instruction": [b"lift"] * 2,
    }
    return [encode_example(small), encode_example(episode_features(0, 2, SIZE))]


def _descriptions(folder: Path) -> list[bytes]:
    make_rlds(folder, {"train": [[3]]}, SIZE)
    kinds = dataset_features({**step_features(SIZE), "packed": tensor("bfloat16", 2, encoding="zlib")})
    return [
        *(bytes((number,)) + (folder / name).read_bytes() for number, name in enumerate(_FILES)),
        b"\0" + json.dumps(kinds).encode(),
        b"\0" + json.dumps({"type": "x", "content": {}}).encode(),
    ]


TARGETS = (
    Target("tfrecord", _read_records, _records, inputs=60_000),
    Target("tf-example", _read_example, _examples, inputs=100_000, memory_mib=320),
    Target("rlds-json", _read_description, _descriptions, 10_000, largest=200_100, mutate=_mutate_description),
)
