"""WebDataset format: tar files in which what a name holds up to its first dot is a sample, and a video an episode.

Tars of single pictures are refused: the format has no rule for which of them follow one another.
"""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import PurePosixPath

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
from genie_core.data.formats.video.cameras import find_cameras, is_camera
from genie_core.data.formats.video.reader import VIDEO_CAMERA, VideoReader, Window
from genie_core.data.formats.webdataset.members import Member, read_members
from genie_core.data.formats.webdataset.reader import SampleReader
from genie_core.data.frames.convention import Convention
from genie_core.data.storage.location import SourcePath
from genie_core.errors import DatasetError

TAR_SUFFIXES = frozenset({".tar", ".gz", ".tgz"})

_VIDEOS = VIDEO_SUFFIXES - {".gif"}  # whether a GIF is whole is seen at the end of its file
_PICTURES = frozenset({"jpeg", "jpg", "png", "webp"})

_Shard = dict[str, dict[str, SampleReader]]
"""By camera, the episodes of one tar file by their names in it."""


class WebDatasetLayout:
    """Tar files with a video a sample."""

    name: Format = "webdataset"
    looks_for = "a name that ends in .tar"

    def recognise(self, path: SourcePath) -> str | None:
        """Recognise it by its name; a compressed one too, which is refused in words."""
        name = path.name.lower()
        return "its name ends in .tar" if name.endswith((".tar", ".tar.gz", ".tgz")) else None

    def survey(self, sources: Sources, options: ReadOptions) -> Survey:
        """Read the members' names of every file; videos are not opened."""
        count, problems = len(sources.files), []
        shards: dict[str, tuple[SourcePath, _Shard]] = {}
        for name, file in zip(file_names(sources), sources.files, strict=True):
            try:
                shards[name] = file, _samples(file)
            except DatasetError as error:
                problems.append(str(error))
        if problems:
            return Survey(None, files=count, obstacles=tuple(problems))
        cameras = tuple(sorted({camera for _, shard in shards.values() for camera in shard}))
        try:
            camera = choose_camera(sources.path, cameras, options.camera)
        except DatasetError as error:
            return Survey(None, cameras, count, obstacles=(str(error),))
        convention, is_single = options.convention(Convention()), sources.files == (sources.path,)
        episodes = tuple(
            Episode(key if is_single else f"{name}/{key}", file, camera, reader, options.fps, convention)
            for name, (file, shard) in shards.items()
            for key, reader in shard.get(camera, {}).items()
        )
        dataset = Dataset("webdataset", sources.path, cameras, camera, episodes, options)
        facts = ("each video in a tar file is an episode, named by its sample's key",)
        return Survey(dataset, cameras, count, fps_source="rate of the video", facts=facts)


def _samples(path: SourcePath) -> _Shard:
    """Return the samples of a tar file. Raises DatasetError if none has a video."""
    members = {member.path: member for member in read_members(path)}
    films = [name for name in members if name.suffix.lower() in _VIDEOS]
    if not films:
        raise DatasetError(f"{path}: {_without_video(members)}")
    fields: dict[str, dict[str, Member]] = {}
    for name, member in members.items():
        key, field = _key_and_field(name)
        fields.setdefault(key, {})[field] = member
    cameras = _by_field(films) or find_cameras(films) or _one_camera(films)
    if sum(map(len, cameras.values())) < len(films):
        raise DatasetError(
            f"{path}: got two videos of one sample that differ in nothing but their suffix, expected one"
        )
    return {
        camera: {
            key: SampleReader(_video(path, members[name]), fields[_key_and_field(name)[0]])
            for key, name in episodes.items()
        }
        for camera, episodes in cameras.items()
    }


def _by_field(films: list[PurePosixPath]) -> dict[str, dict[str, PurePosixPath]]:
    """Return videos by what stands between a sample's key and their suffix: ``3.front.mp4``; empty if not cameras."""
    named = {name: _key_and_field(name) for name in films}
    between = {name: field.rpartition(".")[0] for name, (_, field) in named.items()}
    if not all(map(is_camera, between.values())):
        return {}
    cameras: dict[str, dict[str, PurePosixPath]] = {}
    for name, (key, _) in named.items():
        cameras.setdefault(between[name], {})[key] = name
    return cameras


def _one_camera(films: list[PurePosixPath]) -> dict[str, dict[str, PurePosixPath]]:
    return {VIDEO_CAMERA: {name.with_suffix("").as_posix(): name for name in films}}


def _key_and_field(path: PurePosixPath) -> tuple[str, str]:
    """Divide a member's path at the first dot of its name, as WebDataset does."""
    stem, _, field = path.name.partition(".")
    return (path.parent / stem).as_posix(), field.lower()


def _video(path: SourcePath, member: Member) -> VideoReader:
    return VideoReader(path, Window(str(member.path), member.start, member.start + member.size))


def _without_video(members: Mapping[PurePosixPath, Member]) -> str:
    pictures = [name for name in members if name.suffix.lower().removeprefix(".") in _PICTURES]
    if pictures:
        return (
            f"got a tar file of {len(pictures)} pictures ({pictures[0]}, ...), expected one with a video a sample: "
            "which pictures follow one another WebDataset does not say: unpack it (tar xf), and give the folder"
        )
    names = ", ".join(str(name) for name in list(members)[:3]) or "nothing"
    return f"got a tar file that holds no video ({names}), expected members that end in {', '.join(sorted(_VIDEOS))}"


__all__ = ["TAR_SUFFIXES", "WebDatasetLayout"]
