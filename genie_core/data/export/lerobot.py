"""Labels as features of a LeRobot dataset: names, types, and what its info says of them."""

from __future__ import annotations

from typing import Any

import numpy as np
from numpy.typing import NDArray

from genie_core.data.export.features import (
    DECODED_FEATURE,
    FINE_FEATURE,
    REASON_FEATURE,
    VIEW_FIELDS,
    WIDE_FEATURE,
    view_feature,
)
from genie_core.data.export.provenance import LabelledSet
from genie_core.data.formats.lerobot.writer import PROVENANCE, Column
from genie_core.data.labelled.labels import Labels


def label_columns(provenance: LabelledSet) -> dict[str, Column]:
    """Return the features of labels in LeRobot."""
    decoded = provenance.action_names
    return {
        "latent_action": Column("int64", 1, ("code",)),
        "latent_action.latent": Column("float32", provenance.model.codebook.shape[1]),
        "latent_action.confidence": Column("float32", 1),
        "latent_action.valid": Column("bool", 1),
        **({REASON_FEATURE: Column("int64", 1)} if provenance.leaves_out else {}),
        **({} if provenance.model.fine_codebook is None else {FINE_FEATURE: Column("int64", 1, ("code",))}),
        **({} if provenance.feature_dim is None else {WIDE_FEATURE: Column("float32", provenance.feature_dim)}),
        **({} if decoded is None else {DECODED_FEATURE: Column("float32", len(decoded), decoded)}),
        **{
            view_feature(name, field): Column(dtype, provenance.model.codebook.shape[1] if field == "latent" else 1)
            for name in provenance.view_names.values()
            for field, dtype in VIEW_FIELDS.items()
        },
    }


def label_values(labels: Labels, provenance: LabelledSet) -> dict[str, NDArray[Any]]:
    """Return the labels of an episode of a set by the names of their features, (T,) or (T, D)."""
    values: dict[str, NDArray[Any]] = {
        "latent_action": labels.code,
        "latent_action.latent": labels.latent,
        "latent_action.confidence": labels.confidence,
        "latent_action.valid": labels.valid,
    }
    if provenance.leaves_out:
        values[REASON_FEATURE] = np.zeros(len(labels), np.uint8) if labels.reason is None else labels.reason
    if labels.action is not None:
        values[DECODED_FEATURE] = labels.action
    if labels.fine_code is not None:
        values[FINE_FEATURE] = labels.fine_code
    if labels.feature is not None:
        values[WIDE_FEATURE] = labels.feature
    for camera, name in provenance.view_names.items():
        for field in VIEW_FIELDS:
            values[view_feature(name, field)] = getattr((labels.views or {})[camera], field)
    return values


def labels_summary(provenance: LabelledSet) -> dict[str, Any]:
    """Return the entry of ``info.json`` about the labels; LeRobot ignores keys that it does not know."""
    model = provenance.model
    return {
        "bundle_id": model.bundle_id,
        "bundle_name": model.bundle_name,
        "model_fps": model.model_fps,
        "codes": len(model.codebook),
        **({} if model.fine_codebook is None else {"fine_codes": len(model.fine_codebook)}),
        "created": provenance.created,
        "tool_version": provenance.tool_version,
        "provenance": PROVENANCE,
    }


__all__ = ["label_columns", "label_values", "labels_summary"]
