"""What each code of a bundle does, as measured on a dataset: words, numbers and pictures, stored beside the bundle.

`genie palette` finds it; labels never depend on it. Knows no torch, so that clients and views can read it.
"""

from __future__ import annotations

import base64
from pathlib import Path
from typing import Annotated

from pydantic import BaseModel, BeforeValidator, ConfigDict, Field, PlainSerializer, ValidationError

from genie_core.data.storage.atomic import write_text
from genie_core.errors import ModelError, problems_of

FILE = "palette.json"
"""Name of the file in a bundle's folder; not part of the bundle's identity."""

MOST_BYTES = 8 * 2**20
"""Longest file that is read."""

EXAMPLE_PX = 96
"""Height and width of each frame of `CodeMeaning.examples`."""

Picture = Annotated[
    bytes,
    BeforeValidator(lambda value: base64.b64decode(value, validate=True) if isinstance(value, str) else value),
    PlainSerializer(lambda value: base64.b64encode(value).decode("ascii"), when_used="json"),
]
"""A JPEG; base64 in JSON."""


class CodeMeaning(BaseModel):
    """What one code does."""

    model_config = ConfigDict(frozen=True)

    words: str = Field(max_length=80, description="where the picture moves: `left`, `up right`, `still` ...")
    share: float = Field(ge=0, le=1, description="share of the labelled transitions")
    motion_px: tuple[float, float] = Field(
        description="mean motion (right, down) of what moves over a transition, pixels of a frame 64 wide"
    )
    agreement: float = Field(ge=0, le=1, description="share of its transitions that move within 45 degrees of that")
    round_trip: float | None = Field(
        None, ge=0, le=1, description="how often the code is read back from a simulation of it; None: not simulated"
    )
    robot: str | None = Field(None, max_length=80, description="how the robot moves, `+x 2.4 cm`; None: not known")
    picture: Picture = Field(b"", description="mean motion as arrows over a frame; empty for a code that is not used")
    examples: Picture = Field(b"", description="its clearest transitions, before and after, side by side")


class CodeMeanings(BaseModel):
    """What the codes of one bundle do on one data set; `codes` has an entry for every code, in order."""

    model_config = ConfigDict(frozen=True)

    bundle_id: str = Field(pattern="^[0-9a-f]{64}$")
    bundle_name: str = Field(max_length=200)
    data: str = Field(max_length=1000, description="what it was found on")
    episodes: int = Field(ge=0)
    transitions: int = Field(ge=0)
    codes: tuple[CodeMeaning, ...] = Field(max_length=65536)

    @property
    def words(self) -> list[str]:
        """What each code does in words: the robot's where they are known, else the picture's."""
        return [code.robot or code.words for code in self.codes]


def write_meanings(bundle: Path, meanings: CodeMeanings) -> Path:
    """Write the file into a bundle's folder, whole or not at all; returns its path."""
    path = bundle / FILE
    write_text(path, meanings.model_dump_json(indent=1))
    return path


def read_meanings(bundle: Path, bundle_id: str, codes: int) -> CodeMeanings | None:
    """Read what was found about a bundle's codes; None if nothing was stored.

    Raises ModelError if the file is damaged, too long, or about another bundle.
    """
    return read_meanings_file(bundle / FILE, bundle_id, codes) if (bundle / FILE).exists() else None


def read_meanings_file(path: Path, bundle_id: str, codes: int) -> CodeMeanings:
    """Read a file that `genie palette` wrote, about the bundle `bundle_id` with `codes` codes. Raises ModelError."""
    try:
        with path.open("rb") as file:
            text = file.read(MOST_BYTES + 1)
        if len(text) > MOST_BYTES:
            raise ModelError(f"{path}: got more than {MOST_BYTES >> 20} MiB, expected a palette")
        found = CodeMeanings.model_validate_json(text)
    except ValidationError as error:
        raise ModelError(f"{path}: got no palette: {problems_of(error)}; make it again with genie palette") from None
    except OSError as error:
        raise ModelError(f"{path}: {error.strerror}") from error
    if found.bundle_id != bundle_id:
        raise ModelError(
            f"{path}: got the palette of bundle {found.bundle_id[:12]} ({found.bundle_name}), expected that of "
            f"{bundle_id[:12]}: codes of two bundles mean different things; make it again with genie palette"
        )
    if len(found.codes) != codes:
        raise ModelError(f"{path}: got {len(found.codes)} codes, expected {codes}; make it again with genie palette")
    return found


__all__ = [
    "EXAMPLE_PX",
    "FILE",
    "MOST_BYTES",
    "CodeMeaning",
    "CodeMeanings",
    "read_meanings",
    "read_meanings_file",
    "write_meanings",
]
