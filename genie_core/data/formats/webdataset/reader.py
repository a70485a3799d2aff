"""Reading of one episode of a WebDataset: a video in a tar file, and what else its sample has."""

from __future__ import annotations

from collections.abc import Mapping
from contextlib import suppress
from dataclasses import dataclass
from typing import Any

from numpy.typing import NDArray

from genie_core.data.formats.video.reader import VideoBacked
from genie_core.data.formats.webdataset.members import Member
from genie_core.data.robot import Proprioception, first_known
from genie_core.data.storage.json_text import parse_json
from genie_core.data.storage.location import local_file
from genie_core.data.storage.npy import read_npy_within

_TEXT_BYTES = 64 * 1024
"""Largest text or JSON of a sample that is read for its task."""

_ACTIONS = ("actions", "action")
_PROPRIOCEPTION = (("state",), ("states",), ("proprio",), ("qpos",))
_WORDS = ("language_instruction", "instruction", "task", "caption")
"""Keys of a sample's JSON that say what the robot is to do."""


@dataclass(frozen=True)
class SampleReader(VideoBacked):
    """Reads one sample; a `FrameReader`.

    Attributes:
        fields: the sample's other members by what follows its key: ``action.npy``, ``json``.

    """

    fields: Mapping[str, Member]

    def array(self, key: str) -> NDArray[Any] | None:
        """Return the array of the sample's member ``KEY.npy``; None if there is none."""
        member = self.fields.get(f"{key.strip('/')}.npy")
        if member is None:
            return None
        return read_npy_within(self.video.path, member.start, member.size, f"{self.video.path}: {member.path}")

    @property
    def actions(self) -> NDArray[Any] | None:
        """``actions.npy`` or ``action.npy``: the first that exists."""
        return next((found for found in map(self.array, _ACTIONS) if found is not None), None)

    @property
    def proprioception(self) -> Proprioception | None:
        """``state.npy``, ``states.npy``, ``proprio.npy`` or ``qpos.npy``: the first that exists."""
        return first_known(self.array, _PROPRIOCEPTION, "", self.video.where)

    @property
    def task(self) -> str | None:
        """The first line of the sample's ``txt``, else what its ``json`` calls instruction, task or caption."""
        text = self._text("txt")
        if text is not None:
            return next((line.strip() for line in text.splitlines() if line.strip()), None)
        with suppress(ValueError):  # what a sample's JSON holds is nobody's rule
            said = parse_json(self._text("json") or "null")
            if isinstance(said, dict):
                return next((said[key] for key in _WORDS if isinstance(said.get(key), str) and said[key]), None)
        return None

    @property
    def group(self) -> None:
        """None."""

    def _text(self, field: str) -> str | None:
        member = self.fields.get(field)
        if member is None or member.size > _TEXT_BYTES:
            return None
        with local_file(self.video.path).open("rb") as file:
            file.seek(member.start)
            return file.read(member.size).decode("utf-8", "replace")


__all__ = ["SampleReader"]
