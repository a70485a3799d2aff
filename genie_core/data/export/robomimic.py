"""Writes any labelled set as one self-contained HDF5 file in robomimic's layout.

Here labels, frames and the rest are copied from an existing set; `labelled.assembly` makes files of fresh labels.
"""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path, PurePosixPath
from typing import Any

import h5py
import numpy as np
from numpy.typing import NDArray

from genie_core.data.export.provenance import LabelledEpisode, LabelledSet
from genie_core.data.formats.robomimic.reader import LABEL_GROUP, require_link
from genie_core.data.frames.resize import Frames
from genie_core.data.labelled.file_provenance import FileProvenance
from genie_core.data.labelled.labels import Labels
from genie_core.data.labelled.provenance import FramesMode
from genie_core.data.labelled.robomimic_file import complete_file, create_frames
from genie_core.data.labelled.schema import write_labels
from genie_core.data.storage.hdf5 import AtomicFile, read_hdf5, write_hdf5


class RobomimicWriter:
    """Appends episodes to a labelled file; made by `write_robomimic`."""

    def __init__(self, output: AtomicFile, provenance: LabelledSet, original: Path | None) -> None:
        self._output, self._provenance, self._original = output, provenance, original

    def add(
        self, episode: LabelledEpisode, labels: Labels, arrays: dict[str, NDArray[Any]], *, with_frames: bool
    ) -> None:
        """Write an episode's labels and, if they came from an HDF5 file, everything else in its demo.

        Args:
            episode: the episode to write.
            labels: labels of all its frames.
            arrays: arrays to store beside them unless the demo has them: ``actions``, ``obs/robot0_eef_pos``.
            with_frames: whether to copy the frames of the labelled camera with the demo; if not, `add_frames` can write
                them.

        """
        with self._output.writing() as file:
            demo = file.create_group(f"data/{episode.name}")
            if self._original is not None:
                _copy_demo(self._original, episode.name, demo, None if with_frames else episode.attrs.camera)
            attrs = episode.attrs
            if not with_frames:  # `add_frames` is given pictures that reading has put right already
                attrs = attrs.model_copy(update={"colour": None, "upside_down": None, "rotate": None})
            write_labels(demo, labels, attrs)
            for key, values in arrays.items():
                if key in demo and len(demo[key]) < episode.num_frames:  # one less: robomimic wants one for each frame
                    del demo[key]
                if key not in demo:
                    demo[key] = values
            demo.attrs["num_samples"] = np.int64(episode.num_frames)
            if episode.attrs.fps is not None:
                demo.attrs.setdefault("fps", episode.attrs.fps)

    def add_frames(self, episode: LabelledEpisode, chunks: Iterator[Frames]) -> None:
        """Write the frames of an episode that was added without them."""
        key = f"data/{episode.name}/obs/{episode.attrs.camera}"
        start = 0
        for frames_THWC in chunks:
            with self._output.writing() as file:
                frames = file[key] if start else create_frames(file, key, frames_THWC.shape[1:3])
                frames.resize(start + len(frames_THWC), axis=0)
                frames[start:] = frames_THWC
            start += len(frames_THWC)

    def finish(self, frames: FramesMode, request: str) -> None:
        """Write what is said once a file: the model, the environment, the filter keys, and what was asked for."""
        provenance = self._provenance
        attrs = FileProvenance.of(provenance.model, frames, provenance.created, provenance.tool_version)
        attrs = attrs.model_copy(update={"export_request": request})
        with self._output.writing() as file:
            complete_file(file, provenance.model, attrs, provenance.masks, self._original)


@contextmanager
def write_robomimic(path: Path, provenance: LabelledSet, original: Path | None) -> Iterator[RobomimicWriter]:
    """Write `path` whole or not at all; the block must add every episode of `provenance` and call `finish`.

    Args:
        path: file to write.
        provenance: the set's provenance.
        original: labelled HDF5 file from which to copy everything else in the demos; None if there is none.

    Raises:
        DatasetError: the disk is full or not writable; `path` does not exist then.

    """
    with write_hdf5(path, replace=False) as output:
        yield RobomimicWriter(output, provenance, original)


def _copy_demo(path: Path, name: str, demo: h5py.Group, without: str | None) -> None:
    """Copy a demo, if the file has it, also what lies behind links, but not its labels and one camera's frames."""
    with read_hdf5(path) as file:
        source = file.get(f"data/{name}")
        if not isinstance(source, h5py.Group):
            return
        for key, value in source.attrs.items():
            demo.attrs[key] = value
        for key in source:
            require_link(source, key, f"{path}: {name}")
            if key == "obs":
                _copy_all(source[key], demo.require_group(key), PurePosixPath(without).parts if without else ())
            elif key != LABEL_GROUP:
                file.copy(source[key], demo, name=key, expand_external=True)


def _copy_all(source: h5py.Group, output: h5py.Group, without: tuple[str, ...]) -> None:
    """Copy what a group holds, but what lies at the path `without` in it; a camera's name may be one (RLDS)."""
    for key in source:
        if without[:1] != (key,):
            source.copy(source[key], output, name=key, expand_external=True)
        elif without[1:]:
            _copy_all(source[key], output.require_group(key), without[1:])


__all__ = ["RobomimicWriter", "write_robomimic"]
