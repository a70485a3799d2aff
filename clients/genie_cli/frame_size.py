"""Option for the size of simulated frames, and reading sizes as people write them."""

from __future__ import annotations

from typing import TYPE_CHECKING, Annotated, TypeAlias

import typer

if TYPE_CHECKING:
    from genie_client.arguments import FrameSize

FrameSizeOption: TypeAlias = Annotated[
    str,
    typer.Option(
        "--size",
        metavar="auto|model|HxW",
        help="Size of the frames: the prompt's as far as it can be simulated, the model's, or height x width in "
        "pixels. Other sizes than the model's are for models that move frames.",
    ),
]


def read_frame_size(text: str) -> FrameSize | None:
    """Return what `FrameSizeOption` says, as a client takes it. Raises RequestError."""
    if text == "auto":
        return "prompt"
    return None if text == "model" else read_size(text, "auto, model or HEIGHTxWIDTH")


def read_size(text: str, expected: str = "HEIGHTxWIDTH") -> tuple[int, int]:
    """Return height and width of a size such as 480x640. Raises RequestError."""
    from genie_core.errors import RequestError

    height, _, width = text.partition("x")
    if not (height.isdecimal() and width.isdecimal()):
        raise RequestError("--size", f"got {text!r}, expected {expected} in pixels: 480x640")
    return int(height), int(width)


__all__ = ["FrameSizeOption", "read_frame_size", "read_size"]
