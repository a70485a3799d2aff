"""Runs other projects' own loaders on what Genie writes, each in an environment of its own.

LeRobot's has Genie's client too, which labels from there: whether both fit into one environment is part of the check.

    python conformance/run.py                      all tools; with the Python of an environment that has Genie
    python conformance/run.py lerobot robomimic    some of them
    python conformance/run.py act --source act=/path/to/checkout

Environments, data and the report are kept in ``runs/conformance``. Exit code 0: all that ran passed and all could be
installed; 1: a check failed; 3: none failed, but a tool could not be installed.
"""

from __future__ import annotations

import argparse
import hashlib
import json
import os
import subprocess
import sys
import time
import venv
from contextlib import AbstractContextManager, nullcontext
from dataclasses import dataclass
from pathlib import Path

HERE = Path(__file__).resolve().parent
RUNS = HERE.parent / "runs" / "conformance"
INSTALL_WITHIN_S = 3600
CHECK_WITHIN_S = 1800


@dataclass(frozen=True)
class Tool:
    """A project whose code reads our files.

    Attributes:
        script: of this folder, run by the tool's Python with the data folder as its argument.
        requirements: what pip installs, pinned.
        repository: where its code is, if not on PyPI.
        commit: which of it.
        is_package: whether pip installs the repository, for what it needs; its code is put on the path in any case.
        labels: whether Genie's client is installed beside the tool, and labels from there with a server of ours.

    """

    script: str
    requirements: tuple[str, ...]
    repository: str | None = None
    commit: str | None = None
    is_package: bool = False
    labels: bool = False


TORCH = ("torch==2.10.0", "torchvision==0.25.0")
"""The newest that lerobot 0.4.4 allows."""

TOOLS = {
    "lerobot": Tool(
        "check_lerobot.py",
        ("lerobot==0.4.4", *TORCH, "torchcodec==0.10.0", "av==15.1.0", "datasets==4.8.5", "numpy==2.2.6"),
        labels=True,
    ),
    "robomimic": Tool(
        "check_robomimic.py",
        ("h5py==3.16.0", "numpy==2.4.6", "six==1.17.0", *TORCH),
        "https://github.com/ARISE-Initiative/robomimic",
        "d309eaecc18acf4152a830a895a6984b8ac71b05",
        is_package=True,
    ),
    "robomimic-0.3": Tool(
        "check_robomimic.py", ("robomimic==0.3.0", "h5py==3.16.0", "numpy==2.4.6", "six==1.17.0", *TORCH)
    ),
    "rerun": Tool("check_rerun.py", ("rerun-sdk==0.41.0", "pyarrow==26.0.1", "numpy==2.4.6")),
    "tfds": Tool("check_tfds.py", ("tensorflow-cpu==2.21.0", "tensorflow-datasets==4.9.10")),
    "act": Tool(
        "check_act.py",
        ("h5py==3.16.0", "numpy==2.4.6", "ipython==9.7.0", "torch==2.13.0"),
        "https://github.com/tonyzhaozh/act",
        "742c753c0d4a5d87076c8f69e5628c79a8cc5488",
    ),
}
"""``robomimic`` is version 0.5.0 and its next commit, without which it fetches a language model on import."""


class NotInstalledError(Exception):
    """A tool's environment cannot be made here; the text says what pip or git said."""


def main() -> int:
    """Check the tools that the command line names."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("tools", nargs="*", metavar="tool", help=f"of {', '.join(TOOLS)} [default: all]")
    parser.add_argument(
        "--source", action="append", default=[], metavar="TOOL=PATH", help="a checkout that is there already"
    )
    arguments = parser.parse_args()
    wanted = arguments.tools or list(TOOLS)
    sources = dict(item.split("=", 1) for item in arguments.source)
    unknown = {*wanted, *sources} - set(TOOLS)
    if unknown:
        parser.error(f"no tool {', '.join(sorted(unknown))}; there are {', '.join(TOOLS)}")
    RUNS.mkdir(parents=True, exist_ok=True)
    data = make_data()
    outcomes = {name: check(name, TOOLS[name], data, sources.get(name)) for name in wanted}
    report = "\n".join(f"{name:14} {outcome}" for name, outcome in outcomes.items())
    (RUNS / "report.txt").write_text(report + "\n")
    print(f"\n{report}")
    said = [outcome.split(":")[0] for outcome in outcomes.values()]
    return 1 if "FAILED" in said else 3 if "NOT INSTALLED" in said else 0


def make_data() -> Path:
    """Label and export the sample with this Python's Genie, afresh."""
    data = RUNS / "data"
    print(f"== data: {data}", flush=True)
    subprocess.run([sys.executable, str(HERE / "make_data.py"), str(data)], check=True)
    return data


