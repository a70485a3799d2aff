"""Reads labelled transitions with the robot's actions, from one labelled file or matched with another dataset.

Fitting is `regressor`'s and `dictionary`'s work; which transitions are fitted on and which scored is `study`'s.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from typing import Literal

import numpy as np
from numpy.typing import NDArray

from genie_core.alignment.observation import thumbnails
from genie_core.alignment.regressor import Array
from genie_core.data import (
    Dataset,
    Episode,
    Frames,
    LabelledFile,
    Labels,
    Provenance,
    open_dataset,
    resize_frames,
)
from genie_core.data.formats.lerobot.meta import is_lerobot, read_lerobot_meta
from genie_core.data.labelled.originals import Originals
from genie_core.data.storage.location import SourcePath
from genie_core.errors import DatasetError
from genie_core.progress import Progress

Reduce = Literal["mean", "first", "last", "change"]
"""One action for a transition of k frames from the k actions a_t .. a_{t+k-1} over it.

``mean``: their mean, for velocities and small displacements. ``first``: a_t. ``last``: a_{t+k-1}. ``change``:
a_{t+k} - a_t, the change of the command, for absolute targets.
"""

_CHUNK = 64


@dataclass(frozen=True)
class AlignedEpisode:
    """One labelled episode with the robot's actions.

    Attributes:
        name: its name in the labelled file.
        frame_S: (S,) int64, the frame t at which each labelled transition starts.
        code_S: (S,) int64.
        latent_SD: (S, D).
        action_TA: (T - step, A), the robot's action over every transition x_t -> x_{t+step}, labelled or not.
        thumbnail_TF: (T, 192), one per frame; None if there are no frames, or thumbnails are not wanted.
        frames_THWC: frames at the model's size; None if not kept.

    """

    name: str
    frame_S: NDArray[np.int64]
    code_S: NDArray[np.int64]
    latent_SD: Array
    action_TA: Array
    thumbnail_TF: Array | None
    frames_THWC: Frames | None

    @property
    def action_SA(self) -> Array:
        """The robot's action over each labelled transition."""
        return self.action_TA[self.frame_S]


@dataclass(frozen=True)
class AlignedSet:
    """All episodes that have both labels and actions, and what they share.

    Attributes:
        labelled: file of the labels.
        actions_from: file or dataset of the actions.
        actions: names of the A components of an action.
        reduce: how the actions over a transition were reduced to one.
        provenance: provenance of the labels; fields that may differ between episodes are the first one's.
        episodes: at least one.
        without_actions: names of labelled episodes without actions.

    """

    labelled: LabelledFile
    actions_from: SourcePath
    actions: tuple[str, ...]
    reduce: Reduce
    provenance: Provenance
    episodes: Sequence[AlignedEpisode]
    without_actions: tuple[str, ...]


@dataclass(frozen=True)
class Wanted:
    """What to read.

    Attributes:
        actions_from: dataset with the actions; None: the labelled file, else the source that it names.
        height, width: the model's frame size.
        reduce: see `Reduce`.
        camera: camera of `actions_from`, if frames are read there; None: the one that was labelled.
        observations: whether to compute thumbnails.
        keep_frames: whether to keep frames at the model's size.

    """

    actions_from: SourcePath | None
    height: int
    width: int
    reduce: Reduce = "mean"
    camera: str | None = None
    observations: bool = True
    keep_frames: bool = False


def read_material(labelled: LabelledFile, wanted: Wanted, progress: Progress) -> AlignedSet:
    """Read labels, actions and, where wanted, frames.

    Raises:
        DatasetError: no episode has actions, or none has a valid label; labels, actions and frames differ in length;
            actions are not finite numbers, or differ in dimension between episodes; or episodes were labelled with
            different bundles, steps or precisions, or are of several cameras, fused: a server decodes those of one.

    """
    labels = {name: labelled.labels(name) for name in labelled.episodes}
    attrs = _same_for_all(labelled, {name: attrs for name, (_, attrs) in labels.items()})
    fused = next((of.fused_cameras for of in attrs.values() if of.fused_cameras), None)
    if fused is not None:
        raise DatasetError(f"{labelled.path}: got labels fused of {', '.join(fused)}, expected labels of one camera")
    where, sources = _sources(labelled, attrs, wanted)
    episodes: list[AlignedEpisode] = []
    for done, (name, (label, label_attrs)) in enumerate(labels.items()):
        progress("reading labels and actions", done, len(labels))
        action_TA = (
            _actions(sources[name], len(label), where, wanted.reduce, label_attrs.step) if sources[name] else None
        )
        if action_TA is not None and label.valid.any():
            _check_width(where, name, action_TA, episodes)
            episodes.append(_episode(labelled, name, label, action_TA, sources[name], wanted))
    if not episodes:
        raise DatasetError(f"{labelled.path}: no episode with both actions and a valid label; {where} has the actions")
    found = {episode.name for episode in episodes}
    names = _action_names(where, episodes[0].action_TA.shape[1])
    without = tuple(name for name in labelled.episodes if name not in found)
    return AlignedSet(
        labelled,
        where,
        names,
        wanted.reduce,
        attrs[episodes[0].name],
        episodes,
        without,
    )


