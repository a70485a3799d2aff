"""What fuzzing has found stays mended: every input that once was a find is refused in words, and so is what is near."""

from __future__ import annotations

import gzip
import random
from pathlib import Path

import pytest

from tests.fuzz.server import mutated
from tests.fuzz.targets import MODULES, target_named
from tests.fuzz.trial import try_input

FINDS = Path(__file__).parent / "finds"
NATIVE = "native-"
"""Beginning of the names of inputs that a library never comes back from; `make fuzz` tells them from new ones."""

FILES = sorted(file for file in FINDS.glob("*/*.gz") if not file.name.startswith(NATIVE))
SEEDED = sorted(set(MODULES) - {"hdf5", "labelled", "video", "webdataset"})
"""Targets whose bytes are read by our own code, or a library that has never hung."""


@pytest.mark.parametrize("file", FILES, ids=lambda file: f"{file.parent.name}/{file.stem}")
def test_what_was_found_is_refused_in_words(file: Path, tmp_path: Path) -> None:
    found, _ = try_input(target_named(file.parent.name), gzip.decompress(file.read_bytes()), tmp_path)
    assert found is None, found


@pytest.mark.parametrize("name", SEEDED)
def test_a_target_reads_its_seeds_and_what_is_near_them(name: str, tmp_path: Path) -> None:
    target, rng = target_named(name), random.Random(name)
    (tmp_path / "seeds").mkdir()
    (tmp_path / "files").mkdir()
    for seed in target.seeds(tmp_path / "seeds"):
        for data in (seed, seed[: len(seed) // 2], mutated(seed, rng)):
            found, _ = try_input(target, data, tmp_path / "files")
            assert found is None, found
