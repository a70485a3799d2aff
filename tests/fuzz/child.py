"""``python -m tests.fuzz.child TARGET``: mutates inputs of one target, guided by coverage, until enough were tried.

Finds that are exceptions are written down and fuzzing goes on; a crash in native code, or an endless loop, ends the
process, with the input left by libFuzzer.
"""

from __future__ import annotations

import argparse
import hashlib
import os
import random
import resource
import sys
from pathlib import Path

import atheris
import numpy as np

from tests.fuzz.tally import Tally
from tests.fuzz.targets import MODULES, target_named

_ADDRESS_SPACE = 6 << 30
"""Bytes: what is larger than this is refused by the system, which is a find too."""

_ENDLESS_SECONDS = 20
_LARGEST_RSS_MIB = 3072
_SMALL_CHANGES = 0.3


def main() -> None:
    """Never returns: libFuzzer ends the process."""
    words = argparse.ArgumentParser(prog="python -m tests.fuzz.child", description=__doc__)
    words.add_argument("target", choices=sorted(MODULES))
    words.add_argument("--inputs", type=int, required=True)
    words.add_argument("--seed", type=int, required=True)
    words.add_argument("--out", type=Path, required=True, help="folder for finds and the tally")
    words.add_argument("--scratch", type=Path, required=True, help="empty folder for the files that are read")
    options = words.parse_args()
    with atheris.instrument_imports(include=["genie_core", "genie_service"]):
        from tests.fuzz.trial import KNOWN, try_input

        target = target_named(options.target)
    resource.setrlimit(resource.RLIMIT_AS, (_ADDRESS_SPACE, _ADDRESS_SPACE))
    tally = Tally.at(options.out / "tally")
    folder, corpus, made = (options.scratch / name for name in ("files", "corpus", "seeds"))
    for path in (folder, corpus, made):
        path.mkdir()
    for number, seed in enumerate(target.seeds(made)):
        (corpus / f"seed-{number}").write_bytes(seed)

    def one(data: bytes) -> None:
        found, cost = try_input(target, data, folder)
        tally.count(cost)
        if found is not None:
            name = KNOWN * found.is_known + hashlib.sha256(found.kind.encode()).hexdigest()[:12]
            if not (options.out / name).exists():
                (options.out / name).write_bytes(data)
                (options.out / f"{name}.txt").write_text(f"{found.kind}\n\n{found.text}", errors="replace")
        if tally.inputs >= options.inputs:
            tally.end()
            os._exit(0)

    def change(data: bytes, most: int, seed: int) -> bytes:
        assert target.mutate is not None
        if random.Random(seed).random() < _SMALL_CHANGES:
            return bytes(atheris.Mutate(data, most))
        return target.mutate(data, most, seed)

    flags = [
        f"-seed={options.seed}",
        f"-max_len={target.largest}",
        f"-timeout={_ENDLESS_SECONDS}",
        f"-rss_limit_mb={_LARGEST_RSS_MIB}",
        f"-artifact_prefix={options.out}/native-",
        "-len_control=0",
        "-print_final_stats=0",
        "-verbosity=0",
        "-reload=0",
    ]
    extra = {} if target.mutate is None else {"custom_mutator": change}
    np.seterr(all="ignore")
    atheris.Setup([sys.argv[0], *flags, str(corpus)], one, **extra)
    atheris.Fuzz()


if __name__ == "__main__":
    main()
