"""Tries the lower bound of every dependency: tests in an environment that has just those versions.

    python scripts/lower_bounds.py            the environment is kept in .venv-lowest
    python scripts/lower_bounds.py --print    only says which versions

Tried are the base install and the extras `core`, `service`, `view`, `play`, `gym`, `ray`, `mcap`, `rosbag`, `zarr` and
`otel`, with the lowest test tools that `dev` allows.
Not tried: torch, whose older releases bring gigabytes of CUDA with them (constraints.txt says which is used); `s3`,
for want of a store; and `sim`.
"""

from __future__ import annotations

import subprocess
import sys
import tomllib
import venv
from pathlib import Path

from packaging.requirements import Requirement

ROOT = Path(__file__).resolve().parent.parent
ENVIRONMENT = ROOT / ".venv-lowest"
EXTRAS = ("core", "service", "view", "play", "gym", "ray", "mcap", "rosbag", "zarr", "otel")
AS_TESTED = {"torch"}
"""Taken from constraints.txt."""

TEST_TOOLS = {
    "aiohttp",
    "pytest",
    "pytest-timeout",
    "pytest-xdist",
    "hypothesis",
    "promql-parser",
    "selenium",
    "trustme",
}
TESTS = (
    "tests/data",
    "tests/client",
    "tests/view",
    "tests/play",
    "tests/cli",
    "tests/service",
    "tests/models",
    "tests/inference",
    "tests/e2e",
)

NOT_TRIED = "tests/cli/test_documentation.py"
"""The documentation is made with the typer of constraints.txt, whose insides it reads."""


def lowest() -> list[str]:
    """Return the requirements that pin every direct dependency to the lowest version that pyproject.toml allows."""
    project = tomllib.loads((ROOT / "pyproject.toml").read_text(encoding="utf-8"))["project"]
    optional = project["optional-dependencies"]
    wanted = [Requirement(text) for text in [*project["dependencies"], *(t for name in EXTRAS for t in optional[name])]]
    wanted += [tool for tool in map(Requirement, optional["dev"]) if tool.name in TEST_TOOLS]
    return [_pinned(one) for one in wanted if one.name != project["name"]]


def _pinned(requirement: Requirement) -> str:
    if requirement.name in AS_TESTED:
        lines = (ROOT / "constraints.txt").read_text(encoding="utf-8").splitlines()
        return next(line.split()[0] for line in lines if line.startswith(f"{requirement.name}=="))
    bounds = [part.version for part in requirement.specifier if part.operator == ">="]
    if len(bounds) != 1:
        sys.exit(f"pyproject.toml: {requirement}: got {len(bounds)} lower bounds, expected 1 (>=)")
    return f"{requirement.name}=={bounds[0]}"


def main() -> None:
    """Make the environment afresh, and run the tests in it."""
    pins = lowest()
    print("\n".join(pins), flush=True)
    if "--print" in sys.argv[1:]:
        return
    venv.create(ENVIRONMENT, with_pip=True, clear=True)
    python = str(ENVIRONMENT / "bin" / "python")
    subprocess.run([python, "-m", "pip", "install", "--quiet", *pins], check=True)
    subprocess.run([python, "-m", "pip", "install", "--quiet", "--no-deps", "--editable", str(ROOT)], check=True)
    subprocess.run([python, "-m", "pip", "check"], check=True)
    tests = [python, "-m", "pytest", "-n", "2", "-q", "--ignore", NOT_TRIED, *TESTS]
    sys.exit(subprocess.run(tests, cwd=ROOT, check=False).returncode)


if __name__ == "__main__":
    main()
