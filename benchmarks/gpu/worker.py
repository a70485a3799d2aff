"""Runs one part in this process and writes each row as it is found. Started by `benchmarks.gpu.__main__`."""

from __future__ import annotations

import argparse
from importlib import import_module
from pathlib import Path

from benchmarks.gpu.found import append
from benchmarks.gpu.parts import PARTS, TRAINED, Setting


def main() -> None:
    """Measure one part."""
    parser = argparse.ArgumentParser()
    parser.add_argument("part", choices=[part.name for part in (*PARTS, *TRAINED)])
    parser.add_argument("rows", type=Path)
    parser.add_argument("--folder", type=Path, required=True)
    parser.add_argument("--device", required=True)
    parser.add_argument("--dry-run", action="store_true")
    parser.add_argument("--data")
    parser.add_argument("--train-minutes", type=float, default=0.0)
    options = parser.parse_args()
    part = next(part for part in (*PARTS, *TRAINED) if part.name == options.part)
    setting = Setting(options.device, options.dry_run, options.folder, options.data, options.train_minutes)
    module, _, function = part.entry.partition(":")
    for found in getattr(import_module(module), function)(setting):
        append(options.rows, found)
        print(found.line, flush=True)


if __name__ == "__main__":
    main()
