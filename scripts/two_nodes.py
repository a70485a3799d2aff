"""Labels with a Ray cluster of two nodes on this machine, kills one in the middle, and compares with one process.

    sudo .venv/bin/python scripts/two_nodes.py [--episodes 48] [--model motion]

Each node has a network of its own (a namespace of Linux, joined by a virtual cable), a host name, a folder of Ray's
that the other does not see, and a raylet with one CPU, so that Ray, `genie label` and its servers talk as between two
machines; files are shared, as a cluster's are. It needs root, `ip` and the extra `ray`. The second node is killed by
SIGKILL to everything in it, once each node has finished two episodes. Prints what each node labelled and whether every
label is that of one process.
"""

from __future__ import annotations

import argparse
import os
import signal
import subprocess
import sys
import tempfile
import time
from collections import Counter
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

import h5py

from benchmarks.episodes import write_episodes
from benchmarks.processes import GENIE
from genie_core.data import read_labels
from genie_core.data.labelled.journal import journal_folder
from genie_core.data.labelled.machines import machines_file, read_machines
from genie_core.data.labelled.part_writer import host_of

NODES = {"genie-a": "10.213.77.1", "genie-b": "10.213.77.2"}
PORT = 6379
FRAMES = 128
WITHIN_S = 900.0


@contextmanager
def networks() -> Iterator[None]:
    """Two namespaces with a cable between them, for as long as the block runs."""
    one, other = NODES
    _ip(f"link add {one} type veth peer name {other}")
    try:
        for node, address in NODES.items():
            _ip(f"netns add {node}")
            _ip(f"link set {node} netns {node}")
            for words in (f"addr add {address}/24 dev {node}", f"link set {node} up", "link set lo up"):
                _ip(f"-n {node} {words}")
        yield
    finally:
        for node in NODES:
            kill(node)
            subprocess.run(["ip", "netns", "del", node], check=False)


def _ip(words: str) -> None:
    subprocess.run(["ip", *words.split()], check=True)


def kill(node: str) -> int:
    """Send SIGKILL to every process of a node; their number."""
    listed = subprocess.run(["ip", "netns", "pids", node], capture_output=True, text=True, check=False).stdout.split()
    for pid in map(int, listed):
        os.kill(pid, signal.SIGKILL)
    return len(listed)


def on(node: str, *words: str, hidden: Path | None = None) -> list[str]:
    """Return the command that runs `words` on a node, under its name; it has a folder `hidden` to itself."""
    script = 'hostname "$0"; ' + (f"mkdir -p {hidden}; mount -t tmpfs tmpfs {hidden}; " if hidden else "") + 'exec "$@"'
    return ["ip", "netns", "exec", node, "unshare", "--uts", "--mount", "sh", "-c", script, node, *words]


def start_node(node: str, folder: Path) -> None:
    """Start a raylet; the first node is the head."""
    ray = str(Path(sys.executable).with_name("ray"))
    words = [ray, "start", "--node-ip-address", NODES[node], "--num-cpus", "1", "--object-store-memory", "100000000"]
    words += ["--disable-usage-stats"]
    head, temporary = next(iter(NODES)), folder / "ray"
    if node == head:
        words += ["--head", "--port", str(PORT), "--include-dashboard", "false", "--temp-dir", str(temporary)]
    else:
        words += ["--address", f"{NODES[head]}:{PORT}"]
    command = on(node, *words, hidden=None if node == head else temporary)
    subprocess.run(command, check=True, stdout=subprocess.DEVNULL)


def finished(output: Path) -> Counter[str]:
    """Return how many episodes of a journal each node has finished."""
    found: Counter[str] = Counter()
    for path in journal_folder(output).glob("*.hdf5"):
        try:
            with h5py.File(path) as part:
                found[host_of(part) or "?"] += 1
        except OSError:  # just now being written
            continue
    return found


def main() -> int:
    """Run it; the exit status says whether all labels are those of one process."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--episodes", type=int, default=48)
    parser.add_argument("--model", default="motion")
    options = parser.parse_args()
    with tempfile.TemporaryDirectory(dir="/tmp") as name:
        folder = Path(name)
        data = write_episodes(folder / "data.hdf5", options.episodes, FRAMES)
        label = [*GENIE, "label", str(data), "--step", "1", "--keep-frames", "none"]
        many, one = folder / "many.hdf5", folder / "one.hdf5"
        subprocess.run([*label, "--model", options.model, "--out", str(one)], check=True, stdout=subprocess.DEVNULL)
        head, other = NODES
        with networks():
            for node in NODES:
                start_node(node, folder)
            began = time.monotonic()
            words = ["--model", options.model, "--out", str(many), "--engine", "ray", "--workers", "2", "--jobs", "2"]
            words += ["--worker-cpus", "1", "--address", f"{NODES[head]}:{PORT}"]
            with subprocess.Popen(on(head, *label, *words), stdout=subprocess.DEVNULL) as driver:
                while (done := finished(many))[head] < 2 or done[other] < 2:
                    if driver.poll() is not None or time.monotonic() - began > WITHIN_S:
                        driver.kill()
                        print(f"no node was killed: {dict(done)} episodes were finished, status {driver.returncode}")
                        return 1
                    time.sleep(0.05)
                print(f"{other} killed, {kill(other)} processes, after {dict(done)} episodes", flush=True)
                status = driver.wait(WITHIN_S)
            taken = time.monotonic() - began
        if status:
            return status
        machines = Counter(entry.host for entry in read_machines(machines_file(many)).episodes)
        print(f"{options.episodes} episodes of {FRAMES} frames in {taken:.0f} s: {dict(machines)}")
        different = [demo for demo in (f"demo_{i}" for i in range(options.episodes)) if not _same(one, many, demo)]
        print(f"labels that differ from those of one process: {len(different)} episodes {different}")
        return int(bool(different))


def _same(one: Path, other: Path, demo: str) -> bool:
    """Return whether two files hold the same bits for an episode."""
    (a, _), (b, _) = read_labels(one, demo), read_labels(other, demo)
    return all(
        getattr(a, key).tobytes() == getattr(b, key).tobytes() for key in ("code", "latent", "confidence", "valid")
    )


if __name__ == "__main__":
    sys.exit(main())
