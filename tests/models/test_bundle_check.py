"""Broken bundles: told before anything of the size that they state is allocated."""

from __future__ import annotations

import resource
import time
from collections.abc import Callable
from pathlib import Path

import numpy as np
import pytest

from genie_core.errors import ModelError
from genie_core.models.bundle import load_bundle, read_bundle_info
from tests.factories.bundles import BROKEN_WHEN_LOADED, LISTED_AS_BROKEN, make_nano_bundle, to_bfloat16

Break = Callable[[Path], object]


@pytest.mark.parametrize(("broken", "words"), LISTED_AS_BROKEN.values(), ids=LISTED_AS_BROKEN.keys())
def test_what_the_headers_tell_is_told_without_allocating(tmp_path: Path, broken: Break, words: str) -> None:
    bundle = make_nano_bundle(tmp_path / "b")
    broken(bundle)
    before, began = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss, time.monotonic()
    for read in (read_bundle_info, load_bundle):
        with pytest.raises(ModelError, match=words):
            read(bundle)
    assert resource.getrusage(resource.RUSAGE_SELF).ru_maxrss - before < 64 * 1024  # KiB
    assert time.monotonic() - began < 20


@pytest.mark.parametrize(("broken", "words"), BROKEN_WHEN_LOADED.values(), ids=BROKEN_WHEN_LOADED.keys())
def test_weights_that_are_no_numbers_are_never_used(tmp_path: Path, broken: Break, words: str) -> None:
    bundle = make_nano_bundle(tmp_path / "b")
    broken(bundle)
    read_bundle_info(bundle)
    with pytest.raises(ModelError, match=words):
        load_bundle(bundle)


def test_a_codebook_in_another_precision_is_read(tmp_path: Path) -> None:
    bundle = make_nano_bundle(tmp_path / "b")
    exact = read_bundle_info(bundle).codebook
    to_bfloat16(bundle)
    rounded = read_bundle_info(bundle).codebook
    assert rounded.dtype == np.float32
    np.testing.assert_allclose(rounded, exact, atol=0.01)
    np.testing.assert_array_equal(load_bundle(bundle).genie.lam.quantizer.codebook.numpy(), rounded)
