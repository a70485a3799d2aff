"""Which library an input takes with it, and whether that is known; the input runs in a process of its own."""

from __future__ import annotations

import re
import subprocess
import sys
from pathlib import Path

KNOWN = {
    "h5py/_hl/attrs.py": "HDF5 2.0 reads a damaged global heap without end (H5HG__cache_heap_deserialize)",
    "h5py/_hl/dataset.py": "HDF5 2.0 works through lengths of rows that it has not checked (H5T__conv_vlen)",
}
"""Defects of libraries, by the file of the innermost line of Python."""

_ENDLESS_S = 15
_FRAME = re.compile(r'File "([^"]+)", line (\d+)')
ROOT = Path(__file__).resolve().parents[2]

_AGAIN = """
import faulthandler, sys, tempfile
from pathlib import Path
faulthandler.enable()
from tests.fuzz.targets import target_named
from tests.fuzz.trial import try_input
target = target_named(sys.argv[1])
faulthandler.dump_traceback_later({seconds}, exit=True)
found, _ = try_input(target, Path(sys.argv[2]).read_bytes(), Path(tempfile.mkdtemp()))
print(found.kind if found else "nothing")
"""


def explain(target: str, file: Path) -> tuple[str, bool]:
    """What an input does when it is read again, and whether nobody needs to be told: it is known, or does not recur."""
    command = [sys.executable, "-c", _AGAIN.format(seconds=_ENDLESS_S), target, str(file.resolve())]
    done = subprocess.run(command, cwd=ROOT, capture_output=True, text=True, check=False)
    if done.returncode == 0:
        return f"not again: {done.stdout.strip()}", done.stdout.strip() == "nothing"
    place = _FRAME.search(done.stderr)
    at = f"{place[1]}:{place[2]}" if place else done.stderr.strip()[-200:]
    known = next((why for end, why in KNOWN.items() if place and place[1].endswith(end)), None)
    return (known, True) if known else (f"exit code {done.returncode} in {at}", False)
