"""Makes the simulated sets of zoo_data.json, those that are not there yet; interrupt and run again to resume.

python scripts/zoo_data.py FOLDER [--only NAME ...] [--episodes N] [--workers N]
"""

from __future__ import annotations

import argparse
import json
import os
import sys
from pathlib import Path
from typing import Any

from genie_core.errors import GenieError
from genie_core.sim import SimConfig, generate

PLAN = Path(__file__).with_suffix(".json")


def planned(plan: dict[str, Any]) -> dict[str, tuple[SimConfig, int]]:
    """Config and number of episodes of every set: a set's own choices before its group's before those of all."""
    common = plan["common"]
    groups = [group for name, group in plan.items() if name != "common"]
    return {
        name: (SimConfig(**{**common, **group["shared"], **own}), int(group["episodes"]))
        for group in groups
        for name, own in group["sets"].items()
    }


def main() -> None:
    """Make what is asked for, one set after the other."""
    sets = planned(json.loads(PLAN.read_text()))
    parser = argparse.ArgumentParser(description=(__doc__ or "").splitlines()[0])
    parser.add_argument("folder", type=Path)
    parser.add_argument("--only", nargs="+", choices=list(sets), metavar="NAME", help=f"of {', '.join(sets)}")
    parser.add_argument("--episodes", type=int, help="instead of each set's own number")
    parser.add_argument("--workers", type=int, default=os.cpu_count() or 1)
    arguments = parser.parse_args()
    arguments.folder.mkdir(parents=True, exist_ok=True)
    for name in arguments.only or sets:
        config, episodes = sets[name]
        out = arguments.folder / f"{name}.hdf5"
        if out.exists():
            print(f"{out}: there already")
            continue
        try:
            generate(config, arguments.episodes or episodes, out, workers=arguments.workers)
        except GenieError as error:
            sys.exit(str(error))
        print(f"{out}: {arguments.episodes or episodes} episodes")


if __name__ == "__main__":
    main()
