"""Video format: files of one episode each, recognised by their names."""

from __future__ import annotations

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


class VideoLayout:
    """Video files, one episode each."""

    name: Format = "video"
    looks_for = f"a name that ends in {', '.join(sorted(VIDEO_SUFFIXES))}"

    def recognise(self, path: SourcePath) -> str | None:
        """Recognise it by its name; no file is opened."""
        suffix = path.suffix.lower()
        return f"its name ends in {suffix}" if suffix in VIDEO_SUFFIXES else None

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


__all__ = ["VideoLayout"]
