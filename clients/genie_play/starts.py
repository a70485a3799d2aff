"""Starts of a game: frames that the command was given, or a picture that the page sends; nothing else."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from genie_client.prompt import Moment, is_picture, read_prompt
from genie_client.records import ModelInfo
from genie_core.data import Frames, decode_image, open_dataset, read_image
from genie_core.data.episode import Episode
from genie_core.errors import DatasetError, RequestError

MAX_PICTURE_BYTES = 8 * 2**20
"""Longest PNG or JPEG that a page may send."""


@dataclass(frozen=True)
class Starts:
    """What the command was given to start from: a picture, or a dataset's episodes, or nothing.

    Attributes:
        path: the picture or dataset; None for nothing.
        moment: where in the dataset a game starts unless the page chooses.
        episodes: the dataset's, in its own order.

    """

    path: Path | None
    moment: Moment
    episodes: tuple[Episode, ...] = ()

    @staticmethod
    def open(path: Path | None, moment: Moment) -> Starts:
        """Open what the command was given. Raises DatasetError if it cannot be read, or has no such episode."""
        if path is None:
            return Starts(None, moment)
        if is_picture(path):
            read_image(path)
            return Starts(path, moment)
        episodes = tuple(open_dataset(path, camera=moment.camera).episodes)
        if moment.episode is not None and all(episode.name != moment.episode for episode in episodes):
            raise DatasetError(
                f"{path}: no episode `{moment.episode}`; there are {len(episodes)}: {episodes[0].name}, ..."
            )
        return Starts(path, moment, episodes)

    def thumbnail(self, episode: int, frame: int) -> Frames:
        """Return one frame of an episode, (H, W, 3) uint8. Raises RequestError if there is none."""
        chosen = self._episode(episode)
        if not 0 <= frame < chosen.num_frames:
            raise RequestError("frame", f"got {frame}, expected 0 to {chosen.num_frames - 1}")
        picture_HWC: Frames = chosen.frames(frame, frame + 1)[0]
        return picture_HWC

    def prompt(self, wanted: Mapping[str, Any], picture: bytes | None, info: ModelInfo) -> Frames:
        """Return the prompt that a page asks for, (P, H, W, 3) uint8.

        `wanted` holds ``episode`` and ``frame``, both indices, for a moment of the dataset; nothing for the start that
        the command was given. `picture` is a PNG or JPEG file that the page sent instead.

        Raises:
            RequestError: there is nothing to start from, or no such moment, or the picture cannot be read.
            DatasetError: the dataset cannot be read any more.

        """
        if picture is not None:
            return decode_image(picture, "picture")[None]
        if self.path is None:
            raise RequestError("start", "got nothing, expected a picture: drop one on the page, or give --prompt")
        moment = self.moment
        if "episode" in wanted:
            episode = self._episode(_index(wanted, "episode"))
            moment = Moment(episode.name, _index(wanted, "frame"), self.moment.camera)
            if moment.frame >= episode.num_frames:
                raise RequestError("frame", f"got {moment.frame}, expected 0 to {episode.num_frames - 1}")
        return read_prompt(self.path, info, moment)

    def _episode(self, index: int) -> Episode:
        if not 0 <= index < len(self.episodes):
            raise RequestError("episode", f"got {index}, expected 0 to {len(self.episodes) - 1}")
        return self.episodes[index]


def _index(wanted: Mapping[str, Any], name: str) -> int:
    value = wanted.get(name, 0)
    if not isinstance(value, int) or isinstance(value, bool) or value < 0:
        raise RequestError(name, f"got {value!r}, expected a whole number from 0")
    return value


__all__ = ["MAX_PICTURE_BYTES", "Starts"]
