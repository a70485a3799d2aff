"""Times the latent action encoder against the plain one with the same weights."""

from __future__ import annotations

import time
from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor
from copy import deepcopy
from functools import partial
from statistics import median

import torch
from torch import Tensor

from benchmarks.baselines import PlainLatentActionEncoder
from benchmarks.measured import Measured
from benchmarks.networks import BATCH, WINDOW, lam_of, make_encoders
from benchmarks.row import Samples
from benchmarks.timing import ROUNDS, interleaved, ratios
from genie_core.inference.shapes import threads_of_this_thread
from genie_core.models.genie import Genie
from genie_core.models.lam import LatentActionModel

PRECISION = "fp32"
"""``fp32``, in which labels are computed by default, or ``bf16``, as by ``genie serve --precision bfloat16``.

The published ratio is of both sides in this one; the others are beside it.
"""


def in_precision(lam: LatentActionModel, precision: str = PRECISION) -> LatentActionModel:
    """Return a copy of the model as a server holds it: weights in the precision, once and for all, codebook in fp32."""
    copy = deepcopy(lam)
    if precision == "bf16":
        codebook = copy.quantizer.codebook
        copy.to(torch.bfloat16)
        copy.quantizer.codebook = codebook
    return copy


@torch.inference_mode()
def run_ours(lam: LatentActionModel, pixels_BTCHW: Tensor) -> Tensor:
    """Return a batch of clips through our encoder, in the precision that it is in: (B, T - 1, D)."""
    return lam.latents(pixels_BTCHW)


def run_in_lanes(lam: LatentActionModel, pixels_BTCHW: Tensor, pool: ThreadPoolExecutor, lanes: int) -> None:
    """The same, as a server computes it: clips are shared out to threads that each compute in one core."""

    def run(part_BTCHW: Tensor) -> Tensor:
        with threads_of_this_thread(1):
            return run_ours(lam, part_BTCHW)

    list(pool.map(run, pixels_BTCHW.chunk(lanes)))


@torch.inference_mode()
def run_plain(plain: PlainLatentActionEncoder, pixels_BTCHW: Tensor, precision: str) -> Tensor:
    """Return the same batch through the baseline."""
    with torch.autocast("cpu", torch.bfloat16, enabled=precision == "bf16"):
        latent_BTD: Tensor = plain(pixels_BTCHW)
        return latent_BTD


@torch.inference_mode()
def _run_streams(genie: Genie, pixels_BTCHW: Tensor) -> None:
    """The same frames as labelling streams, one episode after another."""
    for clip_TCHW in pixels_BTCHW:
        genie.lam.latents_stream(clip_TCHW[None], genie.lam.encoder_state(1))


def _measure(quick: bool, clock: Callable[[], float], lanes: int) -> list[Measured]:
    with ThreadPoolExecutor(lanes) as pool:
        return _measure_in(pool, lanes, quick, clock)


def _measure_in(pool: ThreadPoolExecutor, lanes: int, quick: bool, clock: Callable[[], float]) -> list[Measured]:
    genie, plain = make_encoders()
    lam = lam_of(genie)
    batch = 2 if quick else BATCH
    pixels = torch.rand(batch, WINDOW, 3, 64, 64, generator=torch.Generator().manual_seed(1)) - 0.5
    half = in_precision(lam, "bf16")
    difference = (run_ours(lam, pixels) - run_plain(plain, pixels, "fp32")).abs().max()
    seconds = interleaved(
        {
            "plain_fp32": partial(run_plain, plain, pixels, "fp32"),
            "ours_fp32": partial(run_in_lanes, lam, pixels, pool, lanes),
            "ours_stream": partial(_run_streams, genie, pixels),
            "plain_bf16": partial(run_plain, plain, pixels, "bf16"),
            "ours_bf16": partial(run_in_lanes, half, pixels, pool, lanes),
        },
        2 if quick else 2 * ROUNDS,
        clock=clock,
    )
    frames = batch * WINDOW
    by_round = ratios(seconds[f"plain_{PRECISION}"], seconds[f"ours_{PRECISION}"])
    rates = {name: Samples.of([frames / s for s in taken], "frames/s") for name, taken in seconds.items()}
    facts: dict[str, float | int | str] = {
        "precision": PRECISION,
        "threads": torch.get_num_threads(),
        "batch": f"{batch} clips of {WINDOW} frames",
        "bf16_over_plain_bf16": round(median(ratios(seconds["plain_bf16"], seconds["ours_bf16"])), 3),
        "bf16_over_plain_fp32": round(median(ratios(seconds["plain_fp32"], seconds["ours_bf16"])), 3),
        "fp32_difference": float(f"{difference:.2g}"),
    }
    return [Measured(value=median(by_round), measured={**rates, "ratio": Samples.of(by_round, "x")}, facts=facts)]


def one_thread(quick: bool) -> list[Measured]:
    """Return frames a second of CPU time, on one thread."""
    torch.set_num_threads(1)
    return _measure(quick, time.process_time, 1)


def all_threads(quick: bool) -> list[Measured]:
    """Return frames a second, on all cores."""
    return _measure(quick, time.perf_counter, torch.get_num_threads())


__all__ = ["PRECISION", "all_threads", "in_precision", "one_thread", "run_ours", "run_plain"]
