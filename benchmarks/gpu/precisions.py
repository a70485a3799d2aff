"""The number formats that a GPU computes in here, and how each is set."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager
from typing import Literal

import torch

from genie_core.data import Precision

Format = Literal["fp32", "tf32", "bf16"]
FORMATS: tuple[Format, ...] = ("fp32", "tf32", "bf16")


def weights(name: Format) -> Precision:
    """Return what a bundle is loaded in."""
    return "bfloat16" if name == "bf16" else "float32"


@contextmanager
def arithmetic(name: Format) -> Iterator[None]:
    """Allow or forbid TF32 in matrix products and convolutions of float32."""
    products, convolutions = torch.get_float32_matmul_precision(), torch.backends.cudnn.allow_tf32
    torch.set_float32_matmul_precision("high" if name == "tf32" else "highest")
    torch.backends.cudnn.allow_tf32 = name == "tf32"
    try:
        yield
    finally:
        torch.set_float32_matmul_precision(products)
        torch.backends.cudnn.allow_tf32 = convolutions


def finish(device: str) -> None:
    """Wait until the device has finished all work queued so far."""
    if torch.device(device).type == "cuda":
        torch.cuda.synchronize()


__all__ = ["FORMATS", "Format", "arithmetic", "finish", "weights"]
