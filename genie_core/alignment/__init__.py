"""Alignment: decodes a bundle's latent actions into robot actions, learnt from a few transitions with known actions.

Serving: `load_alignment` reads one stored beside a bundle, `list_alignments` lists them, `Alignment.decode` returns
actions, `ActionStream` does so while labels are computed. Making alignments is in `fit`, behind `genie align`. What is
exported here imports no torch.
"""

from genie_core.alignment.alignment import Alignment, AlignmentInfo, HeldOut, How
from genie_core.alignment.store import (
    AlignmentEntry,
    alignment_path,
    list_alignments,
    load_alignment,
    read_alignment,
    read_alignment_info,
    save_alignment,
)
from genie_core.alignment.stream import ActionStream

__all__ = [
    "ActionStream",
    "Alignment",
    "AlignmentEntry",
    "AlignmentInfo",
    "HeldOut",
    "How",
    "alignment_path",
    "list_alignments",
    "load_alignment",
    "read_alignment",
    "read_alignment_info",
    "save_alignment",
]
