"""Bundles: a trained model as a folder of config.json, one .safetensors per component, and card.md. No pickle.

A bundle's identity is the SHA-256 over its configuration and weights; every label records it. The card is prose and may
be corrected without changing the identity.
"""

from __future__ import annotations

import hashlib
import math
import shutil
from dataclasses import dataclass
from pathlib import Path
from typing import get_args

import numpy as np
import torch
from numpy.typing import NDArray
from safetensors import SafetensorError, safe_open
from safetensors.torch import load_file, save_file
from torch import Tensor

from genie_core.data import Computation, Precision
from genie_core.data.storage.atomic import new_folder
from genie_core.errors import ModelError
from genie_core.models.attention import RotaryTime
from genie_core.models.bundle_check import TRAINING_ONLY, check_finite, check_weights, read_config, read_text
from genie_core.models.computation import computation_on
from genie_core.models.config import ModelConfig
from genie_core.models.genie import Genie
from genie_core.models.patches import to_pixels
from genie_core.models.quantizer import VectorQuantizer

CONFIG, CARD = "config.json", "card.md"
ALIGNMENTS = "alignments"
"""Folder of the alignments (`genie_core.alignment`) beside a bundle's files; not part of its identity."""
CONFIDENCE = "confidence.json"
"""Calibration of the confidence of simulated frames (`genie_core.inference.confidence`); likewise."""


@dataclass(frozen=True)
class BundleInfo:
    """Description of a bundle, read without building its networks.

    Attributes:
        name: name of the configuration.
        path: folder of the bundle.
        bundle_id: SHA-256 of configuration and weights, 64 hexadecimal digits.
        config: the whole configuration.
        card: Markdown.
        codebook: (codes, D) float32, the quantized latent of each code.
        parameters: number of trained parameters of all components.
        latent_radius: radius of the ball in which distances between latents and codes are taken; None where all latents
            have unit length.
        fine_codebook: (fine codes, D) float32, the same of the second level; None without one.

    """

    name: str
    path: Path
    bundle_id: str
    config: ModelConfig
    card: str
    codebook: NDArray[np.float32]
    parameters: int
    latent_radius: float | None = None
    fine_codebook: NDArray[np.float32] | None = None

    @property
    def usual_norm(self) -> float | None:
        """Median length of the latents of training; None where all have unit length."""
        return None if self.latent_radius is None else self.config.lam.quantizer.radii * self.latent_radius


@dataclass(frozen=True)
class Bundle:
    """A loaded bundle: its description and its networks in evaluation mode, on one device, in one precision."""

    info: BundleInfo
    genie: Genie
    device: torch.device
    precision: Precision = "float32"

    @property
    def computation(self) -> Computation:
        """How its networks compute, as recorded in labels."""
        return computation_on(self.device, self.precision)

    def pixels(self, frames_BTHWC: NDArray[np.uint8]) -> Tensor:
        """Convert frames of the model's size to the networks' input: (B, T, 3, H, W) float32 on the bundle's device."""
        return to_pixels(torch.tensor(frames_BTHWC, device=self.device))

    @property
    def name(self) -> str:
        """Name of the configuration."""
        return self.info.name

    @property
    def bundle_id(self) -> str:
        """SHA-256 of configuration and weights, 64 hexadecimal digits."""
        return self.info.bundle_id

    @property
    def config(self) -> ModelConfig:
        """The whole configuration."""
        return self.info.config

    @property
    def card(self) -> str:
        """Markdown."""
        return self.info.card

    @property
    def codebook(self) -> NDArray[np.float32]:
        """(codes, D) float32."""
        return self.info.codebook

    @property
    def parameters(self) -> int:
        """Number of trained parameters of all components."""
        return self.info.parameters


def is_bundle(path: Path) -> bool:
    """Return whether a folder looks like a bundle: it has a config.json and the weights of every component."""
    try:
        return all((path / f"{c}.safetensors").is_file() for c in read_config(path / CONFIG).components)
    except ModelError:
        return False


