"""Looks at the pictures, times and actions of a dataset for `inspect`: all of a small one, samples of a large one."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from contextlib import suppress

from genie_core.data.episode import Episode
from genie_core.data.findings import Finding, action_findings, picture_findings, time_findings
from genie_core.data.frames.content import PictureWatch
from genie_core.errors import DatasetError

_WHOLE_BYTES = 48 * 1024 * 1024
"""Largest dataset, in bytes of its pictures, of which every frame is looked at."""

_EPISODES = 8
"""Episodes that are looked at of a larger one, spread over it."""

_WINDOW = 8
"""Frames that are looked at in each of three places of such an episode: begin, middle and end."""


def sampled(episodes: Sequence[Episode]) -> list[Episode]:
    """Return all episodes if there are few, else some, spread over them."""
    if len(episodes) <= _EPISODES:
        return list(episodes)
    return [episodes[round(number * (len(episodes) - 1) / (_EPISODES - 1))] for number in range(_EPISODES)]


def is_small(episodes: Sequence[Episode]) -> bool:
    """Return whether all pictures of readable episodes are few enough to look at each of them."""
    total = 0
    for episode in episodes:
        with suppress(DatasetError):
            total += episode.num_frames * episode.height * episode.width * 3
        if total > _WHOLE_BYTES:
            return False
    return True


def sample_findings(episodes: Sequence[Episode], damaged: dict[str, str]) -> Iterator[tuple[str, Finding]]:
    """Yield what is odd about episodes, by name; why pictures cannot be read is added to `damaged`, by name."""
    whole = is_small(episodes)
    for episode in episodes:
        with suppress(DatasetError):  # who asks for its length is told
            yield from ((episode.name, finding) for finding in time_findings(episode))
    for episode in episodes if whole else sampled(episodes):
        try:
            if episode.num_frames < 2:
                continue
            looked = [*action_findings(episode), *(_all_of(episode) if whole else _some_of(episode))]
        except DatasetError as error:
            damaged[episode.name] = str(error)
            continue
        yield from ((episode.name, finding) for finding in looked)


def _all_of(episode: Episode) -> list[Finding]:
    watch = PictureWatch()
    for chunk in episode.chunks():
        watch.add(chunk)
    return picture_findings(watch.seen, episode.fps)


def _some_of(episode: Episode) -> list[Finding]:
    """Return what a few windows show; one finding of a kind."""
    count = episode.num_frames
    found: dict[str, Finding] = {}
    for start in sorted({0, max(0, count // 2 - _WINDOW // 2), max(0, count - _WINDOW)}):
        watch = PictureWatch()
        watch.add(episode.frames(start, start + _WINDOW))
        for finding in picture_findings(watch.seen, None, start, whole=count <= _WINDOW):
            found.setdefault(finding.kind, Finding(finding.kind, f"{finding.text} (of a sample; --thorough reads all)"))
    return list(found.values())


__all__ = ["is_small", "sample_findings", "sampled"]
