"""Chooses the model that simulates a labelled file's codes: the one that made them, as another's mean other motions."""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING

from genie_core.bundles import shipped
from genie_core.errors import GenieError, ModelError

if TYPE_CHECKING:
    from genie_client.records import ModelInfo


@dataclass(frozen=True)
class LabelledBy:
    """The bundle that made the labels of `path`, or whose labels an alignment there decodes."""

    path: Path
    name: str
    bundle_id: str

    @property
    def shipped(self) -> str | None:
        """Name of the bundle, if one of that name ships with Genie."""
        try:
            return shipped(self.name).name
        except ModelError:
            return None


def model_of(path: Path | None) -> LabelledBy | None:
    """Return the bundle that labelled a file or folder; None if it has no labels."""
    from genie_client.replay import labelled_with

    made = None if path is None else labelled_with(path)
    return None if path is None or made is None else LabelledBy(path, *made)


def check_model(made: LabelledBy, info: ModelInfo) -> None:
    """Raise GenieError if a model is not the one that made the labels."""
    if made.bundle_id != info.bundle_id:
        raise GenieError(
            f"--model: got {info.name} ({info.bundle_id[:12]}), expected the bundle that labelled {made.path}, "
            f"{made.name} ({made.bundle_id[:12]}): codes and latents of another mean other motions. Name it with "
            "--model, or host it with --models"
        )


__all__ = ["LabelledBy", "check_model", "model_of"]
