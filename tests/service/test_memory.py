"""How much memory the server may take, told from the control group's files."""

from __future__ import annotations

import os
import subprocess
import sys
from pathlib import Path

import pytest

from genie_service.memory import MIB, cgroup_limit_bytes, default_memory_bytes, resident_bytes


@pytest.mark.parametrize(
    ("own", "files", "limit"),
    [
        ("0::/\n", {"memory.max": "max"}, None),
        ("0::/\n", {"memory.max": f"{512 * MIB}"}, 512 * MIB),
        ("0::/a/b\n", {"a/memory.max": f"{300 * MIB}", "a/b/memory.max": "max"}, 300 * MIB),
        ("5:cpu:/x\n4:memory:/docker/c\n", {"memory/docker/c/memory.limit_in_bytes": f"{256 * MIB}"}, 256 * MIB),
        ("", {}, None),
    ],
)
def test_the_smallest_limit_of_the_group_and_those_above_it_holds(
    tmp_path: Path, own: str, files: dict[str, str], limit: int | None
) -> None:
    (tmp_path / "own").write_text(own)
    for name, text in files.items():
        (tmp_path / name).parent.mkdir(parents=True, exist_ok=True)
        (tmp_path / name).write_text(text)
    assert cgroup_limit_bytes(tmp_path, tmp_path / "own") == limit


def test_a_container_leaves_a_fifth_and_a_machine_without_limit_half_or_4_gib(tmp_path: Path) -> None:
    (tmp_path / "memory.max").write_text(str(500 * MIB))
    assert default_memory_bytes(tmp_path, tmp_path / "none") == 400 * MIB
    (tmp_path / "memory.max").write_text("max")
    assert 0 < default_memory_bytes(tmp_path, tmp_path / "none") <= 4096 * MIB


def test_what_is_resident_can_be_told() -> None:
    assert resident_bytes() > 10 * MIB


_FAULTS = """
import resource, sys
from genie_service.memory import keep_freed_memory
if sys.argv[1] == "kept" and not keep_freed_memory():
    raise SystemExit(3)
for _ in range(2):
    before = resource.getrusage(resource.RUSAGE_SELF).ru_minflt
    block = b"x" * (40 << 20)
    faults = resource.getrusage(resource.RUSAGE_SELF).ru_minflt - before
    del block
print(faults)
"""


def test_a_large_block_that_was_freed_is_used_again_without_a_page_fault() -> None:
    def faults(how: str) -> int:
        done = subprocess.run([sys.executable, "-c", _FAULTS, how], capture_output=True, text=True, timeout=120)
        if done.returncode == 3:
            pytest.skip("the C library is not GNU's")
        return int(done.stdout)

    pages = (40 * MIB) // os.sysconf("SC_PAGE_SIZE")
    assert faults("kept") < pages // 10
