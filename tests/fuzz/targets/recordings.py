"""MCAP, bags of ROS 1 and 2, Zarr replay buffers (folders and zip files), and the NumPy files of CALVIN."""

from __future__ import annotations

import random
import shutil
import zipfile
import zlib
from io import BytesIO
from pathlib import Path

import numpy as np

from genie_core.data import ReadOptions, open_dataset
from tests.factories.data import make_frames
from tests.factories.folders import write_calvin, write_replay
from tests.factories.ros import CAMERA, COMMANDS, COMPRESSED, JOINTS, Entry, entries, write_bag, write_mcap
from tests.fuzz.mutation import mutate_json
from tests.fuzz.target import Read, Target
from tests.fuzz.targets.rlds import may_fail, use

_REPLAY_FILES = (
    ".zgroup",
    "data/img/.zarray",
    "meta/episode_ends/.zarray",
    "meta/episode_ends/0",
    "data/action/0.0",
)
_CALVIN_FILES = ("episode_0000003.npz", "ep_start_end_ids.npy")


def _read_named(name: str) -> Read:
    """Reads the input as a file of that name, by each camera that there may be."""

    def read(data: bytes, folder: Path) -> None:
        path = folder / name
        path.write_bytes(data)
        for camera in (CAMERA, COMPRESSED):
            may_fail(lambda camera=camera: use(open_dataset(path, camera=camera)))
        use(open_dataset(path))

    return read


def _few() -> list[Entry]:
    """Messages of every topic, few and small: their pictures are 24 x 32."""
    return [entry for entry in entries() if entry.topic in (CAMERA, COMPRESSED, JOINTS, COMMANDS)][:8]


def _mcaps(folder: Path) -> list[bytes]:
    from mcap.writer import CompressionType

    kinds = (CompressionType.NONE, CompressionType.ZSTD, CompressionType.LZ4)
    return [write_mcap(folder / f"{kind.name}.mcap", _few(), compression=kind).read_bytes() for kind in kinds]


def _bags(folder: Path) -> list[bytes]:
    return [write_bag(folder / "x.bag", _few(), ros=1).read_bytes()]


def _read_bag2(data: bytes, folder: Path) -> None:
    """A folder, of whose files the one that the first byte names is the rest of the input."""
    path = folder / "bag"
    if not path.is_dir():
        write_bag(path, _few(), ros=2)
        shutil.copytree(path, folder / "whole")
    files = _bag2_files(path)
    file = path / files[data[0] % len(files) if data else 0]
    try:
        file.write_bytes(data[1:])
        use(open_dataset(path))
    finally:
        shutil.copy(folder / "whole" / file.name, file)


def _bag2_files(path: Path) -> list[str]:
    return sorted(file.name for file in path.iterdir() if file.suffix in (".db3", ".yaml"))


def _bags2(folder: Path) -> list[bytes]:
    path = write_bag(folder / "bag", _few(), ros=2)
    return [bytes((number,)) + (path / name).read_bytes() for number, name in enumerate(_bag2_files(path))]


def _read_replay(data: bytes, folder: Path) -> None:
    """A group as a folder, of whose files the one that the first byte names is the rest of the input."""
    path, whole = folder / "x.zarr", folder / "whole.zarr"
    if not path.is_dir():
        write_replay(path, lengths=(3, 2))
        shutil.copytree(path, whole)
    name = _REPLAY_FILES[data[0] % len(_REPLAY_FILES) if data else 0]
    try:
        (path / name).write_bytes(data[1:])
        use(open_dataset(path, options=ReadOptions(), fps=10))
    finally:
        shutil.copy(whole / name, path / name)


def _replays(folder: Path) -> list[bytes]:
    path = write_replay(folder / "x.zarr", lengths=(3, 2))
    return [bytes((number,)) + (path / name).read_bytes() for number, name in enumerate(_REPLAY_FILES)]


