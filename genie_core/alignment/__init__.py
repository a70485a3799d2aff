"""From latent to real actions: what a robot did, read off a bundle's labels after a few transitions with known actions.

Serving: `load_alignment` reads one that lies beside a bundle, `list_alignments` says which there are,
`Alignment.decode` gives actions, `ActionStream` gives them while labels are made. Making alignments is `fit`'s work,
behind `genie align`. What is exported here imports no torch.
"""

from genie_core.alignment.alignment import Alignment, AlignmentInfo, HeldOut, How
from genie_core.alignment.store import (
    AlignmentEntry,
    alignment_path,
    list_alignments,
    load_alignment,
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
    "read_alignment_info",
    "save_alignment",
]
