"""How fast this machine multiplies matrices: the limit that the networks' arithmetic is compared with."""

from __future__ import annotations

from collections.abc import Callable
from functools import partial

import torch
import torch.nn.functional as F

SHAPES = (
    (1024, 1024, 1024),
    (2048, 2048, 2048),
    (2048, 512, 2048),
    (2048, 2048, 512),
    (4096, 512, 1536),
    (256, 512, 2048),
)
"""(M, K, N) of products of (M, K) by (K, N): square ones, and those of the networks."""

_SAMPLE_FLOPS = 4e10
"""Operations of one sample: a third of a second or so of one core."""

DTYPES = {"fp32": torch.float32, "bf16": torch.bfloat16}


def matmul_sides(precision: str, sample_flops: float = _SAMPLE_FLOPS) -> dict[str, tuple[Callable[[], None], int]]:
    """By shape: what multiplies it over and over, and how many operations that is."""
    sides: dict[str, tuple[Callable[[], None], int]] = {}
    for m, k, n in SHAPES:
        repeats = max(1, round(sample_flops / (2 * m * k * n)))
        a = torch.randn(m, k, dtype=DTYPES[precision])
        b = torch.randn(n, k, dtype=DTYPES[precision])
        sides[f"{m}x{k}x{n}"] = (partial(_multiply, a, b, repeats), repeats * 2 * m * k * n)
    return sides


@torch.inference_mode()
def _multiply(a: torch.Tensor, b: torch.Tensor, repeats: int) -> None:
    for _ in range(repeats):
        F.linear(a, b)


__all__ = ["DTYPES", "SHAPES", "matmul_sides"]
