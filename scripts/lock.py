"""Writes deploy/requirements/: what goes into the image, each version with the hashes of its files.

``python scripts/lock.py`` resolves anew, within constraints.txt, for 64-bit x86 Linux and the image's Python; it needs
uv and a package index. PyTorch's builds without CUDA come from an index of its own; where it cannot be reached, set
UV_FIND_LINKS to a folder with the wheel.
"""

from __future__ import annotations

import os
import subprocess
import sys
import tempfile
import tomllib
from pathlib import Path

ROOT = Path(__file__).resolve().parents[1]
FOLDER = ROOT / "deploy" / "requirements"
PYTHON = "3.11"
"""The image's: BASE in the Dockerfile."""

_HEADER = "# Made by `make lock`; the image is installed from it with --require-hashes.\n"


def torch_pin() -> str:
    """Return the version of PyTorch in constraints.txt."""
    lines = (ROOT / "constraints.txt").read_text(encoding="utf-8").splitlines()
    return next(line for line in lines if line.startswith("torch=="))


def compile_lock(name: str, requirements: list[str], overrides: list[str]) -> None:
    """Resolve requirements and write one file."""
    with tempfile.TemporaryDirectory() as folder:
        wanted, changed = Path(folder) / "wanted.in", Path(folder) / "overrides.txt"
        wanted.write_text("\n".join(requirements) + "\n", encoding="utf-8")
        changed.write_text("\n".join(overrides) + "\n", encoding="utf-8")
        command = [sys.executable, "-m", "uv", "pip", "compile", "--quiet", "--no-header", "--no-annotate"]
        command += ["--generate-hashes", "--python-version", PYTHON, "--python-platform", "x86_64-manylinux_2_28"]
        command += ["--only-binary", ":all:", "--constraint", str(ROOT / "constraints.txt")]
        environment = dict(os.environ)
        has_torch = environment.pop("UV_FIND_LINKS", None)
        if overrides:
            command += ["--override", str(changed)]
            command += ["--find-links", has_torch] if has_torch else ["--torch-backend", "cpu"]
        found = subprocess.run(
            [*command, str(wanted)], check=True, capture_output=True, text=True, cwd=ROOT, env=environment
        )
    (FOLDER / f"{name}.txt").write_text(_HEADER + found.stdout, encoding="utf-8")


def requirements_of_the_image() -> list[str]:
    """Return what the base install and the service ask for."""
    project = tomllib.loads((ROOT / "pyproject.toml").read_text(encoding="utf-8"))["project"]
    extras = project["optional-dependencies"]
    texts = [*project["dependencies"], *extras["core"], *extras["service"]]
    return [text for text in texts if not text.startswith(project["name"])]


def main() -> None:
    """Write all files."""
    FOLDER.mkdir(parents=True, exist_ok=True)
    compile_lock("cpu", requirements_of_the_image(), [f"{torch_pin()}+cpu"])
    compile_lock("cuda", requirements_of_the_image(), [])
    backend = tomllib.loads((ROOT / "pyproject.toml").read_text(encoding="utf-8"))["build-system"]["requires"]
    compile_lock("build", ["build>=1.2", *backend], [])


if __name__ == "__main__":
    main()
