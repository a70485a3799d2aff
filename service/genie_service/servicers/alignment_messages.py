"""Message that describes an alignment."""

from __future__ import annotations

from genie_api.v1 import models_pb2
from genie_core.alignment import AlignmentInfo


def alignment_message(
    name: str, alignment_id: str, info: AlignmentInfo | None, problem: str = ""
) -> models_pb2.Alignment:
    """Return the message of an alignment; if `info` is None, only its name and the problem."""
    message = models_pb2.Alignment(name=name, problem=problem)
    if info is not None:
        message.alignment_id, message.step = alignment_id, info.step
        message.action_dim = len(info.actions)
        message.action_names.extend(info.actions)
        message.reduce = info.reduce
        message.encodes = bool(info.back_kernels)
        message.action_low.extend(info.back_low)
        message.action_high.extend(info.back_high)
    return message


__all__ = ["alignment_message"]
