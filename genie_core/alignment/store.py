"""Alignments on disk: a .safetensors file each, with its description as JSON in the header. No pickle.

``<bundle>/alignments/<name>.safetensors`` does not affect the bundle's identity, which covers configuration and
weights.
"""

from __future__ import annotations

import re
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np
from numpy.typing import NDArray
from pydantic import ValidationError
from safetensors import SafetensorError, safe_open
from safetensors.numpy import save

from genie_core.alignment.alignment import Alignment, AlignmentInfo
from genie_core.alignment.dictionary import Dictionary
from genie_core.alignment.observation import Observation
from genie_core.alignment.regressor import Inputs, Kernel, Regressor
from genie_core.alignment.way_back import Scale, WayBack
from genie_core.data.storage.atomic import write_bytes
from genie_core.errors import ModelError, problems_of

if TYPE_CHECKING:
    from genie_core.models.bundle import BundleInfo

FOLDER, SUFFIX = "alignments", ".safetensors"
_HEADER = "genie_alignment"
_NAME = re.compile(r"[A-Za-z0-9][A-Za-z0-9._-]{0,99}")

Tensors = Mapping[str, NDArray[Any]]


@dataclass(frozen=True)
class AlignmentEntry:
    """One alignment beside a bundle. If its file cannot be used, `info` is None and `problem` says why."""

    name: str
    path: Path
    info: AlignmentInfo | None
    problem: str | None


def alignment_path(bundle: Path, name: str) -> Path:
    """Return the path of the alignment `name`. Raises ModelError if `name` cannot be a file name."""
    if not _NAME.fullmatch(name):
        raise ModelError(f"alignment name: got {name!r}, expected letters, digits, '.', '_' and '-', at most 100")
    return bundle / FOLDER / (name + SUFFIX)


def save_alignment(path: Path, alignment: Alignment, *, overwrite: bool = False) -> None:
    """Write an alignment whole or not at all; creates its folders.

    Raises:
        ModelError: the file exists, unless `overwrite`.

    """
    if path.exists() and not overwrite:
        raise ModelError(f"{path} exists: choose another name, or --overwrite it")
    path.parent.mkdir(parents=True, exist_ok=True)
    content = save(_tensors(alignment), {_HEADER: alignment.info.model_dump_json()})
    write_bytes(path, content)


def load_alignment(path: Path, bundle: BundleInfo) -> Alignment:
    """Read an alignment of that bundle.

    Raises:
        ModelError: the file is missing, damaged or not an alignment, or it belongs to another bundle.

    """
    _check_bundle(path, read_alignment_info(path), bundle)
    return read_alignment(path)


def read_alignment(path: Path) -> Alignment:
    """Read an alignment of any bundle. Raises ModelError if the file is missing, damaged or not an alignment."""
    info = read_alignment_info(path)
    try:
        with safe_open(path, framework="np") as file:
            tensors = {key: file.get_tensor(key) for key in file.keys()}  # noqa: SIM118 - it is not a dictionary
        return _alignment(info, tensors)
    except (SafetensorError, OSError, KeyError, ValueError) as error:
        raise ModelError(f"{path} is a damaged alignment: {error}") from error


def read_alignment_info(path: Path) -> AlignmentInfo:
    """Read only the description. Raises ModelError if the file is missing, damaged or not an alignment."""
    try:
        with safe_open(path, framework="np") as file:
            header = (file.metadata() or {}).get(_HEADER)
    except (SafetensorError, OSError) as error:
        raise ModelError(f"{path} cannot be read: {error}") from error
    if header is None:
        raise ModelError(f"{path} is no alignment, expected a file that `genie align` wrote")
    try:
        return AlignmentInfo.model_validate_json(header)
    except ValidationError as error:
        raise ModelError(f"{path} is no alignment that this version reads: {problems_of(error)}") from error


def list_alignments(bundle: BundleInfo) -> list[AlignmentEntry]:
    """List the alignments beside a bundle, by name; those that cannot be used say why."""
    entries = []
    for path in sorted((bundle.path / FOLDER).glob("*" + SUFFIX), key=lambda path: path.stem):
        if path.name.startswith("."):  # still being written
            continue
        try:
            info = read_alignment_info(path)
            _check_bundle(path, info, bundle)
        except ModelError as error:
            entries.append(AlignmentEntry(path.stem, path, None, str(error)))
        else:
            entries.append(AlignmentEntry(path.stem, path, info, None))
    return entries


def _check_bundle(path: Path, info: AlignmentInfo, bundle: BundleInfo) -> None:
    if info.bundle_id != bundle.bundle_id:
        raise ModelError(
            f"{path} belongs to bundle {info.bundle_name} {info.bundle_id[:12]}, expected {bundle.name} "
            f"{bundle.bundle_id[:12]}: codes of different bundles mean different things"
        )


