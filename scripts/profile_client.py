"""Where the CPU time of labelling through the service goes: parts of client and server, and the client's functions.

    python scripts/profile_client.py [--model tiny] [--episodes 32] [--functions 20]

Labels squares (`benchmarks.episodes`) three times through `genie serve`: to warm up; as it is, for the CPU time of a
frame and of the server's threads; and under cProfile in every thread of the client, with the thread's CPU time for a
clock, for the shares of its parts.
"""

from __future__ import annotations

import argparse
import cProfile
import os
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

PARTS = {
    "opening the data": {"open_dataset"},
    "hashing the source": {"cheap_sha256"},
    "reading frames": {"chunks"},
    "looking at pictures": {"add"},
    "packing and sending": {"begin_clip", "frame_requests", "consume_request_iterator"},
    "waiting for answers and reading them": {"labels", "_receive", "channel_spin"},
    "writing finished episodes to the journal": {"episode"},
    "putting the output together": {"finish"},
}
"""Parts of the client, and the functions, none within another of another part but `cheap_sha256`, that they are."""

FILES = {"_channel", "client", "clip_call", "content", "fingerprint", "messages", "opening", "reader", "writer"}
"""Modules that these functions are in."""


def main() -> None:
    """Print all."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--model", default=DEFAULT)
    parser.add_argument("--episodes", type=int, default=32)
    parser.add_argument("--functions", type=int, default=20)
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
        frames = options.episodes * FRAMES

        def label() -> float:
            began = time.process_time()
            plan = LabelPlan(Path(folder) / "out.hdf5", existing="overwrite", step=1)
            label_dataset(client, open_dataset(data), plan)
            return 1000 * (time.process_time() - began) / frames

        label()
        before = thread_seconds(server.pid)
        print(f"client: {label():.3f} ms of CPU a frame")
        _print_server(before, thread_seconds(server.pid), server.pid, frames)
        threading.Thread.run = profiled  # type: ignore[method-assign]
        profiles.append(main_thread := cProfile.Profile(time.thread_time))
        try:
            print(f"client, profiled: {main_thread.runcall(label):.3f} ms of CPU a frame, of that")
        finally:
            threading.Thread.run = run  # type: ignore[method-assign]
    found = pstats.Stats(profiles[0])
    for profile in profiles[1:]:
        profile.create_stats()
        if profile.stats:  # type: ignore[attr-defined]
            found.add(profile)
    _print_parts(found)
    found.sort_stats("cumulative").print_stats(options.functions)


def thread_seconds(pid: int) -> dict[int, float]:
    """Return the CPU seconds of each thread of a process."""
    seconds = {}
    for task in Path(f"/proc/{pid}/task").iterdir():
        fields = (task / "stat").read_text().rpartition(")")[2].split()
        seconds[int(task.name)] = (int(fields[11]) + int(fields[12])) / os.sysconf("SC_CLK_TCK")
    return seconds


def _print_server(before: dict[int, float], after: dict[int, float], pid: int, frames: int) -> None:
    """Print the server's threads: the event loop is the first, the busiest others are the lanes."""
    taken = {thread: seconds - before.get(thread, 0.0) for thread, seconds in after.items()}
    loop, others = taken.pop(pid), sorted(taken.values(), reverse=True)
    lanes = [seconds for seconds in others if seconds > others[0] / 4]
    parts = {f"{len(lanes)} lanes": sum(lanes), "event loop": loop, "other threads": sum(others) - sum(lanes)}
    print(f"server: {1000 * sum(parts.values()) / frames:.3f} ms of CPU a frame, of that")
    for name, seconds in parts.items():
        print(f"  {seconds / sum(parts.values()):6.1%}  {1000 * seconds / frames:.3f}  {name}")


def _print_parts(found: pstats.Stats) -> None:
    """Print the shares of the client's parts."""
    stats: dict[tuple[str, int, str], tuple[int, int, float, float, object]] = found.stats  # type: ignore[attr-defined]
    total = sum(own for _, _, own, _, _ in stats.values())
    shares = dict.fromkeys(PARTS, 0.0)
    for (file, _, function), (_, _, _, seconds, _) in stats.items():
        for part, functions in PARTS.items():
            if function in functions and Path(file).stem in FILES:
                shares[part] += seconds / total
    shares["writing finished episodes to the journal"] -= shares["hashing the source"]  # done when the first is written
    shares["anything else"] = 1 - sum(shares.values())
    for part, share in shares.items():
        print(f"  {share:6.1%}  {part}")


if __name__ == "__main__":
    main()
