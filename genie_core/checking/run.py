"""Checks a labelled file, or data of which it labels a sample: reads, measures, and judges."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace
from pathlib import Path
from tempfile import TemporaryDirectory

import numpy as np
from numpy.typing import NDArray

from genie_core.checking.actions import EPISODES, action_metrics
from genie_core.checking.codes import CheckedEpisode, label_metrics
from genie_core.checking.cuts import MOST_FRAMES, find_cuts, read_likeness
from genie_core.checking.mask import check_maskable, kept_transitions, write_mask
from genie_core.checking.pictures import FILMS, picture_metrics, read_film, unusual_motion
from genie_core.checking.report import CheckReport, EpisodeRow, delete_command, episode_row
from genie_core.checking.rules import judge, verdict_of
from genie_core.checking.sample import Sampling, label_sample
from genie_core.checking.scene import scene_metrics
from genie_core.data import Dataset, Episode, LabelledFile, Provenance, open_labelled
from genie_core.data.formats.lerobot.meta import is_lerobot, read_lerobot_meta
from genie_core.data.labelled.originals import Originals
from genie_core.data.storage.location import SourcePath
from genie_core.errors import DatasetError, ModelError
from genie_core.evaluation.metrics import Measured, Metric, Missing, mean_of
from genie_core.inference import Labeller
from genie_core.models.bundle import load_bundle, read_bundle_info
from genie_core.progress import Progress


@dataclass(frozen=True)
class CheckPlan:
    """What to check with.

    Attributes:
        bundle: folder of the bundle that made the labels; None: no bundle, so that pictures are not checked.
        pictures: whether to check the pictures, where there are any.
        actions_from: dataset with the robot's actions; None: where they lie with the labels or their source.
        device: torch's name of the device.
        seed: seed of every draw.
        mask: whether to write which episodes and transitions to keep into the labelled file.

    """

    bundle: Path | None
    pictures: bool = True
    actions_from: SourcePath | None = None
    device: str = "cpu"
    seed: int = 0
    mask: bool = False


def check_data(dataset: Dataset, bundle: Path, plan: CheckPlan, sampling: Sampling, progress: Progress) -> CheckReport:
    """Label part of a dataset with a bundle and check these labels; the labels are not kept.

    Raises:
        DatasetError: no episode can be read or labelled, or a mask is wanted, for which there is no file.
        ModelError: the bundle cannot be used.

    """
    if plan.mask:
        raise DatasetError(f"{dataset.path}: got --mask, which is for a labelled file: label the data first")
    with TemporaryDirectory(prefix="genie-check-") as folder:
        path = label_sample(load_bundle(bundle, plan.device), dataset, sampling, Path(folder), progress)
        report = check_labelled(path, replace(plan, bundle=bundle), progress)
    missing = {name: why.replace(str(path), str(dataset.path)) for name, why in report.missing.items()}
    return report.model_copy(update={"path": str(dataset.path), "missing": missing})


def check_labelled(path: SourcePath, plan: CheckPlan, progress: Progress) -> CheckReport:
    """Check a file that `genie label` wrote.

    Raises:
        DatasetError: it cannot be read, or has no episode with labels.
        ModelError: the bundle is not the one that made the labels, or cannot be used.

    """
    labelled = open_labelled(path)
    if not labelled.episodes:
        raise DatasetError(f"{path}: no episode carries labels")
    if plan.bundle is not None:
        _check_bundle(labelled, plan.bundle)
    if plan.mask:
        check_maskable(labelled)
    codebook, codes = labelled.model.codebook, len(labelled.model.codebook)
    episodes: list[CheckedEpisode] = []
    attrs: dict[str, Provenance] = {}
    for done, name in enumerate(labelled.episodes):
        progress("labels", done, len(labelled.episodes))
        labels, attrs[name] = labelled.labels(name)
        if len(labels.code[labels.valid]) and int(labels.code[labels.valid].max()) >= codes:
            raise DatasetError(f"{path}: {name}: got a code of {int(labels.code.max())}, expected 0 to {codes - 1}")
        episodes.append(CheckedEpisode.of(name, labels, attrs[name].step, codebook))
    rng = np.random.default_rng(plan.seed)
    measured = {**label_metrics(episodes, codebook, rng), **scene_metrics(episodes, codes, rng)}
    measured |= _with_pictures(labelled, episodes, attrs, plan, rng, progress)
    cuts: Mapping[str, NDArray[np.int64]] = {}
    if plan.pictures:
        cuts, measured["cut_share"] = _cuts(labelled, episodes, attrs, plan.seed, progress)
    judged = judge(measured)
    verdict, decided_by = verdict_of(judged)
    rows = tuple(
        episode_row(
            e,
            attrs[e.name].source,
            attrs[e.name].source_name,
            codes,
            len(cuts[e.name]) if e.name in cuts else None,
        )
        for e in episodes
    )
    if plan.mask:
        uncut = np.zeros(0, np.int64)
        write_mask(
            labelled,
            rows,
            {
                e.name: kept_transitions(e, cuts.get(e.name, uncut), row.delete)
                for e, row in zip(episodes, rows, strict=True)
            },
        )
    count_K = np.bincount(np.concatenate([e.code_S for e in episodes]), minlength=codes)
    return CheckReport(
        path=str(path),
        bundle=labelled.model.bundle_name,
        bundle_id=labelled.model.bundle_id,
        verdict=verdict,
        decided_by=tuple(decided_by),
        judged=tuple(judged),
        metrics={name: of for name, of in measured.items() if isinstance(of, Metric)},
        missing={name: of.reason for name, of in measured.items() if isinstance(of, Missing)},
        code_share=tuple((count_K / max(1, count_K.sum())).tolist()),
        episodes=rows,
        delete_command=_delete_command(rows),
    )


def _check_bundle(labelled: LabelledFile, bundle: Path) -> None:
    found = read_bundle_info(bundle).bundle_id
    if found != labelled.model.bundle_id:
        raise ModelError(
            f"{bundle}: got bundle {found[:12]}, expected {labelled.model.bundle_id[:12]}, which made the labels of "
            f"{labelled.path}: name it with --bundle, or check with --labels-only"
        )


def _with_pictures(
    labelled: LabelledFile,
    episodes: Sequence[CheckedEpisode],
    attrs: Mapping[str, Provenance],
    plan: CheckPlan,
    rng: np.random.Generator,
    progress: Progress,
) -> dict[str, Measured]:
    """Return what bundle, frames and actions add; or why they add nothing."""
    if not plan.pictures or plan.bundle is None:
        why = "left out: --labels-only" if not plan.pictures else "the bundle is not at hand: give it with --bundle"
        return {"pictures": Missing(why)}
    bundle = load_bundle(plan.bundle, plan.device, attrs[episodes[0].name].precision)
    labeller = Labeller(bundle)
    metrics = {"unusual_motion": unusual_motion(episodes, bundle.info.usual_norm)}
    sources, why_none = _frames(labelled, episodes, attrs, rng)
    if not sources:
        return metrics | {"pictures": Missing(f"no frames: {why_none}")}
    by_name = {e.name: e for e in episodes}
    size = (labeller.height, labeller.width)
    few = list(sources.items())[:FILMS]
    films = [film for name, source in few if (film := read_film(source, by_name[name], *size)) is not None]
    if films:
        metrics |= picture_metrics(labeller, films, rng, progress)
    else:
        metrics["pictures"] = Missing("no episode has two transitions")
    probed = {name: by_name[name] for name in sources}
    return metrics | action_metrics(labelled, probed, sources, plan.actions_from, size, plan.seed, progress)


def _frames(
    labelled: LabelledFile,
    episodes: Sequence[CheckedEpisode],
    attrs: Mapping[str, Provenance],
    rng: np.random.Generator,
) -> tuple[dict[str, Episode], str]:
    """Return frames of some labelled episodes, drawn at random, from file or source; and why others have none."""
    originals, found, why = Originals(), dict[str, Episode](), "no episode has labels"
    for place in rng.permutation(len(episodes)).tolist():
        of = episodes[place]
        if not len(of.code_S) or len(found) == EPISODES:
            continue
        try:
            source = labelled.episode(of.name) or originals.episode(attrs[of.name], of.name)
            if source.num_frames != of.frames:
                raise DatasetError(f"{source.source}: got {source.num_frames} frames, expected {of.frames}")
            found[of.name] = source
        except DatasetError as error:
            why = str(error)
    return found, why


def _cuts(
    labelled: LabelledFile,
    episodes: Sequence[CheckedEpisode],
    attrs: Mapping[str, Provenance],
    seed: int,
    progress: Progress,
) -> tuple[dict[str, NDArray[np.int64]], Measured]:
    """Find cuts in whole episodes drawn at random; return them and the share of transitions that cross one."""
    originals, found, across, left = (
        Originals(),
        dict[str, NDArray[np.int64]](),
        list[NDArray[np.float64]](),
        MOST_FRAMES,
    )
    why = "no episode is short enough"
    rng = np.random.default_rng([seed, 3])
    for done, place in enumerate(rng.permutation(len(episodes)).tolist()):
        of = episodes[place]
        if of.frames > left:
            continue
        progress("cuts of the video", done, len(episodes))
        try:
            likeness_S = read_likeness(labelled.episode(of.name) or originals.episode(attrs[of.name], of.name))
            if len(likeness_S) != of.frames - 1:
                raise DatasetError(f"{of.name}: got {len(likeness_S) + 1} frames, expected {of.frames}")
        except DatasetError as error:
            why = str(error)
            continue
        left -= of.frames
        found[of.name] = find_cuts(likeness_S)
        crossing = np.zeros(of.frames + 1)
        for cut in found[of.name].tolist():
            crossing[max(0, cut - of.step) : cut] = 1
        across.append(crossing[of.frame_S])
    return found, mean_of([share for share in across if len(share)], rng) if found else Missing(f"no frames: {why}")


def _delete_command(rows: Sequence[EpisodeRow]) -> str | None:
    """Return the command for the LeRobot dataset of all episodes; None: nothing to delete, or no such dataset."""
    doomed = [row for row in rows if row.delete]
    if not doomed or len(doomed) == len(rows):
        return None
    originals = Originals()
    try:
        folders = {originals.around(row.source) for row in doomed}
        folder = folders.pop()
        if folders or not isinstance(folder, Path) or not is_lerobot(folder) or not read_lerobot_meta(folder).is_shared:
            return None
    except DatasetError:
        return None
    return delete_command(folder, [row.source_name for row in doomed])


__all__ = ["CheckPlan", "check_data", "check_labelled"]
