"""`python -m genie_core.sim`: make simulated data without the `genie` command line."""

import argparse
import os
import sys
import time
from pathlib import Path
from typing import get_args

from pydantic import ValidationError

from genie_core.errors import GenieError
from genie_core.sim.config import LookStyle, Robot, SimConfig, Task
from genie_core.sim.generate import Progress, generate


def _parse(arguments: list[str] | None) -> argparse.Namespace:
    parser = argparse.ArgumentParser(prog="python -m genie_core.sim", description=__doc__)
    default = SimConfig()
    parser.add_argument("--out", type=Path, required=True, help="HDF5 file to write")
    parser.add_argument("--robot", choices=get_args(Robot), default=default.robot)
    parser.add_argument("--task", choices=get_args(Task), default=default.task)
    parser.add_argument("--episodes", type=int, default=20)
    parser.add_argument("--frames", type=int, default=default.frames, help="frames an episode, 10 a second")
    parser.add_argument("--size", type=int, default=default.size, help="height and width in pixels")
    parser.add_argument("--looks", choices=get_args(LookStyle), default=default.looks)
    parser.add_argument("--camera-jitter", type=float, default=None, help="scale; default by looks")
    parser.add_argument("--seed", type=int, default=default.seed)
    parser.add_argument("--workers", type=int, default=os.cpu_count() or 1, help="processes; default: all cores")
    parser.add_argument("--overwrite", action="store_true")
    return parser.parse_args(arguments)


def printer(frames: int, every_s: float = 5.0) -> Progress:
    """Progress as lines, no more often than `every_s` but for the first and last."""
    started: float | None = None
    first = 0
    printed = 0.0

    def report(done: int, total: int) -> None:
        nonlocal started, first, printed
        now = time.monotonic()
        if started is None:
            started, first = now, done
        elif done < total and now - printed < every_s:
            return
        printed = now
        speed = (done - first) * frames / max(now - started, 1e-9)
        print(f"{done}/{total} episodes, {speed:.1f} frames/s", flush=True)

    return report


def main(arguments: list[str] | None = None) -> int:
    """Exit status 0, 1 for what a GenieError says, 130 for Ctrl-C."""
    given = _parse(arguments)
    try:
        config = SimConfig(
            robot=given.robot,
            task=given.task,
            frames=given.frames,
            size=given.size,
            seed=given.seed,
            looks=given.looks,
            camera_jitter=given.camera_jitter,
        )
        generate(
            config,
            given.episodes,
            given.out,
            workers=given.workers,
            progress=printer(given.frames),
            overwrite=given.overwrite,
        )
    except (GenieError, ValidationError) as error:
        print(error, file=sys.stderr)
        return 1
    except KeyboardInterrupt:
        print("interrupted; the same command goes on from here", file=sys.stderr)
        return 130
    print(f"{given.out}: {given.out.stat().st_size / 2**20:.1f} MiB")
    return 0


if __name__ == "__main__":
    sys.exit(main())
