"""What pyproject.toml asks for agrees with the code that asks for it."""

from __future__ import annotations

import re
import tomllib
from pathlib import Path

import pytest
from packaging.requirements import Requirement
from packaging.version import Version

ROOT = Path(__file__).resolve().parents[2]
PROJECT = tomllib.loads((ROOT / "pyproject.toml").read_text(encoding="utf-8"))["project"]
BASE = {one.name: one for one in map(Requirement, PROJECT["dependencies"])}
GENERATED = ROOT / "protos" / "genie_api"

LEROBOT = {
    "av": ["15.0.0", "15.1.0", "18.1.0"],
    "protobuf": ["6.31.1", "6.33.5", "7.36.2"],
    "grpcio": ["1.73.1", "1.85.1"],
    "numpy": ["2.0.0", "2.2.6"],
    "pyarrow": ["18.0.0", "21.0.0", "29.0.0"],
    "fsspec": ["2024.6.0", "2025.3.0", "2026.2.0"],
    "pydantic": ["2.10.0"],
}
"""Both ends of what lerobot 0.4.4 to 0.6.1, with the packages that it brings, leaves to choose from."""


def lower_bound(requirement: Requirement) -> Version:
    (bound,) = [part.version for part in requirement.specifier if part.operator == ">="]
    return Version(bound)


@pytest.mark.parametrize(("name", "version"), [(name, v) for name, versions in LEROBOT.items() for v in versions])
def test_the_base_install_fits_into_the_environment_of_lerobot(name: str, version: str) -> None:
    assert version in BASE[name].specifier


def test_nothing_in_the_base_install_ties_protobuf_to_one_major_version() -> None:
    tied = {"grpcio-channelz", "grpcio-health-checking", "grpcio-reflection", "grpcio-status", "grpcio-tools"}
    assert not tied & BASE.keys()


@pytest.mark.parametrize("path", sorted(GENERATED.glob("*/*_pb2.py")), ids=lambda path: path.name)
def test_generated_messages_run_on_the_oldest_protobuf_allowed(path: Path) -> None:
    found = re.search(r"^# Protobuf Python Version: (\S+)$", path.read_text(encoding="utf-8"), re.MULTILINE)
    assert found is not None
    assert Version(found[1]) <= lower_bound(BASE["protobuf"])


@pytest.mark.parametrize("path", sorted(GENERATED.glob("*/*_pb2_grpc.py")), ids=lambda path: path.name)
def test_generated_services_run_on_the_oldest_grpc_allowed(path: Path) -> None:
    found = re.search(r"^GRPC_GENERATED_VERSION = '(\S+)'$", path.read_text(encoding="utf-8"), re.MULTILINE)
    assert found is not None
    assert Version(found[1]) <= lower_bound(BASE["grpcio"])


def test_every_requirement_has_one_lower_bound_and_a_version_that_satisfies_it_in_the_constraints() -> None:
    lines = (ROOT / "constraints.txt").read_text(encoding="utf-8").splitlines()
    pins = {one.name.lower(): one for line in lines if line and line[0] != "#" and (one := Requirement(line))}
    texts = [
        *PROJECT["dependencies"],
        *(
            t
            for name in ("core", "service", "view", "mcap", "rosbag", "zarr")
            for t in PROJECT["optional-dependencies"][name]
        ),
    ]
    for requirement in map(Requirement, texts):
        if requirement.name != PROJECT["name"]:
            assert lower_bound(requirement)
            (pin,) = pins[requirement.name].specifier
            assert pin.version in requirement.specifier, requirement
