"""Reads the robot's own actions to simulate with: an array, a table, or the actions of an episode."""

from __future__ import annotations

import csv
from pathlib import Path

import numpy as np
from numpy.typing import NDArray

from genie_client.prompt import Moment
from genie_client.records import HostedAlignment, ModelInfo
from genie_core.data import Episode, open_dataset
from genie_core.data.storage.npy import read_npy
from genie_core.errors import DatasetError, ModelError

_MOST_BYTES = 256 * 1024 * 1024


def encoding_alignment(info: ModelInfo, name: str | None) -> HostedAlignment:
    """Return the model's alignment of that name; None: its only one that encodes robot actions.

    Raises ModelError, naming those there are.
    """
    able = [of for of in info.alignments if of.encodes and not of.problem]
    if name is not None:
        able = [of for of in able if of.name == name]
    if len(able) != 1:
        there = ", ".join(of.name + ("" if of.encodes else " (decodes only)") for of in info.alignments) or "none"
        raise ModelError(
            f"alignment: got {name or 'none'}, expected the name of one of {info.name}'s that encodes robot actions "
            f"(`genie align` makes them); it has {there}"
        )
    return able[0]


def read_robot_actions(
    path: Path, alignment: HostedAlignment, moment: Moment, most: int | None = None
) -> NDArray[np.float32]:
    """Read actions (T, A), one a simulated frame.

    A ``.npy`` or ``.csv`` file has one row a simulated frame, as they are. Of a dataset (HDF5, LeRobot ...) the actions
    of the moment's episode are read from its frame on, and each transition's made one as the alignment says.

    Args:
        path: the file, or a dataset.
        alignment: says how many numbers an action has, and how those of a transition became one.
        moment: episode and frame; neither matters for an array or a table.
        most: largest number of actions to read; None: all.

    Raises:
        DatasetError: `path` cannot be read, or holds something else.

    """
    suffix = path.suffix.lower()
    if suffix == ".npy":
        found = _read_array(path)
    elif suffix == ".csv":
        found = _read_table(path)
    else:
        found = _of_episode(path, alignment, moment)
    numbers = len(alignment.action_names)
    if found.ndim != 2 or not len(found) or found.shape[1] != numbers or not np.isfinite(found).all():
        raise DatasetError(
            f"{path}: got robot actions of shape {found.shape}"
            f"{'' if np.isfinite(found).all() else ', some not finite'}, expected finite numbers of shape (frames, "
            f"{numbers}): {', '.join(alignment.action_names)}"
        )
    return found[:most].astype(np.float32)


def _read_array(path: Path) -> NDArray[np.float64]:
    held = read_npy(path)
    if held.dtype.kind not in "fiu" or held.nbytes > _MOST_BYTES:
        raise DatasetError(f"{path} cannot be read: it holds no array of numbers, or too large a one")
    return np.asarray(held, np.float64)


def _read_table(path: Path) -> NDArray[np.float64]:
    """Return the rows of numbers; a first row of names is left out."""
    try:
        if path.stat().st_size > _MOST_BYTES:
            raise DatasetError(f"{path}: got {path.stat().st_size:,} bytes, expected {_MOST_BYTES:,} at most")
        with path.open(newline="", encoding="utf-8-sig") as file:
            rows = [row for row in csv.reader(file) if row]
    except (OSError, UnicodeDecodeError, csv.Error) as error:
        raise DatasetError(f"{path} cannot be read: {error}") from error
    if rows and not _is_number(rows[0][0]):
        rows = rows[1:]
    try:
        return np.array([[float(cell) for cell in row] for row in rows], np.float64)
    except ValueError as error:
        raise DatasetError(f"{path}: expected a row of as many numbers for each simulated frame: {error}") from error


def _is_number(cell: str) -> bool:
    try:
        float(cell)
    except ValueError:
        return False
    return True


def _of_episode(path: Path, alignment: HostedAlignment, moment: Moment) -> NDArray[np.float64]:
    dataset = open_dataset(path, camera=moment.camera)
    found = [episode for episode in dataset.episodes if moment.episode in (None, episode.name)]
    if not found:
        raise DatasetError(f"{path}: no episode `{moment.episode}`; there are {len(dataset.episodes)}")
    raw = found[0].actions
    if raw is None:
        raise DatasetError(f"{path}: {found[0].name} has no actions")
    return _reduced(_numbers(path, found[0], raw)[moment.frame :], alignment)


def _numbers(path: Path, episode: Episode, raw: NDArray[np.generic]) -> NDArray[np.float64]:
    if raw.dtype.kind not in "fiub" or raw.ndim not in (1, 2):
        raise DatasetError(f"{path}: {episode.name}: got actions of {raw.dtype} and shape {raw.shape}, expected (T, A)")
    action_TA = raw.astype(np.float64).reshape(len(raw), -1)
    return action_TA[:-1] if episode.lacks_last_action else action_TA


def _reduced(action_TA: NDArray[np.float64], alignment: HostedAlignment) -> NDArray[np.float64]:
    """Return the actions of whole transitions, one after the other, each made one."""
    step = alignment.step
    if alignment.reduce == "change":
        return np.diff(action_TA[::step], axis=0)
    whole = len(action_TA) // step
    spans_SKA = action_TA[: whole * step].reshape(whole, step, -1)
    if alignment.reduce == "first":
        return spans_SKA[:, 0]
    if alignment.reduce == "last":
        return spans_SKA[:, -1]
    mean_SA: NDArray[np.float64] = spans_SKA.mean(axis=1)
    return mean_SA


__all__ = ["encoding_alignment", "read_robot_actions"]
