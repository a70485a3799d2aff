"""Compares the arithmetic that the networks do in a second with the fastest matrix product on the same threads."""

from __future__ import annotations

from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor
from functools import partial
from statistics import median

import torch

from benchmarks.encoder import in_precision, run_in_lanes
from benchmarks.flops import decoder_flops, encoder_flops, sampler_flops
from benchmarks.matmul import matmul_sides
from benchmarks.measured import Measured
from benchmarks.networks import BATCH, STEPS, WINDOW, coinrun, lam_config, lam_of, make_genie
from benchmarks.rollout import SAMPLER_PRECISION, start_rollout
from benchmarks.row import Samples
from benchmarks.timing import ROUNDS, Action, interleaved, ratios
from genie_core.inference import Rollout
from genie_core.inference.shapes import threads_of_this_thread

_ENCODER_PRECISION = "fp32"


def _measure(
    name: str, work: Callable[[], object], flops: int, precision: str, rounds: int, pool: ThreadPoolExecutor, lanes: int
) -> list[Measured]:
    products = matmul_sides(precision)

    def in_lanes(side: Callable[[], None]) -> None:
        """A product in each core at once, which is faster than one product in all of them."""
        list(pool.map(lambda _: _in_one_thread(side), range(lanes)))

    sides: dict[str, Action] = {shape: partial(in_lanes, side) for shape, (side, _) in products.items()}
    seconds = interleaved({name: work, **sides}, rounds)
    rates = {shape: [lanes * count / s for s in seconds[shape]] for shape, (_, count) in products.items()}
    best = max(rates, key=lambda shape: median(rates[shape]))
    ours = [flops / s for s in seconds[name]]
    shares = ratios(ours, rates[best])
    return [
        Measured(
            value=median(shares),
            measured={
                name: Samples.of(ours, "FLOP/s"),
                "matmul": Samples.of(rates[best], "FLOP/s"),
                "share": Samples.of(shares, "x"),
            },
            facts={
                "precision": precision,
                "threads": torch.get_num_threads(),
                "gflop": round(flops / 1e9, 2),
                "best_product": best,
            },
        )
    ]


def _in_one_thread(work: Callable[[], object]) -> None:
    with threads_of_this_thread(1):
        work()


def encoder(quick: bool) -> list[Measured]:
    """Return the latent action encoder's share, at the batch of `benchmarks.encoder`, in the default precision."""
    config, lanes = coinrun(), torch.get_num_threads()
    lam = in_precision(lam_of(make_genie(config)), _ENCODER_PRECISION)
    batch = lanes if quick else max(lanes, BATCH)
    pixels = torch.rand(batch, WINDOW, 3, 64, 64, generator=torch.Generator().manual_seed(1)) - 0.5
    flops = batch * encoder_flops(lam_config(config), 64, 64, WINDOW, WINDOW)
    with ThreadPoolExecutor(lanes) as pool:
        work = partial(run_in_lanes, lam, pixels, pool, lanes)
        return _measure("encoder", work, flops, _ENCODER_PRECISION, 2 if quick else ROUNDS, pool, lanes)


def sampler(quick: bool) -> list[Measured]:
    """Drawing a frame of a rollout in each lane, its window full: every MaskGIT step, the pass after, the decoder."""
    config, lanes = coinrun(), torch.get_num_threads()
    steps = 2 if quick else STEPS
    genie = make_genie(config)
    rollouts = [start_rollout(genie, steps) for _ in range(lanes)]
    flops = lanes * (sampler_flops(config, steps, WINDOW) + decoder_flops(config))

    def step(rollout: Rollout) -> None:
        _in_one_thread(partial(rollout.step, [0]))

    with ThreadPoolExecutor(lanes) as pool:
        work = partial(_all, pool, step, rollouts)
        return _measure("sampler", work, flops, SAMPLER_PRECISION, 2 if quick else ROUNDS, pool, lanes)


def _all(pool: ThreadPoolExecutor, work: Callable[[Rollout], None], rollouts: list[Rollout]) -> None:
    list(pool.map(work, rollouts))


__all__ = ["encoder", "sampler"]
