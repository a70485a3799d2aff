from __future__ import annotations

import dataclasses
from types import SimpleNamespace

import numpy as np
import pytest
import torch

from genie_core.inference import Block, Encoded, Labeller, Simulator, shapes
from genie_core.inference.shapes import ExactShapes, draw_shapes, label_shapes, threads_of_this_thread
from genie_core.models.bundle import Bundle, load_bundle
from tests.factories.bundles import make_nano_bundle


@pytest.fixture(scope="module")
def bundle(tmp_path_factory: pytest.TempPathFactory) -> Bundle:
    return load_bundle(make_nano_bundle(tmp_path_factory.mktemp("bundles") / "nano"))


class Sensitive(Labeller):
    """Labels of a batch of 4 or more, or of more than one thread, differ in the last bit of one number."""

    by_threads = False

    def encode(self, blocks: list[Block]) -> list[Encoded]:  # type: ignore[override]
        encoded = super().encode(blocks)
        if (torch.get_num_threads() > 1) if self.by_threads else (len(blocks) >= 4):
            latent = encoded[-1].latent.copy()
            latent[3, 1] = np.nextafter(latent[3, 1], np.float32(2))
            encoded[-1] = dataclasses.replace(encoded[-1], latent=latent)
        return encoded


def test_sizes_that_change_a_bit_are_found_out(bundle: Bundle) -> None:
    assert label_shapes(Sensitive(bundle), largest=8, threads=1, within_s=600.0).sizes == (1, 2)


def test_threads_that_change_a_bit_are_found_out(bundle: Bundle) -> None:
    labeller = Sensitive(bundle)
    labeller.by_threads = True
    found = label_shapes(labeller, largest=2, threads=2, within_s=600.0)
    assert found == ExactShapes((1, 2), in_threads=False)


class Slow(Labeller):
    """Labels take longer, by a clock of their own, where there are as many threads as `slow_in`."""

    slow_in = 1
    now = 0.0

    def encode(self, blocks: list[Block]) -> list[Encoded]:  # type: ignore[override]
        self.now += 2.0 if torch.get_num_threads() == self.slow_in else 1.0
        return super().encode(blocks)


@pytest.mark.parametrize("slow_in", [1, 2])
def test_threads_are_used_where_they_pay(bundle: Bundle, monkeypatch: pytest.MonkeyPatch, slow_in: int) -> None:
    labeller = Slow(bundle)
    labeller.slow_in = slow_in
    monkeypatch.setattr(shapes, "time", SimpleNamespace(perf_counter=lambda: labeller.now))
    assert label_shapes(labeller, largest=1, threads=2).in_threads == (slow_in == 1)


def test_the_first_size_is_always_there_and_none_is_above_the_largest(bundle: Bundle) -> None:
    assert label_shapes(Labeller(bundle), largest=1, threads=1).sizes == (1,)
    assert label_shapes(Labeller(bundle), largest=8, threads=1, within_s=0).sizes == (1,)
    assert set(label_shapes(Labeller(bundle), largest=7, threads=1).sizes) <= {1, 2, 4}


def test_sizes_that_are_called_exact_are(bundle: Bundle) -> None:
    labeller = Labeller(bundle)
    sizes = label_shapes(labeller, largest=8, threads=1).sizes
    frames = np.random.default_rng(5).integers(256, size=(8, 16, 32, 32, 3), dtype=np.uint8)
    blocks = [Block(f, labeller.initial_state()) for f in frames]
    alone = [labeller.encode([block])[0] for block in blocks]
    for size in sizes:
        for a, b in zip(alone, labeller.encode(blocks[:size]), strict=False):
            np.testing.assert_array_equal(a.latent, b.latent)


def test_streams_are_drawn_one_by_one_on_a_cpu(bundle: Bundle) -> None:
    assert draw_shapes(Simulator(bundle), largest=8, threads=2).sizes == (1,)


def test_a_batch_is_as_large_as_fits_and_no_smaller_than_the_smallest() -> None:
    assert [ExactShapes((1, 2, 4), in_threads=True).fit(n) for n in (1, 2, 3, 4, 9)] == [1, 2, 2, 4, 4]
    assert [ExactShapes((8,), in_threads=True).fit(n) for n in (1, 8, 9)] == [8, 8, 8]


def test_threads_are_given_back() -> None:
    before = torch.get_num_threads()
    with threads_of_this_thread(before + 1):
        assert torch.get_num_threads() == before + 1
    assert torch.get_num_threads() == before
