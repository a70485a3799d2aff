"""Latents or robot actions of one's own to simulate with, from a file that may hold anything."""

from __future__ import annotations

import io
from pathlib import Path

import numpy as np
import pytest

from genie_client.prompt import Moment
from genie_client.records import HostedAlignment
from genie_client.replay import read_replay
from genie_client.robot_actions import read_robot_actions
from genie_core.errors import DatasetError


def header(shape: tuple[int, ...]) -> bytes:
    """The start of a NumPy file that claims an array of a shape."""
    file = io.BytesIO()
    np.lib.format.write_array_header_1_0(file, {"descr": "<f4", "fortran_order": False, "shape": shape})
    return file.getvalue()


def test_latents_are_read_up_to_the_length_asked_for(tmp_path: Path) -> None:
    np.save(tmp_path / "own.npy", np.arange(12).reshape(6, 2))
    found = read_replay(tmp_path / "own.npy", Moment(), 4)
    assert (found.latent_TD.dtype, found.latent_TD.tolist()) == (np.float32, [[0, 1], [2, 3], [4, 5], [6, 7]])


@pytest.mark.parametrize(
    ("data", "words"),
    [
        (header((2**40, 32)), r"got an array \(1099511627776, 32\) of float32"),
        (header((9,)) + bytes(36), r"got float32 of shape \(9,\), expected latents"),
        (b"", "not a NumPy file, or damaged"),
        (b"PK\x03\x04 of an archive", "not a NumPy file, or damaged"),
    ],
    ids=["claims terabytes", "one axis", "empty", "an archive"],
)
def test_what_is_no_array_of_latents_is_refused(tmp_path: Path, data: bytes, words: str) -> None:
    (tmp_path / "own.npy").write_bytes(data)
    with pytest.raises(DatasetError, match=rf"own\.npy: {words}"):
        read_replay(tmp_path / "own.npy", Moment())
    alignment = HostedAlignment("sq", "f" * 64, ("y", "x"), 1, reduce="mean", encodes=True)
    with pytest.raises(DatasetError, match=r"own\.npy: "):
        read_robot_actions(tmp_path / "own.npy", alignment, Moment())
