"""Command-line options that describe the data, the same for every command that reads data. Imports no reader.

A command takes one parameter ``reading: ReadOptions`` and is decorated with `reads_data`; Typer then sees the options.
"""

from __future__ import annotations

import functools
import inspect
from collections.abc import Callable
from dataclasses import replace
from typing import Annotated, Any, Literal

import typer

from genie_core.data import Colour, ReadOptions
from genie_core.data.frames.turning import Rotation

EVERY_CAMERA = "all"
"""Name of a camera that stands for each."""

_PANEL = "Description of the data, where the files do not give it, or give it wrongly"
_PARAMETER = "reading"


def reads_data(*, short: bool) -> Callable[[Callable[..., None]], Callable[..., None]]:
    """Decorate a Typer command so that its parameter ``reading`` is built from options: camera, fps, colour and so on.

    Args:
        short: also name the paths in HDF5 files ``--frames`` and ``--actions``, if the command has no such options.

    """
    options = {name: _option(annotation, short) for name, annotation in _OPTIONS.items()}

    def decorate(command: Callable[..., None]) -> Callable[..., None]:
        signature = inspect.signature(command, eval_str=True)
        own = [parameter for name, parameter in signature.parameters.items() if name != _PARAMETER]
        added = [
            inspect.Parameter(name, inspect.Parameter.KEYWORD_ONLY, default=None, annotation=annotation)
            for name, annotation in options.items()
        ]
        of_files = [parameter.replace(kind=inspect.Parameter.KEYWORD_ONLY) for parameter in own]

        @functools.wraps(command)
        def run(**values: Any) -> None:
            said = {name: values.pop(name) for name in options}
            command(**values, reading=ReadOptions(**said))

        run.__signature__ = signature.replace(parameters=[*of_files, *added])  # type: ignore[attr-defined]
        run.__annotations__ = {parameter.name: parameter.annotation for parameter in [*of_files, *added]}
        return run

    return decorate


def each_camera(data: str, reading: ReadOptions) -> list[ReadOptions]:
    """Return `reading`, or if its camera is ``all``, one for each camera of the data, in the order of their names.

    Raises DatasetError if the cameras are not to be known.
    """
    if reading.camera != EVERY_CAMERA:
        return [reading]
    from genie_core.data.opening import camera_names

    names = camera_names(data, replace(reading, camera=None))
    return [replace(reading, camera=name) for name in names]


def fused_cameras(data: str, reading: ReadOptions, fuse: str) -> list[ReadOptions]:
    """Return `reading` for each camera that `fuse` names, ``front,wrist``, or for each of the data's if it is ``all``.

    Raises:
        GenieError: a camera is chosen otherwise too.
        DatasetError: the cameras are not to be known.

    """
    from genie_core.errors import GenieError

    if reading.camera is not None:
        raise GenieError(f"--fuse: got it with --camera {reading.camera}: name the cameras in one of them")
    if fuse == EVERY_CAMERA:
        return each_camera(data, replace(reading, camera=EVERY_CAMERA))
    return [replace(reading, camera=name.strip()) for name in fuse.split(",")]


def said_words(options: ReadOptions) -> list[str]:
    """Return the command-line words that set `options`, by their long names."""
    words: list[str] = []
    for name, (_, names, _, _) in _OPTIONS.items():
        value = getattr(options, name)
        if isinstance(value, bool):
            words.append(names[0].split("/")[0 if value else 1])
        elif value is not None:
            words += [names[0], f"{value:g}" if isinstance(value, float) else str(value)]
    return words


def _option(annotation: tuple[Any, tuple[str, ...], tuple[str, ...], str], short: bool) -> Any:
    kind, names, short_names, words = annotation
    called = (*names, *short_names) if short else names
    return Annotated[kind | None, typer.Option(*called, help=words, show_default=False, rich_help_panel=_PANEL)]


_OPTIONS: dict[str, tuple[Any, tuple[str, ...], tuple[str, ...], str]] = {
    "camera": (
        str,
        ("--camera",),
        (),
        "Camera to read, if there are several: its name, or the end of it. `label` and `inspect` take `all` too.",
    ),
    "include": (
        str,
        ("--include",),
        (),
        "Of a folder, only files whose path or name matches, or a folder around them: `*.hdf5`, `front`, `day1/*`.",
    ),
    "fps": (float, ("--fps",), (), "Frames a second of the data."),
    "colour": (Colour, ("--colour",), (), "Channel order of the stored pictures."),
    "flip": (bool, ("--flip/--no-flip",), (), "Whether the stored pictures are upside down."),
    "rotate": (
        Rotation,
        ("--rotate",),
        (),
        "Degrees clockwise by which to turn the pictures upright, if the camera was mounted sideways.",
    ),
    "frames_path": (
        str,
        ("--frames-path",),
        ("--frames",),
        "HDF5 of no known layout: path of the frames in the file, with `*` for the names of episodes.",
    ),
    "actions_path": (str, ("--actions-path",), ("--actions",), "The same for the robot's actions."),
    "channels": (Literal["first", "last"], ("--channels",), (), "The same: position of the channel axis of arrays."),
}

__all__ = ["EVERY_CAMERA", "each_camera", "fused_cameras", "reads_data", "said_words"]
