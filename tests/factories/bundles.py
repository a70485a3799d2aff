"""Makes what tests need: a nano bundle with random weights, in milliseconds; and bundles that are broken."""

from __future__ import annotations

import json
from collections.abc import Callable
from pathlib import Path
from typing import Any

import torch
from safetensors.torch import load_file, save_file

from genie_core.models.bundle import save_bundle
from genie_core.models.config import MotionActionConfig, MoverConfig, QuantizerConfig
from genie_core.models.genie import Genie
from genie_core.models.presets import preset


def make_nano_bundle(path: Path, seed: int = 0) -> Path:
    """An untrained `nano` bundle (32 x 32 frames, 8 codes, 10 frames a second) at `path`."""
    torch.manual_seed(seed)
    save_bundle(path, Genie(preset("nano")), "# nano\n\nUntrained: random weights, for tests.\n")
    return path


def make_motion_bundle(path: Path, seed: int = 0, usual_norm: float = 1.0, mover: MoverConfig | None = None) -> Path:
    """An untrained bundle that reads motion: small, two levels of codes, labels alone if there is no `mover`.

    `usual_norm` is the median length of the latents of the training that it did not have.
    """
    torch.manual_seed(seed)
    quantizer = QuantizerConfig(codes=4, dim=6, metric="euclidean")
    lam = MotionActionConfig(quantizer=quantizer, width=8, maps=2, fine_codes=12, sums=True)
    config = preset("nano").model_copy(update={"name": "motion", "lam": lam, "simulates": False, "mover": mover})
    if config.mends:
        config = config.model_copy(update={"dynamics": config.dynamics.model_copy(update={"temporal": "none"})})
    genie = Genie(config)
    for level in (genie.lam.quantizer, genie.lam.fine_quantizer):
        assert level is not None
        level.radius.fill_(usual_norm / 4)
    save_bundle(path, genie, "# motion\n\nUntrained: random weights, for tests.\n")
    return path


def _with_config(**changes: Any) -> Callable[[Path], object]:
    """Change values of config.json; a key may be a path, as in ``dynamics__transformer__dim``."""

    def change(bundle: Path) -> None:
        config = json.loads((bundle / "config.json").read_text())
        for path, value in changes.items():
            *parents, name = path.split("__")
            at = config
            for parent in parents:
                at = at[parent]
            at[name] = value
        (bundle / "config.json").write_text(json.dumps(config))

    return change


def _with_tensor(component: str, name: str, change: Callable[[torch.Tensor], torch.Tensor]) -> Callable[[Path], object]:
    def changed(bundle: Path) -> None:
        file = bundle / f"{component}.safetensors"
        tensors = load_file(file)
        tensors[name] = change(tensors[name])
        save_file(tensors, file)

    return changed


LISTED_AS_BROKEN: dict[str, tuple[Callable[[Path], object], str]] = {
    "a card that is not UTF-8": (lambda b: (b / "card.md").write_bytes("caf\xe9".encode("latin-1")), "not UTF-8"),
    "a card without end": (lambda b: (b / "card.md").write_bytes(b"x" * (2 << 20)), "larger than"),
    "a configuration without end": (lambda b: (b / "config.json").write_bytes(b" " * (2 << 20)), "larger than"),
    "more layers than weights": (_with_config(dynamics__transformer__layers=256), "does not fit"),
    "wider than the weights": (_with_config(dynamics__transformer__dim=16384), "does not fit"),
    "layers without end": (_with_config(dynamics__transformer__layers=10**9), "layers"),
    "a codebook of gigabytes": (
        _with_config(tokenizer__quantizer__codes=65535, tokenizer__quantizer__dim=60000),
        "does not fit",
    ),
    "frames without end": (_with_config(height=2**20, width=2**20), "height"),
    "patches without end": (_with_config(height=4096, width=4096), "patches a frame"),
    "a stem that cannot be": (_with_config(tokenizer__patch=1, tokenizer__stem="conv"), "config.json"),
    "an infinite rate": (lambda b: _with_config(fps=float("inf"))(b), "fps"),
    "whole numbers as weights": (
        _with_tensor("dynamics", "head.weight", lambda t: torch.zeros(t.shape, dtype=torch.int32)),
        "floating-point",
    ),
    "a codebook with a NaN": (_with_tensor("lam", "quantizer.codebook", lambda t: t * float("nan")), "not finite"),
}
"""What breaks a bundle so that its configuration and headers tell, and a word of the reason given."""

BROKEN_WHEN_LOADED: dict[str, tuple[Callable[[Path], object], str]] = {
    "a weight that is NaN": (_with_tensor("dynamics", "head.weight", lambda t: t * float("nan")), "head.weight"),
    "a weight that is infinite": (
        _with_tensor("tokenizer", "to_latent.bias", lambda t: t + float("inf")),
        "not finite",
    ),
}
"""What only all of a bundle's weights tell."""

to_bfloat16 = _with_tensor("lam", "quantizer.codebook", lambda t: t.bfloat16())
"""Stores the codebook in bfloat16, which is unusual and fine."""
