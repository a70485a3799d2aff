"""Small recordings of ROS for tests, written by the libraries that robots record with."""

from __future__ import annotations

from collections.abc import Iterator
from functools import cache
from pathlib import Path
from typing import Any, NamedTuple

import numpy as np
from numpy.typing import NDArray

from genie_core.data import encode_image
from tests.factories.data import make_frames

CAMERA, COMPRESSED, DEPTH, JOINTS, COMMANDS = (
    "/front/image_raw",
    "/front/image_raw/compressed",
    "/front/depth",
    "/joint_states",
    "/arm/command",
)
START_NS, FRAME_NS = 1_700_000_000 * 10**9, 10**8
FRAMES, SIZE = 7, (24, 32)


class Entry(NamedTuple):
    """A message to write: times of recording and of its header, nanoseconds."""

    topic: str
    kind: str
    log_ns: int
    values: dict[str, Any]


def robot_frames(seed: int = 0) -> NDArray[np.uint8]:
    return make_frames(FRAMES, *SIZE, seed=seed)


def joints_at(frame: int) -> NDArray[np.float64]:
    return np.array([frame, frame + 0.5, -frame], np.float64)


def entries(seed: int = 0, encoding: str = "bgr8", stamped: bool = True) -> Iterator[Entry]:
    """Pictures at 10 a second, raw and as PNG, joints 10 ms and commands 5 ms before each."""
    order = slice(None, None, -1) if encoding == "bgr8" else slice(None)
    for frame, picture in enumerate(robot_frames(seed)):
        log_ns = START_NS + frame * FRAME_NS
        header = _header(log_ns - 2_000_000 if stamped else 0)
        rows = np.zeros((SIZE[0], SIZE[1] * 3 + 8), np.uint8)  # rows may be longer than the picture
        rows[:, : SIZE[1] * 3] = picture[..., order].reshape(SIZE[0], -1)
        raw = {
            "header": header,
            "height": SIZE[0],
            "width": SIZE[1],
            "encoding": encoding,
            "is_bigendian": 0,
            "step": rows.shape[1],
            "data": rows.reshape(-1),
        }
        joints = {
            "header": header,
            "name": ["a", "b", "c"],
            "position": joints_at(frame),
            "velocity": np.zeros(0),
            "effort": np.zeros(0),
        }
        layout = {"dim": [], "data_offset": 0}
        png = np.frombuffer(encode_image(picture), np.uint8)
        yield Entry(JOINTS, "sensor_msgs/msg/JointState", log_ns - 10_000_000, joints)
        command = {"layout": layout, "data": joints_at(frame) * 10}
        yield Entry(COMMANDS, "std_msgs/msg/Float64MultiArray", log_ns - 5_000_000, command)
        yield Entry(CAMERA, "sensor_msgs/msg/Image", log_ns, raw)
        yield Entry(
            COMPRESSED, "sensor_msgs/msg/CompressedImage", log_ns, {"header": header, "format": "png", "data": png}
        )


def write_mcap(path: Path, messages: list[Entry], **how: Any) -> Path:
    """An MCAP file as rosbag2 writes it, in chunks of a few messages."""
    from mcap_ros2.writer import Writer

    from genie_core.data.formats.ros.messages import DEFINITIONS

    with path.open("wb") as file:
        writer = Writer(file, chunk_size=4096, **how)
        schemas: dict[str, Any] = {}
        for entry in messages:
            if entry.kind not in schemas:
                schemas[entry.kind] = writer.register_msgdef(entry.kind, DEFINITIONS[entry.kind])
            values = {
                key: value.tolist() if key != "data" and isinstance(value, np.ndarray) else value
                for key, value in entry.values.items()
            }
            if isinstance(values.get("data"), np.ndarray):
                data = values["data"]
                values["data"] = data.tobytes() if data.dtype == np.uint8 else data.tolist()
            writer.write_message(
                entry.topic, schemas[entry.kind], values, log_time=entry.log_ns, publish_time=entry.log_ns
            )
        writer.finish()
    return path


def write_bag(path: Path, messages: list[Entry], ros: int, storage: str = "sqlite3") -> Path:
    """A bag of ROS 1 (a file) or ROS 2 (a folder)."""
    from rosbags.rosbag1 import Writer as OldWriter
    from rosbags.rosbag2 import StoragePlugin
    from rosbags.rosbag2 import Writer as NewWriter

    store = _store(ros)
    serialize = store.serialize_ros1 if ros == 1 else store.serialize_cdr
    plugin = StoragePlugin.MCAP if storage == "mcap" else StoragePlugin.SQLITE3
    with OldWriter(path) if ros == 1 else NewWriter(path, version=9, storage_plugin=plugin) as writer:
        connections: dict[str, Any] = {}
        for entry in messages:
            if entry.topic not in connections:
                connections[entry.topic] = writer.add_connection(entry.topic, entry.kind, typestore=store)
            message = _typed(store, entry.kind, entry.values, ros)
            writer.write(connections[entry.topic], entry.log_ns, bytes(serialize(message, entry.kind)))
    return path


@cache
def _store(ros: int) -> Any:
    from rosbags.typesys import Stores, get_typestore

    return get_typestore(Stores.ROS1_NOETIC if ros == 1 else Stores.ROS2_HUMBLE)


def _typed(store: Any, kind: str, values: Any, ros: int) -> Any:
    """A message of the library's own classes."""
    kinds = {
        "header": "std_msgs/msg/Header",
        "stamp": "builtin_interfaces/msg/Time",
        "layout": "std_msgs/msg/MultiArrayLayout",
    }
    if kind == "std_msgs/msg/Header" and ros == 1:
        values = {"seq": 0, **values}
    made = {key: _typed(store, kinds[key], value, ros) if key in kinds else value for key, value in values.items()}
    return store.types[kind](**made)


def _header(time_ns: int) -> dict[str, Any]:
    return {"stamp": {"sec": time_ns // 10**9, "nanosec": time_ns % 10**9}, "frame_id": "front"}
