"""Meaning of each latent action: how the end effector moves under each code, if its positions are recorded.

Only for looking at results. Labels never use the positions: they are made from frames alone.
"""

from __future__ import annotations

import numpy as np

from genie_core.data import LabelledFile
from genie_core.data.code_motion import Motion

END_EFFECTOR = "obs/robot0_eef_pos"
"""Robomimic's array of the end effector's position, (T, 3) in metres."""


def code_motions(labelled: LabelledFile) -> list[Motion] | None:
    """Return a `Motion` per code over all episodes of the file; None if it lacks the end effector's position."""
    codes, moves = [], []
    for name in labelled.episodes:
        labels, attrs = labelled.labels(name)
        episode = labelled.episode(name)
        position_T3 = None if episode is None else episode.array(END_EFFECTOR)
        if position_T3 is None or position_T3.shape != (len(labels), 3):
            return None
        start = np.flatnonzero(labels.valid)
        codes.append(labels.code[start])
        moves.append(position_T3[start + attrs.step] - position_T3[start])
    if not codes:
        return None
    all_codes, all_moves = np.concatenate(codes), np.concatenate(moves)
    return [Motion.of(all_moves[all_codes == code]) for code in range(len(labelled.model.codebook))]


__all__ = ["END_EFFECTOR", "Motion", "code_motions"]
