"""Keeping freed memory: large buffers are not asked of the system again."""

from __future__ import annotations

import platform
import subprocess
import sys

import pytest

FAULTS = """
import resource, sys
import torch
from genie_core.inference.memory import keep_freed_memory
if sys.argv[1] == "keep":
    assert keep_freed_memory()
def faults():
    return resource.getrusage(resource.RUSAGE_SELF).ru_minflt
for _ in range(3):
    torch.ones(64 << 20, dtype=torch.uint8)
before = faults()
for _ in range(10):
    torch.ones(64 << 20, dtype=torch.uint8)
print(faults() - before)
"""


@pytest.mark.skipif(platform.libc_ver()[0] != "glibc", reason="a setting of glibc's allocator")
def test_freed_memory_is_used_again() -> None:
    """Ten buffers of 64 MiB in a row: 16,384 pages of 4 kB each, or none once they are kept."""
    found = {
        mode: int(subprocess.run([sys.executable, "-c", FAULTS, mode], check=True, capture_output=True).stdout)
        for mode in ("default", "keep")
    }
    assert found["keep"] < 1000
    assert found["default"] > 10 * found["keep"]
