"""Runs one benchmark in this process and writes what it measured: ``python -m benchmarks.worker ENTRY OUT [--quick]``.

`benchmarks.__main__` starts it with the threads that the benchmark is to have. Not for typing.
"""

from __future__ import annotations

import argparse
from importlib import import_module
from pathlib import Path

from pydantic import TypeAdapter

from benchmarks.measured import Measured

RESULTS: TypeAdapter[list[Measured]] = TypeAdapter(list[Measured])


def main() -> None:
    """Measure and write."""
    parser = argparse.ArgumentParser()
    parser.add_argument("entry")
    parser.add_argument("out", type=Path)
    parser.add_argument("--quick", action="store_true")
    options = parser.parse_args()
    module, _, function = options.entry.partition(":")
    results = getattr(import_module(module), function)(quick=options.quick)
    options.out.write_bytes(RESULTS.dump_json(results))


if __name__ == "__main__":
    main()