def _mutate_replay(data: bytes, most: int, seed: int) -> bytes:
    """A value of the description; any byte of what is no JSON."""
    changed = mutate_json(data[1:], most - 1, seed)
    return data[:1] + (changed if changed != data[1:] else _flipped(data[1:], seed))[: most - 1]


def _read_zip(data: bytes, folder: Path) -> None:
    path = folder / "x.zarr.zip"
    path.write_bytes(data)
    use(open_dataset(path, fps=10))


def _zips(folder: Path) -> list[bytes]:
    return [
        write_replay(folder / f"{version}.zarr.zip", lengths=(2, 1), version=version).read_bytes() for version in (2, 3)
    ]


def _read_calvin(data: bytes, folder: Path) -> None:
    """A split, of whose files the one that the first byte names is the rest of the input."""
    path = folder / "split"
    if not path.is_dir():
        write_calvin(path, ((3, 4),))
        shutil.copytree(path, folder / "whole")
    name = _CALVIN_FILES[data[0] % len(_CALVIN_FILES) if data else 0]
    try:
        (path / name).write_bytes(data[1:])
        use(open_dataset(path, fps=30))
    finally:
        shutil.copy(folder / "whole" / name, path / name)


def _calvins(folder: Path) -> list[bytes]:
    frame = make_frames(1, 6, 7)[0]
    packed, plain = BytesIO(), BytesIO()
    arrays = {"rgb_static": frame, "actions": np.zeros(7), "robot_obs": np.zeros(15)}
    np.savez_compressed(packed, **arrays)  # type: ignore[arg-type]
    np.savez(plain, **arrays)  # type: ignore[arg-type]
    listed = BytesIO()
    np.save(listed, np.array(((3, 4),)))
    return [b"\0" + packed.getvalue(), b"\0" + plain.getvalue(), b"\1" + listed.getvalue()]


def _mutate_zip(data: bytes, most: int, seed: int) -> bytes:
    """A byte of one member, behind a checksum that is right, so that what unpacks it is reached."""
    rng, head, body = random.Random(seed), data[:1], data[1:]
    try:
        with zipfile.ZipFile(BytesIO(body)) as archive:
            members = {info.filename: archive.read(info) for info in archive.infolist()[:20]}
    except (zipfile.BadZipFile, OSError, ValueError, NotImplementedError, RuntimeError, EOFError, zlib.error):
        return head + _flipped(body, seed)[: most - 1]
    if not members:
        return data
    name = rng.choice(sorted(members))
    members[name] = mutate_json(members[name], most, seed) if name.endswith(".json") else _flipped(members[name], seed)
    output = BytesIO()
    with zipfile.ZipFile(output, "w", rng.choice((zipfile.ZIP_STORED, zipfile.ZIP_DEFLATED))) as archive:
        for member, content in members.items():
            archive.writestr(member, content)
    changed = head + output.getvalue()
    return changed if len(changed) <= most else data


def _flipped(data: bytes, seed: int) -> bytes:
    rng, changed = random.Random(seed), bytearray(data)
    for _ in range(rng.choice((1, 1, 2, 4))):
        if changed:
            at = rng.randrange(min(len(changed), 200)) if rng.random() < 0.6 else rng.randrange(len(changed))
            changed[at] = rng.choice((0, 1, 0x7F, 0x80, 0xFF, rng.randrange(256)))
    return bytes(changed)


TARGETS = (
    Target("mcap", _read_named("x.mcap"), _mcaps, inputs=10_000, largest=40_000, memory_mib=256),
    Target("bag", _read_named("x.bag"), _bags, inputs=10_000, largest=40_000, memory_mib=256),
    Target("bag2", _read_bag2, _bags2, inputs=10_000, largest=80_000, memory_mib=256),
    Target("zarr", _read_replay, _replays, inputs=8_000, largest=20_000, mutate=_mutate_replay, memory_mib=256),
    Target("zarr-zip", _read_zip, _zips, inputs=4_000, largest=60_000, memory_mib=256),
    Target("calvin", _read_calvin, _calvins, inputs=20_000, largest=20_000, mutate=_mutate_zip, memory_mib=256),
)
