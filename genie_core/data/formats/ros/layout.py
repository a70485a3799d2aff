"""Formats of ROS: how MCAP files and bags are recognised, and survey of their topics."""

from __future__ import annotations

from collections.abc import Mapping, Sequence

from genie_core.data.dataset import (
    BAG_SUFFIXES,
    Dataset,
    Format,
    ReadOptions,
    Sources,
    Survey,
    choose_camera,
    file_names,
)
from genie_core.data.episode import Episode, FrameReader, Unreadable
from genie_core.data.formats.hdf5.mapping import natural_key
from genie_core.data.formats.ros.mcap import McapRecording
from genie_core.data.formats.ros.messages import PICTURES
from genie_core.data.formats.ros.reader import RosReader, command_topics
from genie_core.data.formats.ros.recording import Recording, Topic
from genie_core.data.formats.ros.rosbag import METADATA, BagRecording
from genie_core.data.frames.convention import Convention
from genie_core.data.storage.location import SourcePath
from genie_core.errors import DatasetError

_RATE = "times in the headers of the pictures, where all are set and increase, else times of recording"


class McapLayout:
    """MCAP files, one episode each; those of one bag of ROS 2 are one."""

    name: Format = "mcap"
    looks_for = "a name that ends in .mcap"

    def recognise(self, path: SourcePath) -> str | None:
        """Recognise it by its name, or that of the files in a bag's folder."""
        if path.suffix.lower() == ".mcap":
            return "its name ends in .mcap"
        return _bag_reason(path, "*.mcap")

    def survey(self, sources: Sources, options: ReadOptions) -> Survey:
        """Read the topics of the first recording that opens."""
        recordings = _mcap_recordings(sources)
        return _survey("mcap", sources, options, recordings)


class RosbagLayout:
    """Bags of ROS 1, a file each, and of ROS 2 with SQLite files, a folder each; one episode each."""

    name: Format = "rosbag"
    looks_for = f"a name that ends in .bag, or a folder with {METADATA} and .db3 files"

    def recognise(self, path: SourcePath) -> str | None:
        """Recognise it by its name, or that of the files in a bag's folder."""
        suffix = path.suffix.lower()
        return f"its name ends in {suffix}" if suffix in BAG_SUFFIXES else _bag_reason(path, "*.db3")

    def survey(self, sources: Sources, options: ReadOptions) -> Survey:
        """Read the topics of the first bag that opens."""
        recordings = {
            name: BagRecording(file.parent if file.suffix == ".db3" else file)
            for name, file in zip(file_names(sources), sources.files, strict=True)
        }
        recordings = {
            name if recording.path.suffix == ".bag" else (name.rpartition("/")[0] or recording.path.name): recording
            for name, recording in recordings.items()
        }
        return _survey("rosbag", sources, options, recordings)


def _bag_reason(path: SourcePath, pattern: str) -> str | None:
    if not (path / METADATA).is_file():
        return None
    return f"it holds {METADATA} and {pattern}" if next(iter(path.glob(pattern)), None) is not None else None


def _mcap_recordings(sources: Sources) -> dict[str, McapRecording]:
    """Return the recordings by name; files in a folder with `METADATA` are one."""
    if sources.files == (sources.path,) and sources.path.suffix.lower() != ".mcap":
        files: list[SourcePath] = sorted(sources.path.glob("*.mcap"), key=lambda file: natural_key(file.name))
        return {sources.path.name: McapRecording(sources.path, tuple(files))}
    bags: dict[SourcePath, list[tuple[str, SourcePath]]] = {}
    for name, file in zip(file_names(sources), sources.files, strict=True):
        bags.setdefault(file.parent, []).append((name, file))
    found: dict[str, McapRecording] = {}
    for folder, held in bags.items():
        if len(held) > 1 and (folder / METADATA).is_file():
            ordered = sorted(held, key=lambda pair: natural_key(pair[1].name))
            name = ordered[0][0].rpartition("/")[0] or folder.name
            found[name] = McapRecording(folder, tuple(file for _, file in ordered))
        else:
            found |= {name: McapRecording(file, (file,)) for name, file in held}
    return found


def _survey(name: Format, sources: Sources, options: ReadOptions, recordings: Mapping[str, Recording]) -> Survey:
    count = len(recordings)
    try:
        topics = _first_topics(list(recordings.values()))
    except DatasetError as error:
        return Survey(None, files=count, obstacles=(str(error),))
    pictures = [topic for topic in topics if topic.kind in PICTURES and topic.problem is None]
    cameras = {_camera_name(topic.name): topic for topic in pictures if "depth" not in topic.name.lower()}
    warnings = tuple(_not_read(sources.path, topics, cameras))
    try:
        asked = None if options.camera is None else _camera_name(options.camera)
        camera = choose_camera(sources.path, tuple(cameras), asked)
    except DatasetError as error:
        return Survey(None, tuple(cameras), count, obstacles=(str(error), *warnings[:1]), warnings=warnings)
    convention = options.convention(Convention())
    episodes = [
        Episode(
            title,
            recording.path,
            camera,
            _reader(recording, cameras[camera]),
            options.fps,
            convention,
            options.actions_path,
        )
        for title, recording in sorted(recordings.items(), key=lambda pair: natural_key(pair[0]))
    ]
    dataset = Dataset(name, sources.path, tuple(cameras), camera, tuple(episodes), options)
    return Survey(dataset, dataset.cameras, count, _RATE, _facts(topics), warnings=warnings)


def _reader(recording: Recording, camera: Topic) -> FrameReader:
    if isinstance(recording, McapRecording) and not recording.files:
        return Unreadable(f"{recording.path}: holds no .mcap file")
    return RosReader(recording, camera)


def _first_topics(recordings: Sequence[Recording]) -> tuple[Topic, ...]:
    """Return the topics of the first recording that opens. Raises DatasetError about the first if none does."""
    problem: DatasetError | None = None
    for recording in recordings:
        try:
            with recording.open() as opened:
                return opened.topics
        except DatasetError as error:
            problem = problem or error
    assert problem is not None
    raise problem


def _camera_name(topic: str) -> str:
    """Return what the camera of a topic is called: ``front.image_raw`` is ``/front/image_raw``."""
    return topic.strip("/").replace("/", ".")


def _not_read(path: SourcePath, topics: Sequence[Topic], cameras: Mapping[str, Topic]) -> list[str]:
    """Name the topics that look like pictures and are not read."""
    odd = []
    for topic in topics:
        if topic in cameras.values() or not any(word in topic.kind.lower() for word in ("image", "video", "ffmpeg")):
            continue
        reason = topic.problem or ("it is depth" if topic.kind in PICTURES else f"{topic.kind} is not read")
        odd.append(f"{path}: {topic.name}: no camera: {reason}")
    return odd


def _facts(topics: tuple[Topic, ...]) -> tuple[str, ...]:
    commands = command_topics(topics)
    facts = ["numbers of the robot are those recorded last before each picture, by the time of recording"]
    if len(commands) > 1:
        names = ", ".join(topic.name for topic in commands)
        facts.append(f"several topics command the robot, none is taken for its actions: {names}; name one (actions)")
    elif commands:
        facts.append(f"actions are {commands[0].name}")
    return tuple(facts)


__all__ = ["METADATA", "McapLayout", "RosbagLayout"]
