"""A library's known defect is told from a find of ours: by what it took, where it hung, and by nothing else."""

from __future__ import annotations

import gzip
import signal
import struct
from dataclasses import replace
from pathlib import Path

import h5py
import numpy as np
import pytest

from genie_core.data.storage.hdf5 import read_hdf5
from tests.fuzz.heap import BEGINS, ENDS, variable_length_reads
from tests.fuzz.native import explain, explain_death
from tests.fuzz.target import Taken, Target, forget_peak
from tests.fuzz.targets import target_named
from tests.fuzz.trial import judge, try_input

pytestmark = pytest.mark.skipif(not Path("/proc/self/clear_refs").exists(), reason="memory is measured as Linux does")

FINDS = Path(__file__).parent / "finds"
MIB = 2**20


@pytest.fixture
def target() -> Target:
    return target_named("hdf5")


@pytest.mark.parametrize(
    ("seconds", "memory_mib", "taken", "kind"),
    [
        (1.0, 100, Taken("heap"), None),
        (9.0, 100, Taken("heap", seconds=8.5), "slow, known"),
        (9.0, 100, Taken("heap", seconds=6.5), "slow"),
        (1.0, 400, Taken("heap", memory_mib=390), "memory, known"),
        (1.0, 700, Taken("heap", memory_mib=390), "memory"),
        (9.0, 400, Taken("heap", seconds=8.5, memory_mib=10), "memory"),
    ],
)
def test_known_is_only_what_the_defect_took(
    target: Target, seconds: float, memory_mib: float, taken: Taken, kind: str | None
) -> None:
    found = judge(target, seconds, memory_mib, taken)
    assert (found.kind if found else None) == kind
    assert found is None or found.is_known == kind.endswith("known")  # type: ignore[union-attr]


def test_memory_of_ours_is_a_find_beside_a_library_that_is_measured(target: Target, tmp_path: Path) -> None:
    def read(data: bytes, folder: Path) -> None:
        bytearray(int(data) * MIB)

    ours = replace(target, read=read)
    forget_peak()
    for _ in range(2):  # the first does not hide the second
        found, cost = try_input(ours, b"300", tmp_path)
        assert found is not None
        assert (found.kind, found.is_known) == ("memory", False)
        assert cost.memory_mib > 256
    assert try_input(ours, b"100", tmp_path)[0] is None


def test_reads_of_numbers_are_never_the_defect_and_texts_that_are_there_neither(tmp_path: Path) -> None:
    path = tmp_path / "x.hdf5"
    with h5py.File(path, "w") as file:
        file["numbers"] = np.ones(32 * MIB, np.uint8)
        file["text"] = "x" * (32 * MIB)
    forget_peak()
    with variable_length_reads(False) as taken, h5py.File(path) as file:
        assert file["numbers"][()].sum() == 32 * MIB
        assert taken.memory_mib == taken.seconds == 0
        assert len(file["text"][()]) == 32 * MIB
    assert taken.memory_mib < 5 * 32  # copies on the way; what comes back is not counted


def test_a_length_that_libhdf5_believes_is_known(target: Target, tmp_path: Path) -> None:
    """A row of 1,235 bytes whose reference says 400 million, which are allocated before anything is compared."""
    path = tmp_path / "x.hdf5"
    with h5py.File(path, "w") as file:
        file.create_dataset("rows", (3,), h5py.vlen_dtype(np.uint8))[1] = np.ones(1235, np.uint8)
    data = bytearray(path.read_bytes())
    at = data.index(struct.pack("<I", 1235))
    data[at : at + 4] = struct.pack("<I", 400_000_000)

    def read(data: bytes, folder: Path) -> None:
        path.write_bytes(data)
        with read_hdf5(path) as file:
            file["rows"][()]

    forget_peak()  # of what other tests took
    found, cost = try_input(replace(target, read=read), bytes(data), tmp_path)
    assert found is not None
    assert (found.kind, found.is_known) == ("memory, known", True)
    assert cost.memory_mib < 64


def test_what_hangs_is_known_where_it_hangs_in_the_heap(tmp_path: Path) -> None:
    file = tmp_path / "native-x"
    file.write_bytes(gzip.decompress((FINDS / "hdf5" / "native-global-heap.gz").read_bytes()))
    said, is_known = explain("hdf5", file, endless_s=1)
    assert is_known
    assert said.endswith("endless")
    assert said.startswith("HDF5 2.0")


@pytest.mark.parametrize(
    ("code", "lines", "is_known"),
    [
        (-signal.SIGPROF, [BEGINS, ENDS, BEGINS], True),
        (-signal.SIGPROF, [BEGINS, ENDS], False),
        (-signal.SIGPROF, [], False),
        (-signal.SIGSEGV, [BEGINS, ENDS, BEGINS], True),
        (-signal.SIGSEGV, [BEGINS, ENDS], False),
        (-signal.SIGSEGV, [], False),
        (-signal.SIGKILL, [BEGINS], False),
        (1, [BEGINS], False),
    ],
)
def test_a_death_is_known_only_inside_of_such_a_read(code: int, lines: list[str], is_known: bool) -> None:
    where = '  File "genie_core/x.py", line 7 in read'
    said, known = explain_death(code, "\n".join([*lines, "Current thread (most recent call first):", where]))
    assert known == is_known
    assert is_known or said == f"exit code {code} in {where.strip()}"
