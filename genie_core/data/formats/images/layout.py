"""Format of frames as files: how episodes and cameras are found among the folders, and what their names say."""

from __future__ import annotations

from collections.abc import Sequence
from itertools import islice
from pathlib import PurePosixPath

from genie_core.data.dataset import IMAGE_SUFFIXES, Dataset, Format, ReadOptions, Sources, Survey, choose_camera
from genie_core.data.episode import Episode, FrameReader, Unreadable
from genie_core.data.formats.images.names import DEFAULT_CAMERA, Recording, Strip, find_recordings, is_camera
from genie_core.data.formats.images.reader import ImagesReader, has_pickles
from genie_core.data.frames.convention import Convention
from genie_core.data.storage.location import SourcePath, path_within
from genie_core.errors import DatasetError

_RATE = "pictures state no frame rate, unless beside them lies timestamps.txt, or their names are times"
_PICKLES = "actions in pickle files (*.pkl) are not read: a pickle runs code; save them as actions.npy, (T, A)"


class ImagesLayout:
    """Folders of JPEG or PNG files, an episode and camera each."""

    name: Format = "images"
    looks_for = "folders of .jpg or .png files, one a frame"

    def recognise(self, path: SourcePath) -> str | None:
        """Recognise a picture file by its name; no file is opened."""
        return "frames are files, a folder an episode" if path.suffix.lower() in IMAGE_SUFFIXES else None

    def survey(self, sources: Sources, options: ReadOptions) -> Survey:
        """Return the survey from names alone, and the first episode's times."""
        recordings, skipped = find_recordings(path_within(file, sources.path) for file in sources.files)
        warnings = [
            f"{sources.path / folder}: not read, its name says that it is no colour camera" for folder in skipped
        ]
        cameras, lacking = _cameras(recordings, sources.path)
        count = len(sources.files)
        try:
            camera = choose_camera(sources.path, cameras or lacking, _asked(options.camera, sources.path, cameras))
        except DatasetError as error:
            return Survey(None, cameras, count, obstacles=(str(error),), warnings=tuple(warnings))
        convention = options.convention(Convention())
        episodes = []
        for recording in recordings:
            title = recording.name or sources.path.resolve().name
            strip = recording.strips.get(camera) or _only(recording, cameras)
            source, reader = _reader(sources.path, recording, strip, camera)
            episodes.append(Episode(title, source, camera, reader, options.fps, convention, options.actions_path))
        dataset = Dataset("images", sources.path, cameras or lacking, camera, tuple(episodes), options)
        clock = _clock(episodes)
        facts = [_PICKLES] if any(has_pickles(episode.source) for episode in islice(episodes, 8)) else []
        facts += [f"times are read as {clock}"] if clock else [] if options.fps else [_RATE]
        return Survey(dataset, dataset.cameras, count, clock, tuple(facts), warnings=tuple(warnings))


def _cameras(recordings: Sequence[Recording], root: SourcePath) -> tuple[tuple[str, ...], tuple[str, ...]]:
    """Return the cameras that all episodes have, and those that only some have."""
    if len(recordings) == 1 and list(recordings[0].strips) == [DEFAULT_CAMERA] and is_camera(root.name):
        return (root.name,), ()
    every = sorted({camera for recording in recordings for camera in recording.strips})
    common = tuple(camera for camera in every if all(camera in recording.strips for recording in recordings))
    return common, tuple(camera for camera in every if camera not in common)


def _asked(camera: str | None, root: SourcePath, cameras: tuple[str, ...]) -> str | None:
    """Return the camera asked for; of a folder inside a camera's, the camera is not named in what lies below."""
    if camera is not None and len(cameras) == 1 and camera not in cameras:
        around = PurePosixPath(str(root)).parts
        if set(camera.split(".")) <= set(around):
            return cameras[0]
    return camera


def _only(recording: Recording, cameras: tuple[str, ...]) -> Strip | None:
    """Return the strip of a dataset that is one folder, whatever it is called."""
    return recording.strips.get(DEFAULT_CAMERA) if len(cameras) == 1 and len(recording.strips) == 1 else None


def _reader(root: SourcePath, recording: Recording, strip: Strip | None, camera: str) -> tuple[SourcePath, FrameReader]:
    """Return the folder that an episode's labels name as their source, and its reader."""
    episode = root / recording.name if recording.name else root
    if strip is None:
        have = ", ".join(sorted(recording.strips))
        return episode, Unreadable(f"{episode}: has no pictures of camera `{camera}`, only of {have}")
    folder = root / strip.folder if strip.folder.parts else root
    around = episode if strip.folder.is_relative_to(PurePosixPath(recording.name or ".")) else folder
    if strip.problem is not None:
        return around, Unreadable(f"{folder}: {strip.problem}")
    return around, ImagesReader(folder, strip.names, around, strip.times, strip.numbers)


def _clock(episodes: Sequence[Episode]) -> str | None:
    """Return where the first episode has its times; problems with them are reported when it is read."""
    for episode in episodes[:1]:
        try:
            return getattr(episode.reader, "clock", None)
        except DatasetError:
            return None
    return None


__all__ = ["ImagesLayout"]
