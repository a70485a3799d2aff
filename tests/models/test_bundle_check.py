"""Broken bundles: told before anything of the size that they state is allocated."""

from __future__ import annotations

import resource
import subprocess
import sys
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
    assert time.monotonic() - began < 60


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


def test_shapes_are_those_of_the_networks_and_found_without_the_compiler() -> None:
    """PyTorch loads its compiler when it computes numbers on the meta device: 1.7 s for every command and server."""
    script = (
        "import sys, torch\n"
        "from genie_core.models.bundle_check import _shapes\n"
        "from genie_core.models.genie import Genie\n"
        "from genie_core.models.presets import preset\n"
        "found = {name: _shapes(preset(name)) for name in ('tiny', 'motion')}\n"
        "assert 'torch._dynamo' not in sys.modules\n"
        "for name, shapes in found.items():\n"
        "    with torch.device('meta'):\n"
        "        genie = Genie(preset(name))\n"
        "    for component, of in shapes.items():\n"
        "        tensors = getattr(genie, component).state_dict()\n"
        "        assert of == {key: tuple(tensor.shape) for key, tensor in tensors.items()}\n"
    )
    subprocess.run([sys.executable, "-c", script], check=True)