def check(name: str, tool: Tool, data: Path, source: str | None) -> str:
    """Run one tool's script; what came of it, in a line."""
    folder = RUNS / name
    print(f"\n== {name}", flush=True)
    try:
        code = checkout(folder, tool, source)
        python = environment(folder, tool, code)
    except NotInstalledError as error:
        print(error)
        return f"NOT INSTALLED: {str(error).splitlines()[-1]}"
    settings = {"CUDA_VISIBLE_DEVICES": "", "HF_HUB_OFFLINE": "1", "HF_HOME": str(folder / "cache")}
    if code is not None:
        settings["PYTHONPATH"] = str(code)
    start = time.monotonic()
    command = [str(python), str(HERE / tool.script), str(data), str(folder)]
    with server() if tool.labels else nullcontext("") as address:
        environ = {**os.environ, **settings, "GENIE_SERVER": address}
        ended = subprocess.run(command, env=environ, check=False, timeout=CHECK_WITHIN_S)
    seconds = time.monotonic() - start
    return f"passed: {seconds:.0f} s" if ended.returncode == 0 else f"FAILED: exit code {ended.returncode}"


def server() -> AbstractContextManager[str]:
    """A server of this Python's Genie with the model that labels by default; its address."""
    from genie_client.embedded import embedded_server
    from genie_core.bundles import DEFAULT

    return embedded_server(model=DEFAULT)


def checkout(folder: Path, tool: Tool, source: str | None) -> Path | None:
    """The tool's code where it is not on PyPI: `source`, or a clone at the pinned commit."""
    if tool.repository is None or tool.commit is None:
        return None
    if source is not None:
        return Path(source).resolve()
    code = folder / "code"
    if not code.is_dir():
        print(f"cloning {tool.repository}", flush=True)
        partial = folder / "code.partial"
        run_quietly(["rm", "-rf", str(partial)])
        run_quietly(["git", "clone", "--quiet", tool.repository, str(partial)])
        run_quietly(["git", "-C", str(partial), "checkout", "--quiet", tool.commit])
        partial.rename(code)
    return code


def environment(folder: Path, tool: Tool, code: Path | None) -> Path:
    """The Python of the tool's own environment, made or kept from the last run."""
    installed = [*tool.requirements, *([str(code)] if code is not None and tool.is_package else [])]
    stamp = folder / "venv" / hashlib.sha256("\n".join(installed).encode()).hexdigest()[:16]
    python = folder / "venv" / "bin" / "python"
    if not stamp.exists():
        print(f"installing {' '.join(installed)}", flush=True)
        venv.create(folder / "venv", with_pip=True, clear=True)
        run_quietly([str(python), "-m", "pip", "install", "--quiet", *installed])
        stamp.touch()
    if tool.labels:  # beside what is there: pip must find it all good enough
        before = versions(python)
        run_quietly([str(python), "-m", "pip", "install", "--quiet", str(HERE.parent)])
        moved = sorted(before.items() - versions(python).items())
        if moved:
            raise NotInstalledError(f"Genie's client moved {', '.join(f'{name} {version}' for name, version in moved)}")
    return python


def versions(python: Path) -> dict[str, str]:
    """What is installed beside Genie, by name."""
    listed = subprocess.run([str(python), "-m", "pip", "list", "--format=json"], capture_output=True, check=True)
    return {one["name"]: one["version"] for one in json.loads(listed.stdout) if one["name"] != "genie-latent"}


def run_quietly(command: list[str]) -> None:
    """Run a command that says nothing if all is well. Raises NotInstalledError with what it says otherwise."""
    environ = {**os.environ, "GIT_TERMINAL_PROMPT": "0"}
    try:
        ended = subprocess.run(command, env=environ, capture_output=True, text=True, timeout=INSTALL_WITHIN_S)
    except (OSError, subprocess.TimeoutExpired) as error:
        raise NotInstalledError(str(error)) from error
    if ended.returncode:
        raise NotInstalledError("\n".join(ended.stderr.strip().splitlines()[-12:]) or f"exit code {ended.returncode}")


if __name__ == "__main__":
    sys.exit(main())
