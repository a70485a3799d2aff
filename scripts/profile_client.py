"""Where the CPU time of a labelling client goes: every thread's functions, beside a real server.

    python scripts/profile_client.py [--model tiny] [--episodes 32]

Labels squares (`benchmarks.episodes`) twice through `genie serve`: once as it is, for the CPU time of a frame, and once
under cProfile in every thread, with the thread's CPU time for a clock.
"""

from __future__ import annotations

import argparse
import cProfile
import pstats
import tempfile
import threading
import time
from pathlib import Path

from benchmarks.episodes import write_episodes
from benchmarks.processes import serving
from genie_client import Client
from genie_client.bulk import LabelPlan, label_dataset
from genie_core.bundles import DEFAULT
from genie_core.data import open_dataset

FRAMES = 128


def main() -> None:
    """Print both."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--model", default=DEFAULT)
    parser.add_argument("--episodes", type=int, default=32)
    options = parser.parse_args()
    profiles: list[cProfile.Profile] = []
    run = threading.Thread.run

    def profiled(thread: threading.Thread) -> None:
        profiles.append(profile := cProfile.Profile(time.thread_time))
        profile.runcall(run, thread)

    with (
        tempfile.TemporaryDirectory() as folder,
        serving(model=options.model) as server,
        Client(server.address) as client,
    ):
        data = write_episodes(Path(folder) / "data.hdf5", options.episodes, FRAMES)

        def label() -> float:
            began = time.process_time()
            plan = LabelPlan(Path(folder) / "out.hdf5", existing="overwrite", step=1)
            label_dataset(client, open_dataset(data), plan)
            return 1000 * (time.process_time() - began) / options.episodes / FRAMES

        label()
        print(f"{label():.3f} ms of CPU a frame")
        threading.Thread.run = profiled  # type: ignore[method-assign]
        profiles.append(main_thread := cProfile.Profile(time.thread_time))
        try:
            print(f"{main_thread.runcall(label):.3f} ms of CPU a frame, profiled")
        finally:
            threading.Thread.run = run  # type: ignore[method-assign]
    found = pstats.Stats(profiles[0])
    for profile in profiles[1:]:
        profile.create_stats()
        if profile.stats:  # type: ignore[attr-defined]
            found.add(profile)
    found.sort_stats("cumulative").print_stats(60)


if __name__ == "__main__":
    main()
