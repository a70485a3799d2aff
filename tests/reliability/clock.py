"""``python -m tests.reliability.clock``: a dataset is labelled while the machine's clock is set years back and ahead.

Server and client run under libfaketime (Debian's package `faketime`), which fakes the clock of the day for Python, gRPC
and all other libraries, and leaves the monotonic one alone, as setting a machine's clock does.
"""

from __future__ import annotations

import argparse
import itertools
import os
import subprocess
import sys
import tempfile
import time
from collections.abc import Mapping
from pathlib import Path

from genie_core.data import open_labelled
from tests.factories.bundles import make_nano_bundle
from tests.factories.data import make_robomimic

LIBRARY = Path("/usr/lib/x86_64-linux-gnu/faketime/libfaketimeMT.so.1")

SETTINGS = ("+0", "-3y", "+2y", "-1h", "+10y", "-90")
"""What the clock is set to, one after another, from what it really is."""


def main() -> int:
    """Exit code 1 if labels differ, a run failed or anything is left over, 2 without libfaketime."""
    words = argparse.ArgumentParser(prog="python -m tests.reliability.clock", description=__doc__)
    words.add_argument("--episodes", type=int, default=20)
    words.add_argument("--every", type=float, default=1.5, help="seconds after which the clock is set again")
    words.add_argument("--within", type=float, default=300, help="seconds that the run may take")
    options = words.parse_args()
    if not LIBRARY.exists():
        print(f"{LIBRARY} is not there: apt-get install faketime")
        return 2
    with tempfile.TemporaryDirectory(prefix="genie-clock-") as folder:
        return _trial(Path(folder), options.episodes, options.every, options.within)


def _trial(folder: Path, episodes: int, every_s: float, within_s: float) -> int:
    make_nano_bundle(folder / "models" / "nano")
    source = make_robomimic(folder / "d.hdf5", episodes=episodes, frames=100, size=32)
    clock = folder / "clock"
    clock.write_text(SETTINGS[0])
    faked = {
        "LD_PRELOAD": str(LIBRARY),
        "FAKETIME_TIMESTAMP_FILE": str(clock),
        "FAKETIME_DONT_FAKE_MONOTONIC": "1",
        "FAKETIME_CACHE_DURATION": "1",
    }
    server = [sys.executable, "-m", "genie_service", "--models", str(folder / "models"), "--port", "0"]
    changes = 0
    with subprocess.Popen([*server], env=_environment(faked), stdout=subprocess.PIPE, text=True) as process:
        try:
            assert process.stdout is not None
            address = process.stdout.readline().removeprefix("genie: serving on ").strip()
            assert process.stdout.readline().startswith("genie: ready")
            expected = _label(source, folder / "steady.hdf5", address, {})
            assert expected.wait(within_s) == 0, "labelling with a clock that nobody sets failed"
            run, began = _label(source, folder / "set.hdf5", address, faked), time.monotonic()
            for setting in itertools.cycle(SETTINGS):
                if run.poll() is not None or time.monotonic() - began > within_s:
                    break
                beside = clock.with_suffix(".new")
                beside.write_text(setting)
                beside.replace(clock)
                changes += 1
                time.sleep(every_s)
            run.kill()
        finally:
            process.terminate()
        code = process.wait(60)
    took_s = time.monotonic() - began
    same = run.returncode == 0 and _same_labels(folder / "set.hdf5", folder / "steady.hdf5")
    left = sorted(path.name for path in folder.iterdir()) != ["clock", "d.hdf5", "models", "set.hdf5", "steady.hdf5"]
    print(f"{episodes} episodes in {took_s:.1f} s, the clock set {changes} times to one of {', '.join(SETTINGS)}")
    print(f"labels the same: {same}; left over: {left}; exit codes: client {run.returncode}, server {code}")
    return 0 if same and not left and not code else 1


def _label(source: Path, output: Path, address: str, faked: Mapping[str, str]) -> subprocess.Popen[bytes]:
    command = [sys.executable, "-c", "from genie_cli import main; main()", "label", str(source), "--out", str(output)]
    return subprocess.Popen([*command, "--server", address, "--step", "1"], env=_environment(faked))


def _environment(faked: Mapping[str, str]) -> dict[str, str]:
    return {**os.environ, "OMP_NUM_THREADS": "1", **faked}


def _same_labels(path: Path, other: Path) -> bool:
    one, two = open_labelled(path), open_labelled(other)
    return one.episodes == two.episodes and all(
        one.labels(name)[0].latent.tobytes() == two.labels(name)[0].latent.tobytes() for name in one.episodes
    )


if __name__ == "__main__":
    sys.exit(main())