def meant_as_bundle(path: Path) -> bool:
    """Return whether a folder is meant as a bundle, whole or broken: it has a config.json and some weights."""
    return (path / CONFIG).is_file() and any(path.glob("*.safetensors"))


def read_bundle_info(path: Path) -> BundleInfo:
    """Read a bundle's description. Raises ModelError saying what is missing or wrong."""
    if not (path / CONFIG).is_file():
        raise ModelError(f"{path} is not a bundle: {CONFIG} is missing")
    config = read_config(path / CONFIG)
    for name in (f"{component}.safetensors" for component in config.components):
        if not (path / name).is_file():
            raise ModelError(f"{path} is not a bundle: {name} is missing")
    check_weights(path, config, config.components)
    file = path / "lam.safetensors"
    try:
        with safe_open(file, framework="pt") as tensors:
            # A copy: safetensors 0.6 and older map the file, which may be overwritten.
            codebook = tensors.get_tensor("quantizer.codebook").to(torch.float32, copy=True)
            fine = None
            if config.lam.fine_codes:
                fine = tensors.get_tensor("fine_quantizer.codebook").to(torch.float32, copy=True)
            keeps_length = config.lam.quantizer.metric == "euclidean"
            radius = float(tensors.get_tensor("quantizer.radius")) if keeps_length else None
    except (SafetensorError, OSError) as error:
        raise ModelError(f"{file} cannot be read: {error}") from error
    check_finite(file, {"quantizer.codebook": codebook} | ({} if fine is None else {"fine_quantizer.codebook": fine}))
    card = read_text(path / CARD) if (path / CARD).is_file() else ""
    parameters = sum(_stored_parameters(path / f"{c}.safetensors") for c in config.components)
    return BundleInfo(
        config.name,
        path,
        bundle_id(path),
        config,
        card,
        codebook.numpy(),
        parameters,
        radius,
        None if fine is None else fine.numpy(),
    )


def _stored_parameters(file: Path) -> int:
    """Return the number of trained parameters in a component's file, from its header alone."""
    try:
        with safe_open(file, framework="np") as tensors:
            shapes = [tensors.get_slice(k).get_shape() for k in tensors.keys() if not k.endswith("codebook")]  # noqa: SIM118
    except (SafetensorError, OSError) as error:
        raise ModelError(f"{file} cannot be read: {error}") from error
    return sum(math.prod(shape) for shape in shapes)


def bundle_id(path: Path) -> str:
    """Hash the names and SHA-256 of config.json and every component, in that order; 64 hexadecimal digits."""
    digest = hashlib.sha256()
    for name in (CONFIG, *(f"{c}.safetensors" for c in read_config(path / CONFIG).components)):
        with (path / name).open("rb") as file:
            digest.update(f"{name} {hashlib.file_digest(file, 'sha256').hexdigest()}\n".encode())
    return digest.hexdigest()


def load_bundle(path: Path, device: str = "cpu", precision: Precision = "float32") -> Bundle:
    """Load a bundle for inference. Codebooks, the distances to their codes, and rotary frequencies stay float32.

    Raises:
        ModelError: the folder is not a bundle, a file is damaged, weights and configuration do not match, or the device
            or precision does not exist.

    """
    if precision not in get_args(Precision):
        raise ModelError(f"precision: got {precision!r}, expected one of {', '.join(get_args(Precision))}")
    info = read_bundle_info(path)
    target = torch_device(device)
    genie = Genie(info.config)
    for component in info.config.components:
        file = path / f"{component}.safetensors"
        try:
            tensors = {name: tensor.float() for name, tensor in load_file(file).items()}
            check_finite(file, tensors)
            getattr(genie, component).load_state_dict(tensors, strict=False)
        except (SafetensorError, OSError, RuntimeError) as error:  # the file was replaced after the check
            raise ModelError(f"{file} does not fit {path / CONFIG}: {error}") from error
    genie.requires_grad_(False)
    return Bundle(info, in_precision(genie, precision).to(target).eval(), target, precision)


