"""One episode being written: its labels, and optionally its frames, checked as they arrive."""

from __future__ import annotations

import hashlib

import numpy as np

from genie_core.data.episode import Episode
from genie_core.data.frames.resize import Frames, conform_frames
from genie_core.data.labelled.labels import Labels
from genie_core.data.labelled.provenance import Computation, LabelAlignment, LabelModel
from genie_core.data.labelled.robomimic_file import create_frames
from genie_core.data.storage.hdf5 import AtomicFile
from genie_core.errors import DatasetError


class EpisodePart:
    """Receives one episode's labels and frames in order, in pieces of any length; made by `LabelWriter.episode`."""

    def __init__(
        self,
        output: AtomicFile,
        episode: Episode,
        model: LabelModel,
        alignment: LabelAlignment | None,
        *,
        feature_dim: int | None = None,
        keep_frames: bool,
    ) -> None:
        """Write frames to ``obs/<camera>`` of `output` if `keep_frames`; otherwise none are accepted.

        Labels must have actions if there is an `alignment`, and none otherwise; features so if there is a
        `feature_dim`, and fine codes if the model has a second level.
        """
        self._output = output
        self._episode = episode
        self._model = model
        self._latent_dim = model.codebook.shape[1]
        self._computation = model.computation
        self._action_dim = None if alignment is None else len(alignment.action_names)
        self._feature_dim = feature_dim
        self._keep_frames = keep_frames
        self._size: tuple[int, ...] | None = None
        self._kept = 0
        self._digest = hashlib.sha256()
        self._labels: list[Labels] = []

    def add_labels(self, labels: Labels) -> None:
        """Add the labels of the next frames.

        Raises:
            DatasetError: they do not start where the previous ones ended, do not match the codebook, or lack actions.

        """
        expected = sum(len(part) for part in self._labels)
        if labels.start != expected:
            raise DatasetError(f"{self._episode.name}: got labels from frame {labels.start}, expected {expected}")
        latent_dim, highest, codes = labels.latent.shape[1], labels.code.max(initial=0), len(self._model.codebook)
        if latent_dim != self._latent_dim or highest >= codes:
            raise DatasetError(
                f"{self._episode.name}: got latents of {latent_dim} and codes up to {highest}, "
                f"expected {self._latent_dim} and at most {codes - 1}"
            )
        action_dim = None if labels.action is None else labels.action.shape[1]
        if action_dim != self._action_dim:
            raise DatasetError(
                f"{self._episode.name}: got labels with {_actions(action_dim)}, expected {_actions(self._action_dim)}"
            )
        self._check_wide(labels)
        self._labels.append(labels)

    def _check_wide(self, labels: Labels) -> None:
        """Raise DatasetError unless fine codes and features are those that were asked for."""
        fine = self._model.fine_codebook
        if (labels.fine_code is None) != (fine is None):
            came = "no fine codes" if labels.fine_code is None else "fine codes"
            raise DatasetError(f"{self._episode.name}: got labels with {came}, unlike the model")
        if fine is not None and labels.fine_code is not None and labels.fine_code.max(initial=0) >= len(fine):
            raise DatasetError(
                f"{self._episode.name}: got fine codes up to {labels.fine_code.max()}, expected at most {len(fine) - 1}"
            )
        feature_dim = None if labels.feature is None else labels.feature.shape[1]
        if feature_dim != self._feature_dim:
            raise DatasetError(
                f"{self._episode.name}: got labels with features of {feature_dim}, expected {self._feature_dim}"
            )

    @property
    def computation(self) -> Computation:
        """How the networks computed these labels: as the model states, unless `computed_as` was called."""
        return self._computation

    def computed_as(self, computation: Computation) -> None:
        """Record how the networks computed these labels, if on another machine than the model states.

        Raises DatasetError if that changes the labels: another precision.
        """
        wanted = self._model.computation.precision
        if computation.precision != wanted:
            raise DatasetError(f"{self._episode.name}: got labels of {computation.precision}, expected {wanted}")
        self._computation = computation

    @property
    def keeps_frames(self) -> bool:
        """Whether frames are kept; otherwise `add_frames` has no effect."""
        return self._keep_frames

    def add_frames(self, frames_THWC: Frames) -> None:
        """Add the next frames, (n, H, W, 3) uint8 of the same size throughout the episode; ignored if not kept.

        Raises:
            DatasetError: their size differs from that of earlier frames, or the disk is full.
            RequestError: they are not (n, H, W, 3) uint8.

        """
        if not self._keep_frames:
            return
        frames_THWC = conform_frames(frames_THWC)
        size = frames_THWC.shape[1:3]
        if self._size not in (None, size):
            raise DatasetError(f"{self._episode.name}: got frames of {size}, expected {self._size}")
        self._size = size
        key = f"obs/{self._episode.camera}"
        with self._output.writing() as file:
            frames = file[key] if key in file else create_frames(file, key, size)
            frames.resize(self._kept + len(frames_THWC), axis=0)
            frames[self._kept :] = frames_THWC
        self._kept += len(frames_THWC)
        self._digest.update(np.ascontiguousarray(frames_THWC).tobytes())

    @property
    def frames_sha256(self) -> str | None:
        """`frames_digest` of the frames so far; None if none are kept."""
        return self._digest.hexdigest() if self._keep_frames else None

    def complete_labels(self) -> Labels:
        """Return the labels of the whole episode. Raises DatasetError if labels or frames are missing."""
        fine = self._model.fine_codebook is not None
        nothing = Labels.invalid(0, 0, self._latent_dim, fine=fine, feature_dim=self._feature_dim)
        labels = Labels.concatenate(self._labels or [nothing])
        wanted = self._episode.num_frames
        if len(labels) != wanted:
            raise DatasetError(
                f"{self._episode.name}: got {len(labels)} labels, expected one for each of {wanted} frames"
            )
        if self._keep_frames and self._kept != wanted:
            raise DatasetError(f"{self._episode.name}: got {self._kept} frames to keep, expected all {wanted}")
        return labels


def _actions(dim: int | None) -> str:
    return "no actions" if dim is None else f"actions of {dim} numbers"


__all__ = ["EpisodePart"]
