"""What videos without actions are labelled with: latent actions of the frozen model, and the optical flow that rivals
them. Reads no action.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

import h5py
import numpy as np
import torch
from numpy.typing import NDArray

from genie_core.data import Frames
from genie_core.data.storage.hdf5 import read_hdf5, write_hdf5
from genie_core.evaluation.flow import cell_means, optical_flow
from genie_core.inference import Labeller
from genie_core.models.config import QuantizerConfig
from genie_core.models.quantizer import VectorQuantizer

Array = NDArray[np.float64]
Rows = NDArray[np.int64]

FLOW_CELLS = 8
"""Cells a side over which optical flow is averaged: 128 numbers a transition."""

_RESTARTS = 8


@dataclass(frozen=True)
class VideoLabels:
    """Labels of the M transitions of all videos.

    Attributes:
        code_M: codes of the latent action model.
        fine_M: its codes of the second level; None of a model that has none.
        latent_MD: latents before quantization.
        flow_MF: optical flow averaged over `FLOW_CELLS` x `FLOW_CELLS` cells.
        flow_code_M: codes of that flow, as many as the model has.

    """

    code_M: Rows
    fine_M: Rows | None
    latent_MD: Array
    flow_MF: Array
    flow_code_M: Rows


def label_videos(labeller: Labeller, videos: Sequence[Frames]) -> VideoLabels:
    """Label videos with the frozen latent action model and with optical flow.

    The flow's codebook is k-means on all of it, as the model's is on latents (but on these videos, which helps it).
    """
    labels = [labeller.label(video, step=1) for video in videos]
    fine = [label.fine_code[:-1] for label in labels if label.fine_code is not None]
    pairs = [cell_means(optical_flow(video[:-1], video[1:]), FLOW_CELLS) for video in videos]
    flow_MF = np.concatenate([cells.reshape(len(cells), -1) for cells in pairs])
    codes = len(labeller.bundle.codebook)
    return VideoLabels(
        code_M=np.concatenate([label.code[:-1] for label in labels]).astype(np.int64),
        fine_M=np.concatenate(fine).astype(np.int64) if fine else None,
        latent_MD=np.concatenate([label.latent[:-1] for label in labels]).astype(np.float64),
        flow_MF=flow_MF,
        flow_code_M=_flow_codes(flow_MF, codes),
    )


def _flow_codes(flow_MF: Array, codes: int) -> Rows:
    """Return the codes of flow, by k-means in the metric in which latents that keep their length get theirs."""
    flow = torch.from_numpy(flow_MF).float()
    with torch.random.fork_rng(devices=[]):
        torch.manual_seed(0)
        quantizer = VectorQuantizer(QuantizerConfig(codes=codes, dim=flow.shape[1], metric="euclidean"))
        quantizer.fit(flow, restarts=_RESTARTS)
    code_M: Rows = quantizer.nearest(flow).numpy()
    return code_M


def write_labels(path: Path, labels: VideoLabels) -> None:
    """Store them, for all processes."""
    with write_hdf5(path) as atomic, atomic.writing() as file:
        for key, name in _KEYS.items():
            array = getattr(labels, name)
            if array is not None:
                file[key] = array


def read_labels(path: Path) -> VideoLabels:
    """Read them back."""
    arrays: dict[str, NDArray[np.generic] | None] = dict.fromkeys(_KEYS.values())
    with read_hdf5(path) as file:
        for key, name in _KEYS.items():
            if key in file:
                stored = file[key]
                assert isinstance(stored, h5py.Dataset)
                arrays[name] = stored[:]
    return VideoLabels(**arrays)  # type: ignore[arg-type]


_KEYS = {"code": "code_M", "fine_code": "fine_M", "latent": "latent_MD", "flow": "flow_MF", "flow_code": "flow_code_M"}
"""Names in the file."""

__all__ = ["FLOW_CELLS", "VideoLabels", "label_videos", "read_labels", "write_labels"]
