"""``python -m benchmarks.gpu``: runs each part in a process of its own, prints its rows, and keeps them.

A part that has been measured on this device is not measured again, so that the same command, however it was ended,
resumes with the next part. Time is bounded: a part that would not fit into what is left waits for the next time.
"""

from __future__ import annotations

import argparse
import os
import re
import subprocess
import sys
import time
from pathlib import Path

from benchmarks.gpu.found import read, table
from benchmarks.gpu.parts import PARTS, RECIPE, TRAINED, Part, missing

ROOT = Path(__file__).parents[2]
_PATHS = (ROOT, *(ROOT / name for name in ("protos", "service", "clients")))
_SITE = "site"
_STARTED_WITHIN = 0.35
"""Share of a part's time limit that must be left for it to begin: most need less than half of theirs."""

_PATIENCE_OF_DRY_RUN = 900.0
"""Seconds for a part on the CPU of a machine that others use too."""

_FAILED, _TIME_IS_UP, _MISSING = 1, 3, 4


def main(words: list[str] | None = None) -> int:
    """Run; 0 if every part asked for has its rows, 1 if one failed, 3 if time was up first, 4 if modules lack."""
    began = time.monotonic()
    options = _parse(words)
    known = {part.name: part for part in PARTS}
    wanted = [known[name] for name in options.parts if name in known] if options.parts else list(PARTS)
    if options.data:
        wanted += [part for part in TRAINED if part.name in options.parts] or [RECIPE]
    options.out.mkdir(parents=True, exist_ok=True)
    environment = _environment(options.files, options.out)
    device = options.device or ("cpu" if options.dry_run else "cuda")
    name = _describe(device)
    if name is None:
        return _FAILED
    folder = options.out / _slug(f"{name}-dry" if options.dry_run else name)
    folder.mkdir(parents=True, exist_ok=True)
    status = 0
    for part in wanted:
        left = 60 * options.minutes - (time.monotonic() - began)
        status = max(status, _run(part, folder, device, options, left, environment))
    rows = [found for part in (*PARTS, *TRAINED) for found in read(folder / f"{part.name}.jsonl")]
    (folder / "table.md").write_text(f"# {name}\n\n{table(rows)}\n", encoding="utf-8")
    print(f"\n{len(rows)} rows in {folder / 'table.md'}; {time.monotonic() - began:.0f} s", flush=True)
    return status


def _parse(words: list[str] | None) -> argparse.Namespace:
    names = [part.name for part in (*PARTS, *TRAINED)]
    parser = argparse.ArgumentParser(prog="python -m benchmarks.gpu", description=__doc__.split("\n")[0])
    parser.add_argument(
        "parts", nargs="*", metavar="PART", help=f"all for none, of those that need no data: {', '.join(names)}"
    )
    parser.add_argument("--device", help="torch device; default: cuda, or cpu with --dry-run")
    parser.add_argument("--minutes", type=float, default=8.5, help="time for all parts (the recipe's comes on top)")
    parser.add_argument("--dry-run", action="store_true", help="tiny sizes: does everything run, not how fast it is")
    parser.add_argument("--out", type=Path, default=ROOT / "runs" / "gpu", help="folder of rows and working files")
    parser.add_argument("--files", type=Path, default=ROOT / "runs" / "gpu-files", help="folder of `make gpu-files`")
    parser.add_argument("--data", help="video to train on: the labels' recipe, unless `tokens` is named")
    parser.add_argument("--train-minutes", type=float, default=5.0, help="for that")
    options = parser.parse_args(words)
    unknown = set(options.parts) - set(names)
    if unknown:
        parser.error(f"there is no part {', '.join(sorted(unknown))}; there are: {', '.join(names)}")
    if not options.data and set(options.parts) & {part.name for part in TRAINED}:
        parser.error("that part trains: give it --data")
    return options


