"""What an installation holds: every package whole and typed, and nothing that only a checkout needs."""

from __future__ import annotations

from pathlib import Path, PurePosixPath

import pytest
from hatchling.builders.wheel import WheelBuilder

ROOT = Path(__file__).resolve().parents[2]
PACKAGES = {
    "genie_api": "protos",
    "genie_core": ".",
    "genie_service": "service",
    "genie_client": "clients",
    "genie_play": "clients",
    "genie_view": "clients",
    "genie_cli": "clients",
}
"""Each with the folder that it lies in."""

KINDS = {".py", ".pyi", ".proto", ".typed", ".safetensors", ".json", ".md", ".hdf5", ".html", ".css", ".js"}


@pytest.fixture(scope="module")
def shipped() -> set[str]:
    """Paths in the wheel, as the build backend lists them."""
    return {file.distribution_path for file in WheelBuilder(str(ROOT)).recurse_included_files()}


def test_every_module_of_every_package_is_shipped(shipped: set[str]) -> None:
    for package, folder in PACKAGES.items():
        base = ROOT / folder
        sources = {
            path.relative_to(base).as_posix()
            for pattern in ("*.py", "*.pyi", "*.proto")
            for path in (base / package).rglob(pattern)
        }
        assert sources
        assert not sources - shipped, f"{package}: not in the wheel"


def test_every_package_says_that_it_is_typed(shipped: set[str]) -> None:
    assert {f"{package}/py.typed" for package in PACKAGES} <= shipped


def test_the_model_and_the_sample_are_shipped(shipped: set[str]) -> None:
    bundle = {f"genie_core/bundles/tiny/{name}.safetensors" for name in ("tokenizer", "lam", "dynamics")}
    assert bundle | {"genie_core/bundles/tiny/config.json", "genie_core/data/samples/panda_lift.hdf5"} <= shipped


def test_nothing_else_is_shipped(shipped: set[str]) -> None:
    paths = [PurePosixPath(name) for name in shipped]
    assert {path.parts[0] for path in paths} == set(PACKAGES)
    assert {path.suffix or f".{path.name.split('.')[-1]}" for path in paths} <= KINDS
    assert not [path for path in paths if "test" in path.name or "__pycache__" in path.parts]


def test_the_wheel_is_for_every_system() -> None:
    builder = WheelBuilder(str(ROOT))
    assert builder.get_default_tag() == "py3-none-any"