def _tensors(alignment: Alignment) -> dict[str, NDArray[Any]]:
    regressor, seen = alignment.regressor, alignment.regressor.centres.observation_NP
    tensors: dict[str, NDArray[Any]] = {
        "dictionary.action": alignment.dictionary.action_NA,
        "dictionary.start": alignment.dictionary.start_K,
        "regressor.code": regressor.centres.code_N,
        "regressor.latent": regressor.centres.latent_ND,
        "regressor.weights": regressor.weights_CMA,
        "action.mean": regressor.mean_A,
        "action.deviation": regressor.deviation_A,
    }
    if alignment.needs_frames and seen is not None:
        tensors["regressor.observation"] = seen
    back = alignment.way_back
    if back is not None:
        centres = back.regressor.centres
        tensors |= {
            "back.action": centres.latent_ND,
            "back.weights": back.regressor.weights_CMA,
            "back.latent_mean": back.regressor.mean_A,
            "back.latent_deviation": back.regressor.deviation_A,
            "back.mean": back.scale.mean_A,
            "back.deviation": back.scale.deviation_A,
        }
        if back.needs_frames and centres.observation_NP is not None:
            tensors["back.observation"] = centres.observation_NP
    observation = alignment.observation
    if observation is not None and any(key.endswith(".observation") for key in tensors):
        tensors |= {"observation.mean": observation.mean_F, "observation.axes": observation.axes_FP}
    return {key: np.ascontiguousarray(value) for key, value in tensors.items()}


def _alignment(info: AlignmentInfo, tensors: Tensors) -> Alignment:
    """Build an alignment from its parts. Raises KeyError or ValueError if they do not fit."""
    for key, array in tensors.items():
        if array.dtype.kind == "f" and not np.isfinite(array).all():
            raise ValueError(f"{key} holds numbers that are not finite")
    numbers, centres = len(info.actions), len(tensors["regressor.code"])
    seeing = _sees(info.kernels)
    _check_shapes(
        tensors,
        {
            "dictionary.action": (info.budget, numbers),
            "dictionary.start": (info.codes + 1,),
            "regressor.latent": (centres, info.latent_dim),
            "regressor.weights": (len(info.kernels), centres, numbers),
            "action.mean": (numbers,),
            "action.deviation": (numbers,),
        },
    )
    start_K = tensors["dictionary.start"]
    if start_K[0] != 0 or start_K[-1] != info.budget or (np.diff(start_K) < 0).any():
        raise ValueError("dictionary.start does not divide dictionary.action")
    observation = None
    if seeing or _sees(info.back_kernels):
        mean_F, axes_FP = tensors["observation.mean"], tensors["observation.axes"]
        seen = tensors["regressor.observation" if seeing else "back.observation"]
        _check_shapes(tensors, {"observation.axes": (len(mean_F), seen.shape[-1])})
        if seeing:
            _check_shapes(tensors, {"regressor.observation": (centres, seen.shape[-1])})
        observation = Observation(info.height, info.width, mean_F, axes_FP)
    return Alignment(
        info,
        Dictionary(tensors["dictionary.action"], start_K),
        Regressor(
            info.kernels,
            Inputs(tensors["regressor.code"], tensors["regressor.latent"], tensors.get("regressor.observation")),
            tensors["regressor.weights"],
            tensors["action.mean"],
            tensors["action.deviation"],
        ),
        observation,
        _way_back(info, tensors, observation) if info.back_kernels else None,
    )


def _sees(kernels: Sequence[Kernel]) -> bool:
    return any(kernel.observation_scale is not None for kernel in kernels)


def _way_back(info: AlignmentInfo, tensors: Tensors, observation: Observation | None) -> WayBack:
    """Build the way back. Raises KeyError or ValueError if its parts do not fit."""
    numbers, centres, kernels = len(info.actions), len(tensors["back.action"]), info.back_kernels
    _check_shapes(
        tensors,
        {
            "back.action": (centres, numbers),
            "back.weights": (len(kernels), centres, info.latent_dim),
            "back.latent_mean": (info.latent_dim,),
            "back.latent_deviation": (info.latent_dim,),
            "back.mean": (numbers,),
            "back.deviation": (numbers,),
        },
    )
    if not len(info.back_low) == len(info.back_high) == numbers:
        raise ValueError(f"back_low and back_high: expected {numbers} numbers each")
    seen = None
    if _sees(kernels):
        assert observation is not None
        seen = tensors["back.observation"]
        _check_shapes(tensors, {"back.observation": (centres, observation.axes_FP.shape[1])})
    low_A, high_A = np.array(info.back_low), np.array(info.back_high)
    scale = Scale(tensors["back.mean"], tensors["back.deviation"], low_A, high_A)
    inputs = Inputs(np.zeros(centres, np.int64), tensors["back.action"], seen)
    regressor = Regressor(
        kernels, inputs, tensors["back.weights"], tensors["back.latent_mean"], tensors["back.latent_deviation"]
    )
    return WayBack(scale, regressor)


def _check_shapes(tensors: Tensors, wanted: Mapping[str, tuple[int, ...]]) -> None:
    for key, shape in wanted.items():
        if tensors[key].shape != shape:
            raise ValueError(f"{key} is of shape {tensors[key].shape}, expected {shape}")


__all__ = [
    "AlignmentEntry",
    "alignment_path",
    "list_alignments",
    "load_alignment",
    "read_alignment",
    "read_alignment_info",
    "save_alignment",
]
