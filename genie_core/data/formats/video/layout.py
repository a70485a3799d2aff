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
    choose_camera,
    file_names,
)
from genie_core.data.episode import Episode
from genie_core.data.formats.video.cameras import find_cameras
from genie_core.data.formats.video.reader import VIDEO_CAMERA, VideoReader
from genie_core.data.formats.video.recordings import RecordedReader, robot_file
from genie_core.data.frames.convention import Convention
from genie_core.data.storage.location import SourcePath, path_within
from genie_core.errors import DatasetError

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
        """Return the survey without opening anything: to learn about a video, all of it must be decoded."""
        cameras, episodes = _episodes(sources)
        count = len(sources.files)
        try:
            camera = choose_camera(sources.path, cameras, options.camera)
        except DatasetError as error:
            return Survey(None, cameras, count, obstacles=(str(error),))
        convention = options.convention(Convention())
        robots = {name: robot_file(file) for name, file in episodes[camera].items()}
        found = tuple(
            Episode(name, file, camera, _reader(file, robots[name]), options.fps, convention)
            for name, file in episodes[camera].items()
        )
        recorded = [robot for robot in robots.values() if robot is not None]
        dataset = Dataset("video", sources.path, cameras, camera, found, options)
        facts = [] if len(cameras) == 1 else [f"folders or files are cameras, by their names: {', '.join(cameras)}"]
        if camera.endswith("-stereo"):
            facts.append(f"{camera}: by its name, the pictures of both eyes side by side: {camera[:-7]} is one of them")
        if recorded:
            facts.append(
                f"actions and proprioception of {len(recorded)} episodes: {recorded[0].name}, row i is frame i's"
            )
        return Survey(dataset, cameras, count, fps_source="rate of the video", facts=tuple(facts))


def _episodes(sources: Sources) -> tuple[tuple[str, ...], dict[str, dict[str, SourcePath]]]:
    """Return the cameras, and by camera the file of each episode."""
    if sources.files != (sources.path,):
        inside = {path_within(file, sources.path): file for file in sources.files}
        cameras = find_cameras(list(inside))
        if cameras:
            by_camera = {
                camera: {name: inside[path] for name, path in files.items()} for camera, files in cameras.items()
            }
            return tuple(sorted(cameras)), by_camera
    names = file_names(sources)
    return (VIDEO_CAMERA,), {VIDEO_CAMERA: dict(zip(names, sources.files, strict=True))}


def _reader(file: SourcePath, robot: SourcePath | None) -> VideoReader | RecordedReader:
    return VideoReader(file) if robot is None else RecordedReader(VideoReader(file), robot)


def _is_transport_stream(path: SourcePath) -> bool:
    """Return whether a file begins its packets as MPEG transport streams do; of remote files that is assumed."""
    if not isinstance(path, Path):
        return True
    try:
        with path.open("rb") as file:
            head = file.read(_PACKET + 1)
    except OSError:
        return True  # opening it says what is wrong
    return head[:1] == _SYNC and head[_PACKET:] in (b"", _SYNC)


__all__ = ["VideoLayout"]
