"""What bytes hold is counted before they are unpacked, and what is no message is left to the parser."""

from __future__ import annotations

import time

import pytest

from genie_api.v1 import frames_pb2, labelling_pb2, simulation_pb2
from genie_core.errors import RequestError
from genie_service.wire import check_counts

LIMITS = {
    "genie_api.v1.Frames.images": 4,
    "genie_api.v1.BranchRequest.branches": 3,
    "genie_api.v1.ActionSequence.codes": 8,
}
Clip = labelling_pb2.LabelClipRequest
Branch = simulation_pb2.BranchRequest


def _clip(images: int) -> bytes:
    return Clip(frames=frames_pb2.Frames(images=[b"x"] * images)).SerializeToString()


def _branches(*codes: int) -> bytes:
    sequences = [simulation_pb2.ActionSequence(codes=[300] * n) for n in codes]
    return Branch(branches=sequences).SerializeToString()


def test_what_is_within_the_limits_passes() -> None:
    check_counts(_clip(4), Clip.DESCRIPTOR, LIMITS)
    check_counts(_branches(4, 2, 2), Branch.DESCRIPTOR, LIMITS)
    check_counts(b"", Clip.DESCRIPTOR, {})


@pytest.mark.parametrize(
    ("data", "field", "descriptor"),
    [
        (_clip(5), "frames.images", Clip.DESCRIPTOR),
        (_branches(0, 0, 0, 0), "branches", Branch.DESCRIPTOR),
        (_branches(5, 4), "branches.codes", Branch.DESCRIPTOR),  # in all, packed
        (b"\x12\x04\x08\x01\x08\x01" * 5, "branches", Branch.DESCRIPTOR),
        (b"\x78\x01" * 2000, "request", Branch.DESCRIPTOR),  # a field that nobody knows
    ],
)
def test_too_much_is_refused_by_field(data: bytes, field: str, descriptor: object) -> None:
    with pytest.raises(RequestError, match=r"at most|each once") as caught:
        check_counts(data, descriptor, LIMITS)  # type: ignore[arg-type]
    assert caught.value.field == field


@pytest.mark.parametrize("data", [b"\xff", b"\x12\x7f", b"\x80" * 30, b"\x0b", b"\x12\xff\xff\xff\xff\x7f", b"\x09"])
def test_what_is_no_message_is_left_to_the_parser(data: bytes) -> None:
    check_counts(data, Branch.DESCRIPTOR, LIMITS)


def test_millions_of_elements_cost_no_more_than_those_allowed() -> None:
    data = b"\x12\x00" * 10_000_000
    began = time.thread_time()
    with pytest.raises(RequestError):
        check_counts(data, Branch.DESCRIPTOR, LIMITS)
    assert time.thread_time() - began < 0.5
