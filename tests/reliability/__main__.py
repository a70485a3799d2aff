"""``python -m tests.reliability``: kill trials of labelling, in place too, of exporting, and of the server."""

from __future__ import annotations

import argparse
import random
import shutil
import sys
import tempfile
import time
from collections.abc import Iterator
from pathlib import Path

from tests.factories.data import make_robomimic
from tests.reliability.commands import run
from tests.reliability.server import Server, of_the_server
from tests.reliability.trials import Tally, Task, at_points, at_random, reference

FORMATS = ("lerobot", "parquet", "robomimic")


def main() -> int:
    """Exit code 1 if any trial was not good."""
    words = argparse.ArgumentParser(prog="python -m tests.reliability", description=__doc__)
    words.add_argument("--random", type=int, default=100, help="kills at random moments, shared among the commands")
    words.add_argument("--points", type=int, default=10_000, help="most named points of each command")
    words.add_argument("--server", type=int, default=20, help="kills of the server")
    words.add_argument("--episodes", type=int, default=50, help="in the data, but for named points 3")
    words.add_argument("--only", default="", help="those commands whose names begin so")
    words.add_argument("--seed", type=int, default=0)
    options = words.parse_args()
    import_all()
    failed = 0
    with tempfile.TemporaryDirectory(prefix="genie-kill-trials-") as folder, Server.started(Path(folder)) as server:
        for name, tally in trials(Path(folder), server, options):
            print(tally.line(name), *tally.failures[:5], sep="\n    ", flush=True)
            failed += len(tally.failures)
    return 1 if failed else 0


def trials(work: Path, server: Server, options: argparse.Namespace) -> Iterator[tuple[str, Tally]]:
    """The tallies of all trials, by what they are called."""
    rng, place = random.Random(options.seed), work / "trial"

    def chosen(name: str, episodes: int, is_wanted: bool) -> list[Task]:
        found = tasks(work / name, server, episodes) if is_wanted else []
        return [task for task in found if task.name.startswith(options.only)]

    few = chosen("few", 3, options.points > 0)
    many = chosen("many", options.episodes, options.random > 0 or options.server > 0)
    for task in few:
        expected = reference(task, place)
        yield f"{task.name}, at named points", at_points(task, place, expected, options.points, rng)
    for number, task in enumerate(many if options.random else ()):
        began = time.monotonic()
        expected = reference(task, place)
        seconds = time.monotonic() - began
        share = options.random * (number + 1) // len(many) - options.random * number // len(many)
        yield f"{task.name}, at random", at_random(task, place, expected, share, seconds, rng)
    if options.server:
        expected = reference(many[0], place)
        yield "server, at random", of_the_server(many[0], place, expected, options.server, server, rng)


def tasks(work: Path, server: Server, episodes: int) -> list[Task]:
    """The commands under trial, on data of so many episodes."""
    data, labelled = work / "data", work / "labelled"
    data.mkdir(parents=True)
    make_robomimic(data / "d.hdf5", episodes=episodes, frames=10, size=32)
    shutil.copytree(data, labelled)
    label = ("label", "d.hdf5", "--server", server.address)
    ended = run([*label, "--out", "l.hdf5", "--keep-frames", "copy"], labelled)
    if ended.code:
        raise RuntimeError(ended.said)
    exports = [Task(f"export {to}", ("export", "l.hdf5", "--to", to, "out"), labelled, "out") for to in FORMATS]
    return [
        Task("label", label, data, "d.labelled.hdf5"),
        Task("label --in-place", (*label, "--in-place"), data, "d.hdf5"),
        *exports,
    ]


def import_all() -> None:
    """Import what the commands import, once for all trials; nothing of it opens a connection or starts a thread."""
    import genie_cli.app
    import genie_client.bulk
    import genie_core.data.export.run

    del genie_cli, genie_client, genie_core


if __name__ == "__main__":
    sys.exit(main())