def reduce_actions(action_TA: Array, step: int, reduce: Reduce) -> Array:
    """Reduce actions to one per transition x_t -> x_{t+step}: (T, A) -> (max(0, T - step), A)."""
    count = max(0, len(action_TA) - step)
    if reduce == "first":
        return action_TA[:count]
    if reduce == "last":
        return action_TA[step - 1 : step - 1 + count]
    if reduce == "change":
        return action_TA[step : step + count] - action_TA[:count]
    mean_TA: Array = np.mean([action_TA[j : j + count] for j in range(step)], axis=0)
    return mean_TA


def _same_for_all(labelled: LabelledFile, attrs: Mapping[str, Provenance]) -> Mapping[str, Provenance]:
    """Check that all labels were made with one bundle, step and precision, and return their provenance."""
    if not attrs:
        raise DatasetError(f"{labelled.path}: no episode carries labels")
    for name, of in attrs.items():
        if of.bundle_id != labelled.model.bundle_id:
            raise DatasetError(
                f"{labelled.path}: {name}: bundle: got {of.bundle_id[:12]}, expected the file's, "
                f"{labelled.model.bundle_id[:12]}: label it again with one bundle"
            )
    steps = sorted({of.step for of in attrs.values()})
    if len(steps) > 1:
        raise DatasetError(
            f"{labelled.path}: step: got {', '.join(map(str, steps))} frames, expected one length: "
            "actions over different times cannot be compared"
        )
    precisions = sorted({of.precision for of in attrs.values()})
    if len(precisions) > 1:
        got = " and ".join(precisions)
        raise DatasetError(f"{labelled.path}: precision: got {got}, expected one: label it again")
    return attrs


def _sources(
    labelled: LabelledFile, attrs: Mapping[str, Provenance], wanted: Wanted
) -> tuple[SourcePath, Mapping[str, Episode | None]]:
    """Find the actions: the path they are read from and, by labelled name, the episode with them (None if none has).

    Raises DatasetError if there are no actions, or no episode has the name of a labelled one.
    """
    if wanted.actions_from is None:
        own = {name: labelled.episode(name) for name in labelled.episodes}
        if _have_actions(own):
            return labelled.path, own
        return _originals(labelled, attrs, wanted.camera)
    path = wanted.actions_from
    dataset = _open(path, wanted.camera, next(iter(attrs.values())).camera)
    there = {episode.name: episode for episode in dataset.episodes}
    # An episode has the name that it had when it was labelled, of which a folder's file keeps only the end.
    namings: tuple[Callable[[str], str], ...] = (
        lambda name: attrs[name].source_name,
        lambda name: attrs[name].source_name.rpartition("/")[2],
        lambda name: name,
    )
    for naming in namings:
        matched = {name: there.get(naming(name)) for name in labelled.episodes}
        if any(matched.values()):
            break
    else:
        raise DatasetError(
            f"{path}: episode names do not match those of {labelled.path}: got {', '.join(list(there)[:3])}, ..., "
            f"expected {', '.join(of.source_name for of in list(attrs.values())[:3])}, ..."
        )
    if not _have_actions(matched):
        raise DatasetError(f"{path}: got no actions, expected a dataset with the robot's actions: see --actions-from")
    return path, matched


def _originals(
    labelled: LabelledFile, attrs: Mapping[str, Provenance], camera: str | None
) -> tuple[SourcePath, Mapping[str, Episode | None]]:
    """As `_sources`, from the labelled source; None for episodes that no longer exist. `camera` overrides theirs."""
    originals, found, why = Originals(), dict[str, Episode | None](), "it has none"
    for name, of in attrs.items():
        seen = of if camera is None else of.model_copy(update={"camera": camera})
        try:
            found[name] = originals.episode(seen, name)
        except DatasetError as error:
            found[name], why = None, str(error)
    places = {originals.around(of.source): None for of in attrs.values()}  # in order
    where = next(iter(places))
    if not _have_actions(found):
        raise DatasetError(
            f"{labelled.path}: got no actions, expected some in it or in its source {where} ({why}): "
            "name a dataset that has them with --actions-from"
        )
    return where if len(places) == 1 else where.parent, found


def _have_actions(episodes: Mapping[str, Episode | None]) -> bool:
    return any(episode is not None and episode.actions is not None for episode in episodes.values())


