"""``python -m tests.fuzz [TARGET ...]``: every parser of strangers' bytes, and the running server.

Each target runs in processes of its own, which are started again when one dies; exit code 1 if anything was found.
"""

from __future__ import annotations

import argparse
import os
import shutil
import subprocess
import sys
import tempfile
import time
from pathlib import Path

from tests.fuzz.native import explain
from tests.fuzz.server import SERVER, fuzz_server
from tests.fuzz.tally import Tally
from tests.fuzz.targets import MODULES, target_named
from tests.fuzz.trial import KNOWN

_MOST_DEATHS = 20
"""Of a target's processes, after which the rest of its inputs is left."""

_MOST_GROWTH_MIB = 64
_IN_MEMORY = Path("/dev/shm")
"""Where the files that are read lie: a disk is waited for, by ext4 whenever a file is written over."""

ROOT = Path(__file__).resolve().parents[2]


def main() -> int:
    """Run the targets one after another, with a line for each."""
    words = argparse.ArgumentParser(prog="python -m tests.fuzz", description=__doc__)
    words.add_argument("targets", nargs="*", metavar="TARGET", help=f"of {', '.join([*MODULES, SERVER])}; all")
    words.add_argument("--share", type=float, default=1.0, help="of each target's inputs; 1.0 is a million in all")
    words.add_argument("--seed", type=int, default=1)
    words.add_argument("--out", type=Path, default=Path("fuzz-out"), help="folder for what is found")
    options = words.parse_args()
    unknown = sorted(set(options.targets) - {*MODULES, SERVER})
    if unknown:
        words.error(f"no target {', '.join(unknown)}")
    total = found = 0
    for name in options.targets or [*MODULES, SERVER]:
        out = options.out / name
        shutil.rmtree(out, ignore_errors=True)
        out.mkdir(parents=True)
        began = time.monotonic()
        if name == SERVER:
            tally = fuzz_server(out, options.share, options.seed)
        else:
            tally = fuzz_target(name, out, options.share, options.seed)
        finds = sorted(file for file in out.iterdir() if file.name != "tally" and file.suffix != ".txt")
        native = {file: explain(name, file) for file in finds if file.name.startswith("native-")}
        known = [file for file in finds if file.name.startswith(KNOWN) or (file in native and native[file][1])]
        grown = tally.growth_mib > _MOST_GROWTH_MIB
        total, found = total + tally.inputs, found + len(finds) - len(known) + grown
        print(
            f"{name}: {tally.inputs} inputs in {time.monotonic() - began:.0f} s, {len(finds) - len(known)} finds, "
            f"{len(known)} known, slowest {tally.slowest_s:.2f} s, peak +{tally.largest_mib:.0f} MiB, "
            f"growth {tally.growth_mib:.0f} MiB",
            *(f"    {file}: {native[file][0] if file in native else _said(file)}" for file in finds),
            sep="\n",
            flush=True,
        )
    print(f"{total} inputs, {found} finds")
    return 1 if found else 0


def fuzz_target(name: str, out: Path, share: float, seed: int) -> Tally:
    """Try a target's inputs; a process that dies leaves what killed it in `out`, and another goes on."""
    wanted = max(1, round(target_named(name).inputs * share))
    tally = Tally.at(out / "tally")
    for life in range(_MOST_DEATHS):
        command = [sys.executable, "-m", "tests.fuzz.child", name, "--inputs", str(wanted), "--out", str(out)]
        environment = {**os.environ, "OMP_NUM_THREADS": "1"}
        with tempfile.TemporaryDirectory(dir=_IN_MEMORY if _IN_MEMORY.is_dir() else None) as scratch:
            command += ["--seed", str(seed + life), "--scratch", scratch]
            done = subprocess.run(command, cwd=ROOT, env=environment, capture_output=True, text=True)
        if tally.inputs >= wanted:
            break
        (out / f"death-{life}.txt").write_text(done.stdout[-5000:] + done.stderr[-5000:])
        if not list(out.glob("native-*")):
            raise RuntimeError(f"{name}: {done.stderr[-2000:]}")
    return tally


def _said(file: Path) -> str:
    text = file.with_name(f"{file.name}.txt")
    if not text.exists():
        return "a wrong answer"
    kind, _, first, *_ = [*text.read_text().splitlines(), "", ""]
    return f"{kind}: {first}" if file.name.startswith(KNOWN) else kind


if __name__ == "__main__":
    sys.exit(main())
