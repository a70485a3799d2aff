"""``python -m benchmarks [NAMES...] [--quick]``: measures, and writes results.json and docs/benchmarks.md again.

Each benchmark runs in a process of its own, with as many threads as it is to have. Rows that were not measured stay as
they are; one that fails leaves its old row, is reported, and makes the exit status 1.
"""

from __future__ import annotations

import argparse
import os
import subprocess
import sys
import tempfile
from pathlib import Path

from benchmarks.catalogue import METRICS, Benchmark, chosen
from benchmarks.machine import describe_machine
from benchmarks.measured import make_row
from benchmarks.report import render
from benchmarks.row import Row, merge_rows, read_rows, write_rows
from benchmarks.worker import RESULTS

ROOT = Path(__file__).parent.parent


def main(words: list[str] | None = None) -> int:
    """Measure what is asked for; the exit status."""
    options = _parse(words)
    try:
        benchmarks = chosen(options.names)
    except ValueError as error:
        print(f"error: {error}", file=sys.stderr)
        return 2
    failed = False
    for benchmark in benchmarks:
        if benchmark.cuda and not _has_cuda():
            print(f"{', '.join(benchmark.names)}: left out, there is no GPU")
            continue
        try:
            rows = _run(benchmark, quick=options.quick)
        except subprocess.CalledProcessError as error:
            print(f"{', '.join(benchmark.names)}: failed with status {error.returncode}", file=sys.stderr)
            failed = True
            continue
        for row in rows:
            print(f"{row.name}: {row.value:g} {row.parts.unit}", flush=True)
        _save(rows, options.results, options.page)
    _save([], options.results, options.page)
    return int(failed)


def _parse(words: list[str] | None) -> argparse.Namespace:
    parser = argparse.ArgumentParser(prog="python -m benchmarks", description="Measure the project's figures.")
    parser.add_argument("names", nargs="*", metavar="NAME", help=f"rows to measure, all for none: {', '.join(METRICS)}")
    parser.add_argument("--quick", action="store_true", help="small and few samples: does it run, not what it says")
    parser.add_argument("--results", type=Path, default=ROOT / "benchmarks" / "results.json")
    parser.add_argument("--page", type=Path, default=ROOT / "docs" / "benchmarks.md")
    return parser.parse_args(words)


def _save(new: list[Row], results: Path, page: Path) -> None:
    """Merge `new` rows into the results as they are now, and render the page from them."""
    rows = merge_rows(read_rows(results), new, list(METRICS))
    write_rows(results, rows)
    page.write_text(render(rows), encoding="utf-8")


def _run(benchmark: Benchmark, *, quick: bool) -> list[Row]:
    """Return the rows of one benchmark, run in a fresh process; raises CalledProcessError where it fails."""
    machine = describe_machine()
    threads = str(benchmark.threads or machine.cores)
    environment = {**os.environ, "OMP_NUM_THREADS": threads, "MKL_NUM_THREADS": threads}
    with tempfile.TemporaryDirectory() as folder:
        out = Path(folder) / "measured.json"
        words = [sys.executable, "-m", "benchmarks.worker", benchmark.entry, str(out), *(["--quick"] if quick else [])]
        subprocess.run(words, check=True, env=environment, cwd=ROOT)
        results = RESULTS.validate_json(out.read_bytes())
    return [make_row(f, m, machine, quick=quick) for f, m in zip(benchmark.metrics, results, strict=True)]


def _has_cuda() -> bool:
    import torch

    return torch.cuda.is_available()


if __name__ == "__main__":
    sys.exit(main())
