"""Video format: files of one episode each, recognised by their names."""

from __future__ import annotations

from pathlib import Path

from genie_core.data.dataset import (
    VIDEO_SUFFIXES,
    Dataset,
    Format,
    ReadOptions,
    Sources,
    Survey,
    file_names,
)
from genie_core.data.episode import Episode
from genie_core.data.formats.video.reader import VIDEO_CAMERA, VideoReader
from genie_core.data.frames.convention import Convention
from genie_core.data.storage.location import SourcePath

_PACKET, _SYNC = 188, b"G"
"""Length of a packet of an MPEG transport stream (ISO/IEC 13818-1), and its first byte."""


class VideoLayout:
    """Video files, one episode each."""

    name: Format = "video"
    looks_for = f"a name that ends in {', '.join(sorted(VIDEO_SUFFIXES))}"

    def recognise(self, path: SourcePath) -> str | None:
        """Recognise it by its name; only of ``.ts`` the first bytes are read: programs in TypeScript end so too."""
        suffix = path.suffix.lower()
        if suffix not in VIDEO_SUFFIXES or (suffix == ".ts" and not _is_transport_stream(path)):
            return None
        return f"its name ends in {suffix}"

    def survey(self, sources: Sources, options: ReadOptions) -> Survey:
        """Return the survey without opening anything: a video has to be decoded in full to learn about it."""
        if options.camera not in (None, VIDEO_CAMERA):
            problem = f"{sources.path}: no camera `{options.camera}`; a video has one camera, {VIDEO_CAMERA}"
            return Survey(None, (VIDEO_CAMERA,), len(sources.files), obstacles=(problem,))
        convention = options.convention(Convention())
        episodes = tuple(
            Episode(name, file, VIDEO_CAMERA, VideoReader(file), options.fps, convention)
            for name, file in zip(file_names(sources), sources.files, strict=True)
        )
        dataset = Dataset("video", sources.path, (VIDEO_CAMERA,), VIDEO_CAMERA, episodes, options)
        return Survey(dataset, dataset.cameras, len(sources.files), fps_source="average rate of the video")


def _is_transport_stream(path: SourcePath) -> bool:
    """Whether a local file has the bytes by which packets of an MPEG transport stream begin; others are believed."""
    if not isinstance(path, Path):
        return True
    try:
        with path.open("rb") as file:
            head = file.read(_PACKET + 1)
    except OSError:
        return True  # opening it says what is wrong
    return head[:1] == _SYNC and head[_PACKET:] in (b"", _SYNC)


__all__ = ["VideoLayout"]
