"""Lets `genie_core` be imported where PyAV is not installed: whatever is then asked of it is refused.

Images of GPU machines rarely have PyAV, whose wheel is larger than all of Genie; they have OpenCV, which reads the
same video (`opencv_video`). Only the GPU's measurement does this: labels of video are made with PyAV.
"""

from __future__ import annotations

import sys
from importlib.util import find_spec
from types import ModuleType
from typing import Any

_MODULES = (
    "av",
    "av.container",
    "av.container.output",
    "av.filter",
    "av.filter.context",
    "av.packet",
    "av.sidedata",
    "av.sidedata.sidedata",
    "av.stream",
    "av.video",
    "av.video.codeccontext",
    "av.video.frame",
    "av.video.reformatter",
    "av.video.stream",
)


class _Absent(Exception):  # noqa: N818
    """Stands for every class of PyAV; no error of it is ever raised, so that naming one to catch it does no harm."""

    def __init__(self, *_: Any, **__: Any) -> None:
        super().__init__("PyAV is not installed: pip install av")

    def __class_getitem__(cls, _: Any) -> type[_Absent]:
        return cls


class _StandIn(ModuleType):
    __version__ = "0"

    def __init__(self, name: str) -> None:
        super().__init__(name)
        self.__path__ = []  # a package, whose modules are stand-ins too

    def __getattr__(self, name: str) -> Any:
        if name.startswith("__"):
            raise AttributeError(name)
        return self if name == "error" else _Absent


def stand_in_for_av() -> bool:
    """Put stand-ins for PyAV's modules in place if it is not installed; return whether it was done."""
    if "av" in sys.modules or find_spec("av") is not None:
        return False
    for name in _MODULES:
        sys.modules[name] = _StandIn(name)
    return True


def is_stand_in() -> bool:
    """Return whether PyAV is missing, so that OpenCV has to read video."""
    return isinstance(sys.modules.get("av"), _StandIn)


__all__ = ["is_stand_in", "stand_in_for_av"]