def in_precision(genie: Genie, precision: Precision) -> Genie:
    """Turn the networks into that precision, for inference; codebooks and rotary frequencies stay float32."""
    if precision == "float32":
        return genie
    kept = [(m, dict(m.named_buffers())) for m in genie.modules() if isinstance(m, VectorQuantizer | RotaryTime)]
    genie.to(getattr(torch, precision))
    for module, buffers in kept:
        for name, buffer in buffers.items():
            setattr(module, name, buffer)
    return genie


def stored_half(path: Path) -> bool:
    """Return whether the latent action model's weights of a bundle are stored as float16."""
    with safe_open(path / "lam.safetensors", framework="np") as tensors:
        return any(tensors.get_slice(name).get_dtype() == "F16" for name in tensors.keys())  # noqa: SIM118


def torch_device(name: str) -> torch.device:
    """Return an available device. Raises ModelError naming the requested one if it cannot be used."""
    try:
        device = torch.device(name)
        torch.empty(0, device=device)
    except (RuntimeError, AssertionError) as error:
        raise ModelError(f"device {name!r} cannot be used here: {str(error).splitlines()[0]}") from error
    return device


def save_bundle(path: Path, genie: Genie, card: str, *, half: bool = False) -> BundleInfo:
    """Write a bundle atomically: a complete new folder replaces an older bundle of that name, if any.

    Alignments and the calibration beside the older one are kept if configuration and weights are the same; otherwise
    they are removed with it, since they belong to another bundle.

    Args:
        path: folder of the bundle; its parent is created.
        genie: the networks.
        card: Markdown.
        half: store network weights as float16 (codebooks stay float32): half the size, for shipping.

    """
    if path.exists() and not is_bundle(path):
        raise ModelError(f"{path} exists and is not a bundle: it is not replaced")
    path.parent.mkdir(parents=True, exist_ok=True)
    with new_folder(path, replace=True) as staging:
        _fill(staging, path, genie, card, half)
    return read_bundle_info(path)


def _fill(staging: Path, path: Path, genie: Genie, card: str, half: bool) -> None:
    """Write a bundle's files into the folder `staging`, which will replace `path`."""
    (staging / CONFIG).write_text(genie.config.model_dump_json(indent=2) + "\n")
    (staging / CARD).write_text(card)
    for component in genie.config.components:
        state = getattr(genie, component).state_dict()
        save_file(_stored(state, half), staging / f"{component}.safetensors")
    if not is_bundle(path) or bundle_id(path) != bundle_id(staging):
        return
    if (path / CONFIDENCE).is_file():
        shutil.copyfile(path / CONFIDENCE, staging / CONFIDENCE)
    if (path / ALIGNMENTS).is_dir():
        unfinished = shutil.ignore_patterns(".*")
        shutil.copytree(path / ALIGNMENTS, staging / ALIGNMENTS, ignore=unfinished, copy_function=shutil.copyfile)


def _stored(state: dict[str, Tensor], half: bool) -> dict[str, Tensor]:
    kept = {k: v.detach().cpu().contiguous() for k, v in state.items() if not k.endswith(TRAINING_ONLY)}
    if half:
        kept = {k: v if k.endswith("codebook") else v.half() for k, v in kept.items()}
    return kept


__all__ = [
    "ALIGNMENTS",
    "CARD",
    "CONFIDENCE",
    "CONFIG",
    "Bundle",
    "BundleInfo",
    "bundle_id",
    "in_precision",
    "is_bundle",
    "load_bundle",
    "meant_as_bundle",
    "read_bundle_info",
    "save_bundle",
    "stored_half",
    "torch_device",
]
