"""Messages of ROS that are read, their definitions, and what they say: pictures, numbers and times.

The definitions stand here, so that none is taken from a file: a recording of unknown origin describes nothing.
"""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import numpy as np
from numpy.typing import ArrayLike, NDArray

from genie_core.data.frames.image_structure import MAX_PIXELS, MAX_SIDE
from genie_core.data.frames.images import decode_image, is_image
from genie_core.errors import DatasetError, RequestError

_SEPARATOR = "\n" + "=" * 80 + "\n"
_TIME = "MSG: builtin_interfaces/Time\nint32 sec\nuint32 nanosec"
_HEADER = _SEPARATOR.join(["", "MSG: std_msgs/Header\nbuiltin_interfaces/Time stamp\nstring frame_id", _TIME])
_LAYOUT = _SEPARATOR.join(
    [
        "std_msgs/MultiArrayLayout layout\nFLOAT[] data",
        "MSG: std_msgs/MultiArrayLayout\nstd_msgs/MultiArrayDimension[] dim\nuint32 data_offset",
        "MSG: std_msgs/MultiArrayDimension\nstring label\nuint32 size\nuint32 stride",
    ]
)
_TWIST = (
    "MSG: geometry_msgs/Twist\ngeometry_msgs/Vector3 linear\ngeometry_msgs/Vector3 angular",
    "MSG: geometry_msgs/Vector3\nfloat64 x\nfloat64 y\nfloat64 z",
)

DEFINITIONS = {
    "sensor_msgs/msg/Image": "std_msgs/Header header\nuint32 height\nuint32 width\nstring encoding\n"
    f"uint8 is_bigendian\nuint32 step\nuint8[] data{_HEADER}",
    "sensor_msgs/msg/CompressedImage": f"std_msgs/Header header\nstring format\nuint8[] data{_HEADER}",
    "sensor_msgs/msg/JointState": "std_msgs/Header header\nstring[] name\nfloat64[] position\nfloat64[] velocity\n"
    f"float64[] effort{_HEADER}",
    "std_msgs/msg/Float64MultiArray": _LAYOUT.replace("FLOAT", "float64"),
    "std_msgs/msg/Float32MultiArray": _LAYOUT.replace("FLOAT", "float32"),
    "geometry_msgs/msg/Twist": _TWIST[0].partition("\n")[2] + _SEPARATOR + _TWIST[1],
    "geometry_msgs/msg/TwistStamped": "std_msgs/Header header\ngeometry_msgs/Twist twist"
    + _SEPARATOR.join([_HEADER, *_TWIST]),
}
"""The text of ROS 2 for each type that is read."""

IMAGE, COMPRESSED, JOINTS = list(DEFINITIONS)[:3]
PICTURES = frozenset({IMAGE, COMPRESSED})

_ENCODINGS = {
    "rgb8": (3, (0, 1, 2)),
    "bgr8": (3, (2, 1, 0)),
    "mono8": (1, (0, 0, 0)),
    "rgba8": (4, (0, 1, 2)),
    "bgra8": (4, (2, 1, 0)),
}
"""Number of channels, and where of them red, green and blue are."""


def modern_name(kind: str) -> str:
    """Return a type's name as ROS 2 has it: ``sensor_msgs/Image`` of ROS 1 is ``sensor_msgs/msg/Image``."""
    package, _, name = kind.partition("/")
    return kind if name.startswith("msg/") else f"{package}/msg/{name}"


def picture_of(message: Any, kind: str) -> NDArray[np.uint8]:
    """Return the picture of a message, (H, W, 3) uint8 RGB.

    Alpha is dropped; grey is repeated.

    Raises:
        DatasetError: the encoding is none of 8-bit colour or grey, the data are not as long as the header says, or the
            JPEG or PNG is damaged.

    """
    if kind == COMPRESSED:
        return picture_of_bytes(bytes(message.data), str(message.format))
    encoding, height, width, step = str(message.encoding), int(message.height), int(message.width), int(message.step)
    if encoding not in _ENCODINGS:
        raise DatasetError(f"got encoding `{encoding[:40]}`, expected one of {', '.join(_ENCODINGS)}")
    channels, order = _ENCODINGS[encoding]
    if not (0 < height <= MAX_SIDE and 0 < width <= MAX_SIDE and height * width <= MAX_PIXELS):
        raise DatasetError(f"got a picture of {height} x {width}, expected 1 to {MAX_PIXELS} pixels")
    data = np.frombuffer(message.data, np.uint8)
    if step < width * channels or len(data) < step * height:
        raise DatasetError(
            f"got {len(data)} bytes, rows of {step}, expected {height} rows of {width * channels} or more"
        )
    rows = data[: step * height].reshape(height, step)[:, : width * channels]
    return np.ascontiguousarray(rows.reshape(height, width, channels)[..., list(order)])


def picture_of_bytes(data: bytes, what: str) -> NDArray[np.uint8]:
    """Decode a JPEG or PNG; `what` is how its message calls it. Raises DatasetError."""
    if not len(data):
        raise DatasetError("got a picture of no bytes, expected a JPEG or PNG")
    if not is_image(data):
        raise DatasetError(f"got format `{what[:40]}`, expected jpeg or png")
    try:
        return decode_image(data)
    except RequestError as error:
        raise DatasetError(str(error)) from error


def stamp_ns(message: Any) -> int:
    """Return the time in a message's header, nanoseconds; 0 if it has none, or none is set."""
    stamp = getattr(getattr(message, "header", None), "stamp", None)
    return 0 if stamp is None else int(stamp.sec) * 10**9 + int(stamp.nanosec)


def numbers_of(message: Any, kind: str) -> NDArray[np.float64]:
    """Return the numbers of a message, (D,): of joints their positions, of a twist linear and angular velocity."""
    return np.atleast_1d(np.asarray(_NUMBERS[kind](message), np.float64))


def names_of(message: Any, kind: str) -> tuple[str, ...]:
    """Return the names of the numbers of joints; empty for other types, and where there are not as many."""
    if kind != JOINTS or len(message.name) != len(message.position):
        return ()
    return tuple(map(str, message.name))


def _twist(message: Any) -> ArrayLike:
    linear, angular = message.linear, message.angular
    return [linear.x, linear.y, linear.z, angular.x, angular.y, angular.z]


_NUMBERS: dict[str, Callable[[Any], ArrayLike]] = {
    JOINTS: lambda message: message.position,
    "std_msgs/msg/Float64MultiArray": lambda message: message.data,
    "std_msgs/msg/Float32MultiArray": lambda message: message.data,
    "geometry_msgs/msg/Twist": _twist,
    "geometry_msgs/msg/TwistStamped": lambda message: _twist(message.twist),
}

NUMBERS = frozenset(_NUMBERS)

__all__ = [
    "COMPRESSED",
    "DEFINITIONS",
    "IMAGE",
    "JOINTS",
    "NUMBERS",
    "PICTURES",
    "modern_name",
    "names_of",
    "numbers_of",
    "picture_of",
    "picture_of_bytes",
    "stamp_ns",
]
