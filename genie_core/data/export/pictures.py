"""Reads the pictures of exports, and checks that all episodes agree in size where a format requires it."""

from __future__ import annotations

from collections.abc import Iterator

from genie_core.data.episode import Episode
from genie_core.data.export.plan import ExportPlan
from genie_core.data.export.provenance import LabelledEpisode
from genie_core.data.export.source import ExportSource
from genie_core.data.formats.lerobot.writer import camera_key
from genie_core.data.frames.resize import Frames, resize_frames
from genie_core.errors import DatasetError

_CHUNK_FRAMES = 32


def frames_of(source: ExportSource, episode: LabelledEpisode, plan: ExportPlan, camera: str | None = None) -> Episode:
    """Return the frames of an episode before any resizing. Raises DatasetError if they are gone.

    `camera`: one of those whose labels were fused; None: the first, or the only one.
    """
    if plan.frames == "labelled":
        return source.stored_frames(episode, camera)
    try:
        return source.source_frames(episode, camera)
    except DatasetError as error:
        error.add_note("--size labelled exports the frames stored beside the labels, if there are any")
        raise


def chunks_of(frames: Episode, plan: ExportPlan) -> Iterator[Frames]:
    """Yield frames in the size that the plan wants."""
    for frames_THWC in frames.chunks(_CHUNK_FRAMES):
        yield resize_frames(frames_THWC, *plan.frames) if isinstance(plan.frames, tuple) else frames_THWC


def size_of(frames: Episode, plan: ExportPlan) -> tuple[int, int]:
    """Return height and width of exported frames."""
    return plan.frames if isinstance(plan.frames, tuple) else (frames.height, frames.width)


def common_size(source: ExportSource, plan: ExportPlan, camera: str | None = None) -> tuple[int, int]:
    """Return the size of a camera's frames in all episodes. Raises DatasetError if they have several, or one has none.

    `camera`: as `frames_of` takes it.
    """
    sizes: dict[tuple[int, int], str] = {}
    for episode in source.provenance.episodes:
        if episode.num_frames < 1:
            raise DatasetError(f"{source.path}: {episode.name}: got 0 frames, expected at least 1")
        sizes.setdefault(size_of(frames_of(source, episode, plan, camera), plan), episode.name)
    if len(sizes) > 1:
        said = ", ".join(f"{name} {height}x{width}" for (height, width), name in sizes.items())
        raise DatasetError(f"{source.path}: got frames of several sizes, expected one (--size HxW resizes): {said}")
    return next(iter(sizes))


def common_camera(source: ExportSource) -> str:
    """Return LeRobot's name of the camera of all labels. Raises DatasetError if they are of several."""
    cameras = {camera_key(episode.attrs.camera) for episode in source.provenance.episodes}
    if len(cameras) > 1:
        raise DatasetError(f"{source.path}: got labels of several cameras, expected one: {', '.join(sorted(cameras))}")
    return cameras.pop()


def camera_features(source: ExportSource, plan: ExportPlan) -> dict[str, str]:
    """Return LeRobot's name of each camera whose frames are exported, by its name in the labels; the first one first.

    Raises DatasetError if labels are of several cameras that were not fused, or two cameras would have one name.
    """
    common_camera(source)
    features = {camera: camera_key(camera) for camera in source.cameras(stored=plan.frames == "labelled")}
    if len(set(features.values())) < len(features):
        raise DatasetError(f"{source.path}: cameras: got one name in LeRobot for two of {', '.join(features)}")
    return features


__all__ = ["camera_features", "chunks_of", "common_camera", "common_size", "frames_of", "size_of"]
