"""Resolves `LabelOptions` against a model, and packs labels into messages."""

from __future__ import annotations

import math
from collections.abc import Iterator
from dataclasses import dataclass

import numpy as np

from genie_api.v1 import labelling_pb2
from genie_core.data.frames.timing import resolve_step
from genie_core.data.labelled.labels import Density, Labels
from genie_core.errors import RequestError
from genie_core.inference import BLOCK, part_length
from genie_core.models.config import ModelConfig
from genie_service.alignments import LoadedAlignment
from genie_service.loaded_model import LoadedModel
from genie_service.servicers.alignment_messages import alignment_message
from genie_service.servicers.names import resource_name

MAX_STEP = 1024
"""Longest transition in the contract, frames."""

_MESSAGE_BYTES = 1024 * 1024

_DENSITIES: dict[int, Density] = {
    labelling_pb2.LABEL_DENSITY_UNSPECIFIED: "dense",
    labelling_pb2.LABEL_DENSITY_DENSE: "dense",
    labelling_pb2.LABEL_DENSITY_STRIDED: "strided",
}
_DENSITY_MESSAGES: dict[Density, labelling_pb2.LabelDensity.ValueType] = {
    "dense": labelling_pb2.LABEL_DENSITY_DENSE,
    "strided": labelling_pb2.LABEL_DENSITY_STRIDED,
}


@dataclass(frozen=True)
class LabelRun:
    """How to label an episode: transition length in frames, the resulting rate for the model, which transitions, and
    whether with features.
    """

    step: int
    effective_fps: float | None
    density: Density
    part: int
    """Frames of what is encoded: the step, or a part of it whose labels are summed."""
    feature: bool = False

    def first_pieces(self, frames: int | None = None) -> int:
        """Return the pieces of work in the first frames, or in all of an episode whose number of frames is known."""
        phases = self.part if self.density == "dense" else 1
        if frames is None:
            return phases
        return min(phases, frames) * self.rounds(frames)

    def rounds(self, frames: int) -> int:
        """Return the number of consecutive pieces of one phase in an episode of `frames` frames."""
        return -(-frames // (BLOCK * self.part))


def plan_labels(options: labelling_pb2.LabelOptions, model: ModelConfig, field: str) -> LabelRun:
    """Resolve options sent as `field` for a model of this configuration. Raises RequestError."""
    if options.density not in _DENSITIES:
        raise RequestError(f"{field}.density", f"got {options.density}, expected LABEL_DENSITY_DENSE or _STRIDED")
    if options.step > MAX_STEP:
        raise RequestError(f"{field}.step", f"got {options.step}, expected 1 to {MAX_STEP} frames, or 0 to go by fps")
    fps = _checked_fps(options, field)
    resolved = resolve_step(fps, model.fps, options.step or None)
    if resolved.step > MAX_STEP:
        came = f"{options.fps:g} frames a second is {resolved.step} frames a step of this model"
        raise RequestError(f"{field}.fps", f"{came} ({model.fps:g} frames a second), expected at most {MAX_STEP}")
    part = part_length(model.lam, resolved.step)
    return LabelRun(resolved.step, resolved.effective_fps, _DENSITIES[options.density], part, options.feature)


def check_feature(plan: LabelRun, model: LoadedModel, field: str) -> None:
    """Raise RequestError if features are wanted of a model that gives none."""
    if plan.feature and model.labeller.feature_dim is None:
        raise RequestError(f"{field}.feature", f"model {model.name} gives none: it does not read motion")


def _checked_fps(options: labelling_pb2.LabelOptions, field: str) -> float | None:
    if not (math.isfinite(options.fps) and options.fps >= 0):
        raise RequestError(f"{field}.fps", f"got {options.fps:g}, expected a number of frames a second above 0")
    if not options.fps and not options.step:
        raise RequestError(f"{field}.fps", "got neither fps nor step, expected the episode's frame rate or a step")
    return options.fps or None


def provenance_message(
    model: LoadedModel, plan: LabelRun, aligned: LoadedAlignment | None
) -> labelling_pb2.LabelProvenance:
    """Return the provenance of labels made with `plan` by `model`, and of their actions decoded by `aligned`."""
    quantizer = model.bundle.config.lam.quantizer
    return labelling_pb2.LabelProvenance(
        model=resource_name(model.name),
        bundle_id=model.bundle.bundle_id,
        model_fps=model.bundle.config.fps,
        step=plan.step,
        effective_fps=plan.effective_fps or 0.0,
        latent_dim=quantizer.dim,
        num_codes=quantizer.codes,
        density=_DENSITY_MESSAGES[plan.density],
        **model.bundle.computation.said(),
        num_fine_codes=model.bundle.config.lam.fine_codes,
        feature_dim=(model.labeller.feature_dim or 0) if plan.feature else 0,
        alignment=None
        if aligned is None
        else alignment_message(aligned.name, aligned.alignment_id, aligned.alignment.info),
    )


def labels_message(labels: Labels) -> labelling_pb2.Labels:
    """Return labels of consecutive frames as a message."""
    return labelling_pb2.Labels(
        start_index=labels.start,
        code=labels.code.tolist(),
        latent=labels.latent.astype("<f4", copy=False).tobytes(),
        confidence=labels.confidence.tolist(),
        valid=labels.valid.tolist(),
        action=b"" if labels.action is None else labels.action.astype("<f4", copy=False).tobytes(),
        fine_code=[] if labels.fine_code is None else labels.fine_code.tolist(),
        feature=b"" if labels.feature is None else labels.feature.astype("<f4", copy=False).tobytes(),
    )


def label_messages(labels: Labels) -> Iterator[labelling_pb2.Labels]:
    """Yield labels as messages of at most about `_MESSAGE_BYTES`: features are wide."""
    widths = (array.shape[1] for array in (labels.latent, labels.action, labels.feature) if array is not None)
    at_once = max(1, _MESSAGE_BYTES // (4 * sum(widths)))
    for start in range(0, len(labels), at_once):
        yield labels_message(labels.part(start, start + at_once))


def count_transitions(labels: Labels) -> int:
    """Return the number of valid labels."""
    return int(np.count_nonzero(labels.valid))


__all__ = [
    "MAX_STEP",
    "LabelRun",
    "check_feature",
    "count_transitions",
    "label_messages",
    "labels_message",
    "plan_labels",
    "provenance_message",
]
