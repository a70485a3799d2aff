"""Transition lengths that an earlier run has found: a resumed run keeps them, whatever it would find now."""

from __future__ import annotations

from contextlib import suppress
from pathlib import Path

from genie_core.data.auto_step import AutoSteps
from genie_core.data.labelled.journal import journal_folder, read_manifest
from genie_core.data.labelled.output import Existing
from genie_core.data.labelled.reading import carries_labels, open_labelled
from genie_core.errors import DatasetError


def kept_steps(output: Path, bundle_id: str, existing: Existing) -> AutoSteps | None:
    """Return the steps found by the run whose episodes this one will go on from; None if there is none.

    Args:
        output: file that is written.
        bundle_id: of the model that labels now.
        existing: whether the output itself is resumed.

    """
    with suppress(DatasetError):
        manifest = read_manifest(journal_folder(output))
        if manifest is not None and manifest.bundle_id == bundle_id and manifest.auto_steps is not None:
            return AutoSteps.of(manifest.auto_steps)
    if existing != "resume" or not output.exists():
        return None
    with suppress(DatasetError):
        return _in_output(output, bundle_id)
    return None


def _in_output(output: Path, bundle_id: str) -> AutoSteps | None:
    if not carries_labels(output):
        return None
    labelled = open_labelled(output)
    every = [labelled.labels_attrs(name) for name in labelled.episodes]
    found = {attrs.fps: attrs.step for attrs in every if attrs.step_policy == "auto" and attrs.bundle_id == bundle_id}
    return AutoSteps.of(sorted(found.items(), key=lambda pair: pair[0] or 0.0)) if found else None


__all__ = ["kept_steps"]
