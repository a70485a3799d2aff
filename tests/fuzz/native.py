"""What ended a process: the input runs again in one of its own, to see whether a library's known defect did it."""

from __future__ import annotations

import signal
import subprocess
import sys
from pathlib import Path

from tests.fuzz.heap import BEGINS, ENDS, KNOWN

_ENDLESS_S = 6
"""Of processor time."""

_IN_THE_HEAP = {-signal.SIGPROF: "endless", -signal.SIGSEGV: "crash", -signal.SIGBUS: "crash"}
"""What libhdf5 does inside of such a read, by the signal that ends the process."""

_ADDRESS_SPACE = 6 << 30
ROOT = Path(__file__).resolve().parents[2]

_AGAIN = f"""
import faulthandler, resource, signal, sys, tempfile
from pathlib import Path
from tests.fuzz.targets import target_named
from tests.fuzz.trial import try_input
target = target_named(sys.argv[1])
faulthandler.enable(all_threads=False)
faulthandler.register(signal.SIGPROF, all_threads=False, chain=True)
resource.setrlimit(resource.RLIMIT_AS, ({_ADDRESS_SPACE}, {_ADDRESS_SPACE}))
signal.setitimer(signal.ITIMER_PROF, float(sys.argv[3]))
with tempfile.TemporaryDirectory() as folder:
    found, _ = try_input(target, Path(sys.argv[2]).read_bytes(), Path(folder), says=True)
print(found.is_known if found else "", found.kind if found else "", sep="|")
"""


def explain(target: str, file: Path, endless_s: float = _ENDLESS_S) -> tuple[str, bool]:
    """What an input does when it is read again, and whether nobody needs to be told: it is known, or does not recur.

    Endless, or a crash, is known only inside of a read of variable length.
    """
    command = [sys.executable, "-c", _AGAIN, target, str(file.resolve()), str(endless_s)]
    done = subprocess.run(command, cwd=ROOT, capture_output=True, text=True, check=False)
    if done.returncode == 0:
        is_known, kind = done.stdout.strip().split("|")
        return f"not again: {kind or 'nothing'}", is_known == "True" or not kind
    return explain_death(done.returncode, done.stderr)


def explain_death(code: int, said: str) -> tuple[str, bool]:
    """What `explain` says of a process that ended with `code`, from what it said."""
    lines = [line.strip() for line in said.splitlines()]
    reads = [line for line in lines if line in (BEGINS, ENDS)]
    if code in _IN_THE_HEAP and reads and reads[-1] == BEGINS:
        return f"{KNOWN}: {_IN_THE_HEAP[code]}", True
    where = next((line for line in lines if line.startswith("File ")), said.strip()[-200:])
    return f"exit code {code} in {where}", False
