"""``genie label --in-place`` on a LeRobot dataset: labels go to a file beside it, and when whole into the data."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING

from genie_core.errors import GenieError

if TYPE_CHECKING:
    from genie_core.data import Dataset, SourcePath


def restore_folder(data: SourcePath) -> None:
    """Bring back a folder that a killed run had moved aside to replace it."""
    from genie_core.data.storage.atomic import clear_leftovers

    if isinstance(data, Path) and not data.exists() and data.parent.is_dir():
        clear_leftovers(data.parent)


def labels_of(dataset: Dataset) -> Path:
    """Return the file in which the labels wait until all are made."""
    from genie_core.data.export.in_place import labels_beside

    return labels_beside(_folder(dataset))


def is_finished(dataset: Dataset, overwrite: bool) -> bool:
    """Return whether a run that was killed had added the labels, and had only their file to remove, which is done now.

    Raises:
        GenieError: the dataset carries other labels, which are not to be replaced.

    """
    from genie_core.data.export.in_place import carries_feature, is_added

    folder, labels = _folder(dataset), labels_of(dataset)
    if is_added(labels, folder):
        labels.unlink()
        return True
    if carries_feature(folder) and not overwrite:
        raise GenieError(f"{folder}: carries labels already; --overwrite replaces them")
    return False


def add_to(dataset: Dataset, labels: Path) -> Path:
    """Add the labels of the file `labels` to the dataset, remove the file, and return the dataset's folder."""
    from genie_core.data.export.in_place import add_labels

    folder = add_labels(labels, _folder(dataset))
    labels.unlink()
    return folder


def _folder(dataset: Dataset) -> Path:
    assert isinstance(dataset.path, Path)  # --in-place refuses URLs
    return dataset.path


__all__ = ["add_to", "is_finished", "labels_of", "restore_folder"]
