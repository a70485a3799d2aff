"""A few kill trials; ``make kill-trials`` runs hundreds."""

from __future__ import annotations

import os
import subprocess
import sys
from pathlib import Path

ROOT = Path(__file__).parents[2]


def test_whatever_is_killed_the_same_command_goes_on_and_makes_the_same_bytes() -> None:
    """One named point of every command, drawn: before or after a step that it takes on the disk."""
    words = ["--points", "1", "--random", "0", "--server", "0", "--seed", str(os.getpid())]
    command = [sys.executable, "-m", "tests.reliability", *words]
    environment = {**os.environ, "OMP_NUM_THREADS": "1"}
    done = subprocess.run(command, cwd=ROOT, env=environment, capture_output=True, text=True, check=False)
    assert done.returncode == 0, done.stdout + done.stderr
    assert done.stdout.count("1 of 1 trials good") == 5
