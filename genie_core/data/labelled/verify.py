"""Verifies labelled files: checksums, provenance, frames, and leftovers of unfinished runs.

Reads everything, changes nothing, and says how to mend each problem.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator
from pathlib import Path

from pydantic import BaseModel, ConfigDict

from genie_core.data.dataset import HDF5_SUFFIXES
from genie_core.data.episode import Episode
from genie_core.data.formats.robomimic.reader import LABEL_GROUP
from genie_core.data.labelled.checksum import FRAMES_CHECKSUM, frames_digest, is_intact
from genie_core.data.labelled.journal import journal_folder
from genie_core.data.labelled.labels import Labels
from genie_core.data.labelled.provenance import Provenance
from genie_core.data.labelled.reading import LabelledFile, open_labelled
from genie_core.data.storage.atomic import leftovers
from genie_core.data.storage.fingerprint import cheap_sha256, size_and_time
from genie_core.data.storage.hdf5 import read_hdf5
from genie_core.data.storage.location import source_path
from genie_core.data.storage.lock import read_owner
from genie_core.errors import DatasetError, GenieError

_RELABEL = "label again: the same `genie label` command with --resume keeps good episodes, with --overwrite none"
_FRAMES_READ = 64


class Finding(BaseModel):
    """One problem.

    Attributes:
        where: a file, or an episode in it.
        problem: what is wrong.
        mend: how to mend it.

    """

    model_config = ConfigDict(frozen=True)

    where: str
    problem: str
    mend: str


class Verification(BaseModel):
    """Result of a verification.

    Attributes:
        path: the file or folder verified.
        episodes: number of labelled episodes.
        checksums: how many of them have a checksum that matches.
        bundle: where the labels' bundle is; None: not found in the folders searched.
        problems: what is wrong.
        notes: what is worth knowing but not wrong.

    """

    path: str
    episodes: int = 0
    checksums: int = 0
    bundle: str | None = None
    problems: list[Finding] = []
    notes: list[str] = []

    @property
    def is_good(self) -> bool:
        """Whether there are no problems."""
        return not self.problems


def verify_labelled(
    path: Path,
    find_bundle: Callable[[str], str | None] = lambda bundle_id: None,
    advance: Callable[[int, int], None] = lambda done, total: None,
) -> Verification:
    """Verify a file written by `genie label`, or a folder of such files, and what lies beside it.

    Args:
        path: output of `genie label`.
        find_bundle: returns the path of the bundle with a given identity; None: not found.
        advance: called with the numbers of episodes done and in all.

    Raises:
        DatasetError: there is nothing at `path`, finished or not.

    """
    found = Verification(path=str(path))
    unfinished = list(_unfinished(path))
    found.problems += unfinished
    if not path.exists():
        if unfinished:
            return found
        raise DatasetError(f"{path}: no such file or folder")
    try:
        labelled = open_labelled(path)
    except DatasetError as error:
        found.problems.append(Finding(where=str(path), problem=str(error), mend=_mend_file(path)))
        return found
    found.episodes = len(labelled.episodes)
    _check_model(labelled, find_bundle, found)
    sources: dict[str, str | None] = {}
    for number, name in enumerate(labelled.episodes):
        _check_episode(labelled, name, sources, found)
        advance(number + 1, found.episodes)
    unsigned = found.episodes - found.checksums - len({finding.where for finding in found.problems} & _named(labelled))
    if unsigned > 0:
        found.notes.append(f"{unsigned} episodes have no checksum: they were labelled by a version before 0.2")
    return found


def _named(labelled: LabelledFile) -> set[str]:
    return {_where(labelled, name) for name in labelled.episodes}


def _where(labelled: LabelledFile, episode: str) -> str:
    return f"{labelled.path}: {episode}"


def _check_model(labelled: LabelledFile, find_bundle: Callable[[str], str | None], found: Verification) -> None:
    where, attrs = str(labelled.path), labelled.attrs
    if labelled.model.codebook_sha256 != attrs.codebook_sha256:
        found.problems.append(
            Finding(
                where=where,
                problem=f"codebook: got SHA-256 {labelled.model.codebook_sha256[:12]}, "
                f"expected {attrs.codebook_sha256[:12]}",
                mend=_RELABEL,
            )
        )
    if labelled.model.fine_codebook_sha256 != attrs.fine_codebook_sha256:
        found.problems.append(
            Finding(where=where, problem="the codebook of fine codes is not what was written", mend=_RELABEL)
        )
    found.bundle = find_bundle(attrs.bundle_id)
    if found.bundle is None:
        found.notes.append(f"bundle {attrs.bundle_name} {attrs.bundle_id[:12]} is not at hand, so it was not compared")


def _check_episode(labelled: LabelledFile, name: str, sources: dict[str, str | None], found: Verification) -> None:
    where = _where(labelled, name)

    def wrong(problem: str, mend: str = _RELABEL) -> None:
        found.problems.append(Finding(where=where, problem=problem, mend=mend))

    try:
        labels, attrs = labelled.labels(name)
        with read_hdf5(labelled.places[name].path) as file:
            group = file[labelled.places[name].group][LABEL_GROUP]
            intact, frames_sha256 = is_intact(group), group.attrs.get(FRAMES_CHECKSUM)
    except GenieError as error:
        return wrong(f"the labels cannot be read: {error}")
    if intact is False:
        return wrong("the labels are not what was written: their SHA-256 differs")
    found.checksums += intact is True
    for problem in _misfits(labelled, labels, attrs):
        wrong(problem)
    if attrs.source not in sources:
        sources[attrs.source] = _source_change(attrs) if labelled.attrs.frames != "in_place" else None
    change = sources[attrs.source]
    if change is not None and labelled.attrs.frames == "link":
        wrong(f"its frames are links to what {change}", _mend_frames(labelled))
    elif change is not None:
        note = f"{attrs.source} {change}"
        found.notes += [note] if note not in found.notes else []
    try:
        misfit = _frames_problem(labelled.episode(name), labels, frames_sha256)
    except GenieError as error:
        misfit = f"the frames cannot be read: {error}"
    if misfit is not None:
        wrong(misfit, _mend_frames(labelled))
    return None


def _misfits(labelled: LabelledFile, labels: Labels, attrs: Provenance) -> Iterator[str]:
    codes, dim = labelled.model.codebook.shape
    if attrs.bundle_id != labelled.attrs.bundle_id:
        yield f"bundle: got {attrs.bundle_id[:12]}, expected the file's, {labelled.attrs.bundle_id[:12]}"
    if labels.latent.shape[1] != dim or labels.code.max(initial=0) >= codes:
        yield (
            f"labels: got latents of {labels.latent.shape[1]} numbers and codes up to {labels.code.max(initial=0)}, "
            f"expected {dim} and codes below {codes}, as in the codebook"
        )
    fine = labelled.model.fine_codebook
    if (fine is None) != (labels.fine_code is None):
        yield "has fine codes and no codebook of them, or the other way round"
    elif fine is not None and labels.fine_code is not None and labels.fine_code.max(initial=0) >= len(fine):
        yield f"has fine codes up to {labels.fine_code.max()}, their codebook has {len(fine)}"
    if labels.valid[max(0, len(labels) - attrs.step) :].any():
        yield f"labels: got valid ones in the last {attrs.step} frames, expected none: no transition starts there"


def _frames_problem(episode: Episode | None, labels: Labels, frames_sha256: str | None) -> str | None:
    """Read all frames of an episode and say what is wrong with them; None: nothing."""
    if episode is None:
        return None
    if episode.num_frames != len(labels):
        return f"got {episode.num_frames} frames, expected {len(labels)}, one for each label"
    digest = frames_digest(episode.chunks(_FRAMES_READ))
    if frames_sha256 is not None and digest != frames_sha256:
        return "the frames are not what was written: their SHA-256 differs"
    return None


def _source_change(attrs: Provenance) -> str | None:
    """Return how the labelled source has changed since; None if it has not, or is behind a URL."""
    source = source_path(attrs.source)
    if not isinstance(source, Path):
        return None
    try:
        size, time_ns = size_and_time(source)
    except DatasetError:
        return "no longer exists"
    if size != attrs.source_size:
        return f"has changed since: got {size} bytes, expected {attrs.source_size}"
    if time_ns == attrs.source_mtime_ns:
        return None
    if attrs.source_sha256 is None:
        return "has changed since: its modification time differs"
    return None if cheap_sha256(source) == attrs.source_sha256 else "has changed since: its SHA-256 differs"


def _unfinished(path: Path) -> Iterator[Finding]:
    """Yield leftovers beside `path` of runs that are under way or were stopped."""
    folder = journal_folder(path)
    if folder.is_dir():
        parts, owner = len(list(folder.glob("*.hdf5"))), read_owner(folder)
        by = f", last held by {owner.words()}" if owner else ""
        yield Finding(
            where=str(folder),
            problem=f"holds {parts} finished episodes of a run that is under way or was stopped{by}",
            mend="run its `genie label` command again to continue, or remove the folder",
        )
    for left in leftovers(path.parent, of=path.name):
        yield Finding(
            where=str(left), problem="was left by a killed process", mend="Genie removes it when it next writes there"
        )


def _mend_file(path: Path) -> str:
    if path.is_file() and path.suffix.lower() in HDF5_SUFFIXES:
        return "restore it from a copy, or label again with --overwrite"
    return "name a file or folder written by `genie label`"


def _mend_frames(labelled: LabelledFile) -> str:
    if labelled.attrs.frames in ("link", "in_place"):
        return "restore the file of the frames, or label again with --overwrite"
    return "label again with --overwrite"


__all__ = ["Finding", "Verification", "verify_labelled"]
