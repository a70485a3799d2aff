"""What the image is installed from: one version of everything that is asked for, as tested, each file by its hash."""

from __future__ import annotations

import re
import tomllib
from pathlib import Path

import pytest
from packaging.requirements import Requirement
from packaging.utils import canonicalize_name
from packaging.version import Version

ROOT = Path(__file__).resolve().parents[2]
FOLDER = ROOT / "deploy" / "requirements"
PROJECT = tomllib.loads((ROOT / "pyproject.toml").read_text(encoding="utf-8"))
HASH = re.compile(r"--hash=sha256:[0-9a-f]{64}")


def locked(name: str) -> dict[str, tuple[Version, int]]:
    """Version and number of hashes of each package."""
    text = (FOLDER / f"{name}.txt").read_text(encoding="utf-8").replace("\\\n", " ")
    found = {}
    for line in text.splitlines():
        if line and not line.startswith("#"):
            requirement = Requirement(line.split("--hash")[0].split(";")[0].strip())
            (pin,) = requirement.specifier
            assert pin.operator == "=="
            found[canonicalize_name(requirement.name)] = Version(pin.version), len(HASH.findall(line))
    return found


def wanted() -> list[Requirement]:
    """What the base install and the service ask for."""
    project = PROJECT["project"]
    texts = [
        *project["dependencies"],
        *(t for extra in ("core", "service") for t in project["optional-dependencies"][extra]),
    ]
    return [one for one in map(Requirement, texts) if one.name != project["name"]]


@pytest.mark.parametrize("name", ["cpu", "cuda"])
def test_the_image_gets_what_pyproject_asks_for_by_hash(name: str) -> None:
    there = locked(name)
    assert all(hashes for _, hashes in there.values())
    for requirement in wanted():
        version, _ = there[canonicalize_name(requirement.name)]
        assert version.public in requirement.specifier, f"{requirement}: locked {version}; run `make lock`"
    assert (there["torch"][0].local == "cpu") is (name == "cpu")
    assert any(package.startswith("nvidia-") for package in there) is (name == "cuda")


@pytest.mark.parametrize("name", ["cpu", "cuda", "build"])
def test_the_image_has_the_versions_that_are_tested(name: str) -> None:
    lines = (ROOT / "constraints.txt").read_text(encoding="utf-8").splitlines()
    tested = {
        canonicalize_name(one.name): Version(next(iter(one.specifier)).version)
        for one in (Requirement(line) for line in lines if line and line[0] != "#")
    }
    for package, (version, _) in locked(name).items():
        assert Version(version.public) == tested.get(package, Version(version.public)), f"{package}: run `make lock`"


def test_the_image_is_built_with_what_the_project_says() -> None:
    there = locked("build")
    for requirement in map(Requirement, PROJECT["build-system"]["requires"]):
        assert there[canonicalize_name(requirement.name)][0] in requirement.specifier


def test_what_is_locked_is_for_the_images_python() -> None:
    (base,) = re.findall(r"^ARG BASE=python:(\d+\.\d+)-slim", (ROOT / "Dockerfile").read_text(encoding="utf-8"), re.M)
    script = (ROOT / "scripts" / "lock.py").read_text(encoding="utf-8")
    assert f'PYTHON = "{base}"' in script
