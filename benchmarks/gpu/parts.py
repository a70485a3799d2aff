"""The parts of the GPU's measurement: what each measures, what it needs, and how long it may take."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass
from importlib.util import find_spec
from pathlib import Path

CORE = ("torch", "numpy", "pydantic", "safetensors", "fsspec", "filelock", "h5py", "google_crc32c", "pyarrow")
"""Modules that `genie_core` cannot be imported without. PyAV is one too, but has a stand-in here (`stand_in`)."""

SERVICE = ("grpc", "google.protobuf", "grpc_health", "grpc_reflection", "google.rpc", "prometheus_client")
SETTINGS = ("pydantic_settings", "pythonjsonlogger", "typer")


@dataclass(frozen=True)
class Setting:
    """How a part is to run.

    Attributes:
        device: torch device.
        dry: tiny sizes, to see that it runs; figures mean nothing.
        folder: where the part may keep files.
        data: H.264 video, or any data that Genie reads, to train on; None: none was given.
        minutes: to train for.

    """

    device: str
    dry: bool
    folder: Path
    data: str | None = None
    minutes: float = 0.0


@dataclass(frozen=True)
class Part:
    """One part.

    Attributes:
        name: to choose it by.
        entry: ``module:function``, given a `Setting`, yields `Found`s.
        about: what it measures.
        needs: modules without which it is left out.
        seconds: after which it is stopped; what it has found by then is kept.

    """

    name: str
    entry: str
    about: str
    needs: tuple[str, ...]
    seconds: float


PARTS: tuple[Part, ...] = (
    Part(
        "labels",
        "benchmarks.gpu.labels:measure",
        "labels of tiny are the same bits in any company, chunk, thread and process, and agree with the CPU's",
        (*CORE, "cv2"),
        70,
    ),
    Part(
        "motion-labels",
        "benchmarks.gpu.labels:measure_motion",
        "the same of motion",
        (*CORE, "cv2"),
        70,
    ),
    Part(
        "frames",
        "benchmarks.gpu.frames:measure",
        "frames labelled in a second from memory by tiny, in fp32, tf32 and bf16",
        (*CORE, "cv2"),
        60,
    ),
    Part(
        "motion-frames",
        "benchmarks.gpu.frames:measure_motion",
        "the same by motion, whose optical flow is the CPU's",
        (*CORE, "cv2"),
        40,
    ),
    Part(
        "video",
        "benchmarks.gpu.frames:measure_video",
        "frames labelled in a second from MP4, by tiny and motion",
        (*CORE, "cv2"),
        60,
    ),
    Part(
        "serving",
        "benchmarks.gpu.serving:measure",
        "a server's start to its first label, and that many clients at once get the bits that one gets",
        (*CORE, "cv2", *SERVICE, *SETTINGS),
        60,
    ),
    Part(
        "rollouts",
        "benchmarks.gpu.rollouts:measure",
        "frames a second of rollouts of `robotics`, 2.5B parameters, and of tiny",
        CORE,
        80,
    ),
    Part(
        "training",
        "benchmarks.gpu.training:measure",
        "time of a training step and its share of the fastest matrix product, for tiny, base and robotics",
        CORE,
        80,
    ),
)
"""Every part, in the order in which they run: the most telling first."""

RECIPE = Part(
    "recipe",
    "benchmarks.gpu.recipe:measure",
    "trains `motion` at 128 x 128 on the data given, for the minutes given; goes on where it stopped",
    (*CORE, "cv2", "tensorboard"),
    0,
)
"""Runs only where data are given; its time is what is given."""

TOKENS = Part(
    "tokens",
    "benchmarks.gpu.tokens:measure",
    "trains the tokens that mend moved frames on the data given, for the minutes given, and compares rollouts",
    (*CORE, "cv2"),
    0,
)
"""Likewise, where it is named."""

TRAINED = (RECIPE, TOKENS)
"""Parts that train on the data given."""


def missing(part: Part) -> list[str]:
    """Return the names of the modules that a part needs and this Python lacks."""
    return list(_missing(part.needs))


def _missing(modules: tuple[str, ...]) -> Iterator[str]:
    for module in modules:
        try:
            found = find_spec(module) is not None
        except ModuleNotFoundError:  # the package that it is in
            found = False
        if not found:
            yield module


__all__ = ["CORE", "PARTS", "RECIPE", "TOKENS", "TRAINED", "Part", "Setting", "missing"]