def _environment(files: Path, out: Path) -> dict[str, str]:
    """Return the environment of parts; wheels of `make gpu-files` that this Python lacks are installed apart."""
    wheels = [wheel for wheel in sorted(files.glob("*.whl")) if wheel.name.split("-")[0] not in _installed()]
    site = out / _SITE
    if wheels and not site.exists():
        words = [sys.executable, "-m", "pip", "install", "--quiet", "--no-index", "--no-deps", "--no-compile"]
        done = subprocess.run([*words, "--target", str(site), *map(str, wheels)], check=False)
        if done.returncode:
            print(f"the wheels in {files} could not be installed; going on without", flush=True)
    if site.exists():
        sys.path.insert(0, str(site))
    paths = [str(path) for path in (*_PATHS, *([site] if site.exists() else []))]
    python_path = os.pathsep.join([*paths, os.environ.get("PYTHONPATH", "")]).rstrip(os.pathsep)
    return {**os.environ, "PYTHONPATH": python_path, "GENIE_GPU_FILES": str(files)}


def _installed() -> set[str]:
    from importlib.metadata import distributions

    return {re.sub(r"[-.]+", "_", dist.metadata["Name"] or "").lower() for dist in distributions()}


def _describe(device: str) -> str | None:
    """Return the name of the device; None, with the reason printed, where it cannot be used."""
    try:
        import torch
    except ModuleNotFoundError:
        print("there is no torch in this Python: run with one that has PyTorch 2.11 or newer", file=sys.stderr)
        return None
    if torch.device(device).type == "cuda" and not torch.cuda.is_available():
        print("torch sees no GPU here; `--dry-run` tries the kit on the CPU", file=sys.stderr)
        return None
    name = torch.cuda.get_device_name(device) if torch.device(device).type == "cuda" else "CPU"
    print(f"{name}, torch {torch.__version__}, Python {sys.version.split()[0]}, {os.cpu_count()} cores", flush=True)
    return f"{name}-torch-{torch.__version__}"


def _run(
    part: Part, folder: Path, device: str, options: argparse.Namespace, left: float, environment: dict[str, str]
) -> int:
    """Run one part unless its rows exist; return its exit status."""
    rows = folder / f"{part.name}.jsonl"
    print(f"\n{part.name}: {part.about}", flush=True)
    if rows.exists() and part not in TRAINED:
        for found in read(rows):
            print(f"{found.line}  (kept)", flush=True)
        return 0
    lacking = missing(part)
    if lacking:
        print(
            f"left out: this Python lacks {', '.join(lacking)}; `make gpu-files` brings what can be brought", flush=True
        )
        return _MISSING
    seconds = _PATIENCE_OF_DRY_RUN if options.dry_run else part.seconds
    limit = 60 * options.train_minutes + 120 if part in TRAINED else min(seconds, left)
    if limit < _STARTED_WITHIN * part.seconds:
        print(f"left for the next time: {max(0, left):.0f} s are left", flush=True)
        return _TIME_IS_UP
    partly = rows.with_suffix(".partly")
    partly.unlink(missing_ok=True)
    words = [sys.executable, "-m", "benchmarks.gpu.worker", part.name, str(partly), "--folder", str(folder)]
    words += ["--device", device, *(["--dry-run"] if options.dry_run else [])]
    if part in TRAINED:
        words += ["--data", options.data, "--train-minutes", str(options.train_minutes)]
    try:
        subprocess.run(words, check=True, timeout=limit, cwd=ROOT, env=environment)
    except subprocess.TimeoutExpired:
        print(f"stopped after {limit:.0f} s; its rows so far are in {partly}", flush=True)
        return _TIME_IS_UP
    except subprocess.CalledProcessError as error:
        print(f"failed with status {error.returncode}; its rows so far are in {partly}", flush=True)
        return _FAILED
    partly.replace(rows)
    return 0


def _slug(name: str) -> str:
    return re.sub(r"[^A-Za-z0-9.]+", "-", name)


if __name__ == "__main__":
    sys.exit(main())