def _open(path: SourcePath, camera: str | None, labelled_camera: str) -> Dataset:
    """Open the dataset with the camera asked for, else the labelled one, else its only one."""
    if camera is not None:
        return open_dataset(path, camera=camera)
    try:
        return open_dataset(path, camera=labelled_camera)
    except DatasetError:
        return open_dataset(path)


def _actions(episode: Episode | None, frames: int, where: SourcePath, reduce: Reduce, step: int) -> Array | None:
    """Return the action over each transition of an episode with `frames` labels; None if the file has none for it."""
    raw = None if episode is None else episode.actions
    if episode is None or raw is None:
        return None
    if raw.dtype.kind not in "fiub" or raw.ndim not in (1, 2):
        raise DatasetError(
            f"{where}: actions of {episode.name}: got {raw.dtype} of shape {raw.shape}, expected numbers, (T, A)"
        )
    if len(raw) != frames:
        raise DatasetError(
            f"{where}: actions of {episode.name}: got {len(raw)}, expected {frames}, one for each labelled frame"
        )
    action_TA = raw.astype(np.float64).reshape(len(raw), -1)
    if len(action_TA) > 1 and episode.lacks_last_action:
        action_TA[-1] = action_TA[-2]  # no transition begins there
    wrong = np.argwhere(~np.isfinite(action_TA))
    if len(wrong):
        t, a = wrong[0]
        raise DatasetError(
            f"{where}: actions of {episode.name}: got {len(wrong)} numbers that are not finite, the first "
            f"({action_TA[t, a]}) in frame {t}, component {a}: expected finite numbers"
        )
    return reduce_actions(action_TA, step, reduce)


def _check_width(where: SourcePath, name: str, action_TA: Array, before: Sequence[AlignedEpisode]) -> None:
    if before and before[0].action_TA.shape[1] != action_TA.shape[1]:
        raise DatasetError(
            f"{where}: actions of {name}: got {action_TA.shape[1]} numbers, "
            f"expected {before[0].action_TA.shape[1]}, as in {before[0].name}"
        )


def _episode(
    labelled: LabelledFile, name: str, labels: Labels, action_TA: Array, source: Episode | None, wanted: Wanted
) -> AlignedEpisode:
    frame_S = np.flatnonzero(labels.valid).astype(np.int64)
    if frame_S[-1] >= len(action_TA):
        raise DatasetError(
            f"{labelled.path}: {name}: got a valid transition at frame {frame_S[-1]}, "
            f"expected none that ends after the last of {len(labels)} frames"
        )
    thumbnail_TF, frames_THWC = None, None
    if wanted.observations or wanted.keep_frames:
        # Prefer the file's own frames: they are those of the labelled camera.
        seen = labelled.episode(name) or source
        assert seen is not None
        if seen.num_frames != len(labels):
            raise DatasetError(
                f"{seen.source}: {seen.name}: got {seen.num_frames} frames, expected {len(labels)}, one for each label"
            )
        thumbnail_TF, frames_THWC = _look(seen, wanted)
    return AlignedEpisode(
        name,
        frame_S,
        labels.code[frame_S].astype(np.int64),
        labels.latent[frame_S].astype(np.float64),
        action_TA,
        thumbnail_TF,
        frames_THWC,
    )


def _look(episode: Episode, wanted: Wanted) -> tuple[Array | None, Frames | None]:
    """Return the thumbnails of all frames, and the frames themselves, where wanted."""
    small, kept = [], []
    for chunk_THWC in episode.chunks(_CHUNK):
        frames_THWC = resize_frames(chunk_THWC, wanted.height, wanted.width)
        if wanted.observations:
            small.append(thumbnails(frames_THWC, wanted.height, wanted.width))
        if wanted.keep_frames:
            kept.append(frames_THWC)
    return (np.concatenate(small) if small else None), (np.concatenate(kept) if kept else None)


def _action_names(where: SourcePath, width: int) -> tuple[str, ...]:
    """Return the names of an action's components, as LeRobot has them; ``action[0]``, ``action[1]`` ... if none."""
    if is_lerobot(where):
        feature = read_lerobot_meta(where).info.features.get("action")
        names = tuple(_flatten(feature.names)) if feature is not None else ()
        if len(names) == width and len(set(names)) == width:
            return names
    return tuple(f"action[{a}]" for a in range(width))


def _flatten(names: object) -> list[str]:
    """Extract names from the lists and dictionaries that datasets wrap them in."""
    if isinstance(names, str):
        return [names]
    if isinstance(names, Mapping):
        names = list(names.values())
    return [name for part in names for name in _flatten(part)] if isinstance(names, Sequence) else []


__all__ = ["AlignedEpisode", "AlignedSet", "Reduce", "Wanted", "read_material", "reduce_actions"]
