"""Inspects a dataset: contents, whether and how it can be labelled, and every obstacle."""

from __future__ import annotations

import re
from collections.abc import Iterator, Sequence
from contextlib import suppress
from dataclasses import replace
from pathlib import Path

from pydantic import BaseModel, ConfigDict

from genie_core.data.dataset import ROBOMIMIC_LAYOUT, Dataset, Format, ReadOptions, Sources, Survey
from genie_core.data.episode import Episode
from genie_core.data.findings import Finding, action_findings, note_findings, picture_findings, time_findings, told
from genie_core.data.frames.content import PictureWatch
from genie_core.data.frames.convention import Colour, Convention
from genie_core.data.frames.turning import Rotation
from genie_core.data.inspect_pictures import sample_findings
from genie_core.data.labelled.reading import open_labelled
from genie_core.data.labelled.schema import is_labelled
from genie_core.data.opening import find_sources, merged_options, survey_dataset
from genie_core.data.storage.location import SourcePath
from genie_core.errors import DatasetError

_ALIKE = 3
"""Problems that differ in numbers alone and are told one by one."""


class EpisodeReport(BaseModel):
    """Facts about one episode; frames, size and rate are None if it cannot be read.

    Attributes:
        name: name in the dataset.
        frames: number of frames.
        height: of a frame, pixels.
        width: of a frame, pixels.
        fps: frames a second; None if unknown.
        problem: why it cannot be labelled; None if it can.

    """

    model_config = ConfigDict(frozen=True)

    name: str
    frames: int | None = None
    height: int | None = None
    width: int | None = None
    fps: float | None = None
    problem: str | None = None


class DatasetReport(BaseModel):
    """Facts about a dataset.

    Attributes:
        path: what was inspected.
        format: how frames are stored.
        why: how the format was recognised, in words.
        files: number of files that hold frames.
        cameras: names of the cameras that every file has.
        camera: camera that would be labelled; None if one has to be named.
        fps: frames a second; None if unknown or not the same for all episodes.
        fps_source: where the frame rate comes from, in words; None if there is none.
        colour: channel order of the stored pictures that reading assumes, ``rgb`` or ``bgr``.
        upside_down: whether stored pictures are turned over when read.
        rotate: by how many degrees clockwise they are turned, as given by the user; None: not at all.
        facts: what was detected and is acted on, and how the format is interpreted; one sentence each.
        frames: number of frames in all readable episodes.
        labelled_by: names of the bundles whose labels the files already hold.
        can_label: whether every episode can be labelled as it is.
        obstacles: what has to be fixed or specified before that.
        warnings: oddities that do not stop labelling.
        episodes: one report per episode.

    """

    model_config = ConfigDict(frozen=True)

    path: str
    format: Format
    why: str = ""
    files: int
    cameras: tuple[str, ...] = ()
    camera: str | None = None
    fps: float | None = None
    fps_source: str | None = None
    colour: Colour = "rgb"
    upside_down: bool = False
    rotate: Rotation | None = None
    facts: tuple[str, ...] = ()
    frames: int = 0
    labelled_by: tuple[str, ...] = ()
    can_label: bool = False
    obstacles: tuple[str, ...] = ()
    warnings: tuple[str, ...] = ()
    episodes: tuple[EpisodeReport, ...] = ()


def inspect_dataset(
    path: str | SourcePath,
    *,
    camera: str | None = None,
    fps: float | None = None,
    options: ReadOptions | None = None,
    thorough: bool = False,
) -> DatasetReport:
    """Inspect a file or folder of robot video; problems of its files are reported, not raised.

    Args:
        path: as for `open_dataset`.
        camera: camera to label; None: the default of `open_dataset`.
        fps: frames a second, in place of what the files say.
        options: everything else to say about the data; `camera` and `fps` override it.
        thorough: read every frame; otherwise only headers and indexes, which does not find damaged pictures.

    Raises:
        DatasetError: there is no robot video at `path`, its formats are mixed or unknown, or `fps` is not above 0.

    """
    options = merged_options(options, camera, fps)
    sources = find_sources(path, options)
    survey = survey_dataset(sources, options)
    report = DatasetReport(
        path=str(path),
        format=sources.format,
        why=sources.why,
        files=survey.files,
        cameras=survey.cameras,
        facts=survey.facts,
        obstacles=survey.obstacles,
        warnings=survey.warnings,
        labelled_by=_labelled_by(sources),
    )
    if survey.dataset is not None:
        return _inspect_episodes(report, survey, survey.dataset, thorough)
    if options.camera is not None or len(survey.cameras) < 2:
        return report
    seen = survey_dataset(sources, replace(options, camera=survey.cameras[0]))  # the episodes are the same by any
    if seen.dataset is None:
        return report
    fact = f"the episodes are shown as {survey.cameras[0]} sees them"
    shown = report.model_copy(update={"facts": (*seen.facts, fact), "warnings": seen.warnings})
    return _inspect_episodes(shown, seen, seen.dataset, thorough).model_copy(update={"camera": None})


def _labelled_by(sources: Sources) -> tuple[str, ...]:
    names = set()
    if sources.format in ROBOMIMIC_LAYOUT or (sources.format in ("aloha", "hdf5") and isinstance(sources.path, Path)):
        for path in sources.files:
            with suppress(DatasetError):  # reported elsewhere
                if is_labelled(path):
                    names.add(open_labelled(path).model.bundle_name)
    return tuple(sorted(names))


def _inspect_episodes(report: DatasetReport, survey: Survey, dataset: Dataset, thorough: bool) -> DatasetReport:
    found: list[tuple[str, Finding]] = []
    episodes = tuple(_inspect_episode(episode, thorough, found) for episode in dataset.episodes)
    if not thorough:
        damaged: dict[str, str] = {}
        found += sample_findings(dataset.episodes, damaged)
        episodes = tuple(
            EpisodeReport(name=episode.name, problem=damaged[episode.name])
            if episode.name in damaged and episode.frames is not None
            else episode
            for episode in episodes
        )
    rates = {episode.fps for episode in episodes if episode.frames is not None}
    fps = next(iter(rates)) if len(rates) == 1 else None
    obstacles = (*report.obstacles, *_obstacles(episodes))
    source = survey.fps_source if dataset.fps_override is None else "given"
    convention = next(iter(episode.convention for episode in dataset.episodes), Convention())
    return report.model_copy(
        update={
            "camera": dataset.camera,
            "fps": fps,
            "fps_source": source if rates - {None} else None,
            "colour": convention.colour,
            "upside_down": convention.upside_down,
            "rotate": convention.rotate,
            "frames": sum(episode.frames or 0 for episode in episodes),
            "can_label": not obstacles,
            "obstacles": obstacles,
            "facts": (*report.facts, *told(_notes(dataset), len(episodes))),
            "warnings": (*report.warnings, *_warnings(episodes), *told(found, len(episodes))),
            "episodes": episodes,
        }
    )


def _inspect_episode(episode: Episode, thorough: bool, found: list[tuple[str, Finding]]) -> EpisodeReport:
    """Describe one episode; if `thorough` every frame is read, and what is odd about it added to `found`."""
    try:
        frames = _look_at_all(episode, found) if thorough else episode.num_frames
        return EpisodeReport(
            name=episode.name,
            frames=frames,
            height=episode.height,
            width=episode.width,
            fps=episode.fps,
            problem=None if frames > 1 else _too_short(frames),
        )
    except DatasetError as error:
        return EpisodeReport(name=episode.name, problem=str(error))


def _notes(dataset: Dataset) -> Iterator[tuple[str, Finding]]:
    for episode in dataset.episodes:
        with suppress(DatasetError):  # told of its own
            yield from ((episode.name, finding) for finding in note_findings(episode))


def _look_at_all(episode: Episode, found: list[tuple[str, Finding]]) -> int:
    watch = PictureWatch()
    for chunk in episode.chunks():
        watch.add(chunk)
    if len(watch.seen.blank) < 2:
        return len(watch.seen.blank)
    findings = [*picture_findings(watch.seen, episode.fps), *time_findings(episode), *action_findings(episode)]
    found += [(episode.name, finding) for finding in findings]
    return len(watch.seen.blank)


def _too_short(frames: int) -> str:
    return f"has {frames} frame{'' if frames == 1 else 's'} and so no transition, which needs 2"


def _obstacles(episodes: Sequence[EpisodeReport]) -> list[str]:
    obstacles = _together([str(episode.problem) for episode in episodes if episode.frames is None])
    if all(episode.problem for episode in episodes):
        obstacles.append("no episode has a transition to label")
    return obstacles


def _together(problems: Sequence[str]) -> list[str]:
    """Merge problems that differ only in numbers into one line, if there are many."""
    kinds: dict[str, list[str]] = {}
    for problem in dict.fromkeys(problems):
        kinds.setdefault(re.sub(r"\d+", "0", problem), []).append(problem)
    said = []
    for alike in kinds.values():
        said += alike if len(alike) <= _ALIKE else [f"{alike[0]} (and so {len(alike) - 1} more)"]
    return said


def _warnings(episodes: Sequence[EpisodeReport]) -> list[str]:
    warnings = [
        f"{episode.name} {episode.problem}" for episode in episodes if episode.problem and episode.frames is not None
    ]
    rates = sorted({episode.fps for episode in episodes if episode.fps is not None})
    if len(rates) > 1:
        warnings.append(
            f"frame rates differ, {rates[0]:g} to {rates[-1]:g} frames a second: each episode has its own step"
        )
    sizes = sorted({(episode.height, episode.width) for episode in episodes if episode.height and episode.width})
    if len(sizes) > 1:
        named = ", ".join(f"{height} x {width}" for height, width in sizes[:8])
        warnings.append(
            f"frame sizes differ: {named}: each episode is resized to the model's size by itself, so shapes may differ"
        )
    unknown = [episode.name for episode in episodes if episode.frames is not None and episode.fps is None]
    if unknown:
        few = f"episode is unknown ({unknown[0]})" if len(unknown) == 1 else f"episodes is unknown ({unknown[0]}, ...)"
        warnings.append(
            f"the frame rate of {len(unknown)} {few}: the step is found on the data alone (--step auto); models that "
            "go by frame rates need the data's frames a second, or the step in frames"
        )
    return warnings


__all__ = ["DatasetReport", "EpisodeReport", "inspect_dataset"]
