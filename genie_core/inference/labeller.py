"""Labels video with latent actions. Streaming is the only implementation: a whole episode goes through a stream.

A label is a function of the bundle and the episode alone. Frames are encoded in blocks of `BLOCK` frames at the model's
rate, cut at fixed places counted from the episode's start and computed one block a call, with the keys and values of
earlier frames carried along. So the numbers never depend on how frames arrived or on what else is computed.
"""

from __future__ import annotations

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor

from genie_core.data import Density, Labels, conform_frames, resize_frames
from genie_core.errors import RequestError
from genie_core.models.bundle import Bundle
from genie_core.models.lam import LatentActionState
from genie_core.models.patches import to_pixels

BLOCK = 16
"""Frames at the model's rate that are encoded together."""


class Labeller:
    """Reads latent actions off video with one bundle. Streams of one labeller may run in different threads."""

    def __init__(self, bundle: Bundle) -> None:
        self.bundle = bundle
        self.height, self.width = bundle.config.height, bundle.config.width
        self.latent_dim = bundle.config.lam.quantizer.dim

    def stream(self, step: int, density: Density = "dense") -> LabelStream:
        """Begin to label one episode.

        Args:
            step: transition length k in frames, at least 1: the label at t describes x_t -> x_{t+k}.
            density: which transitions are labelled.

        Raises:
            RequestError: a step below 1 or an unknown density.

        """
        return LabelStream(self, step, density)

    def label(self, frames_THWC: NDArray[np.uint8], step: int, density: Density = "dense") -> Labels:
        """Label a whole episode: (T, H, W, 3) uint8 frames of any size -> T labels."""
        stream = self.stream(step, density)
        return Labels.concatenate([stream.push(frames_THWC), stream.finish()])

    def initial_state(self) -> LatentActionState:
        """The state of one stream at the model's rate that has seen nothing."""
        return self.bundle.genie.lam.encoder_state(1)

    @torch.inference_mode()
    def encode(self, block_THWC: NDArray[np.uint8], state: LatentActionState) -> tuple[Encoded, LatentActionState]:
        """Encode one block of exactly BLOCK frames of the model's size; the row at j describes frame j - 1 -> j."""
        genie = self.bundle.genie
        frames = torch.tensor(block_THWC, device=self.bundle.device)
        latent_1TD, state = genie.lam.latents_stream(genie.lam_view(to_pixels(frames[None])), state)
        return Encoded(
            latent_1TD[0], genie.lam.quantizer.nearest(latent_1TD[0]), genie.lam.quantizer.confidence(latent_1TD[0])
        ), state


class Encoded:
    """What encoding a block gives: latent (BLOCK, D) float32, code (BLOCK,) uint16, confidence (BLOCK,) float32."""

    def __init__(self, latent_TD: Tensor, code_T: Tensor, confidence_T: Tensor) -> None:
        self.latent: NDArray[np.float32] = latent_TD.cpu().numpy()
        self.code: NDArray[np.uint16] = code_T.cpu().numpy().astype(np.uint16)
        self.confidence: NDArray[np.float32] = confidence_T.cpu().numpy()


class LabelStream:
    """One episode on its way through a `Labeller`. Not for several threads at once."""

    def __init__(self, labeller: Labeller, step: int, density: Density) -> None:
        if step < 1:
            raise RequestError("step", f"got {step}, wanted at least 1 frame")
        if density not in ("dense", "strided"):
            raise RequestError("density", f"got {density!r}, wanted 'dense' or 'strided'")
        self._labeller, self._step = labeller, step
        phases = step if density == "dense" else 1
        # Frames p, p + step, p + 2 step ... are one stream at the model's rate: phase p.
        self._states = [labeller.initial_state() for _ in range(phases)]
        self._pending: list[NDArray[np.uint8]] = []
        self._pending_count = 0
        self._encoded = 0

    @property
    def frames(self) -> int:
        """Frames received so far."""
        return self._encoded + self._pending_count

    def push(self, frames_THWC: NDArray[np.uint8]) -> Labels:
        """Take the episode's next frames, (T, H, W, 3) uint8 of any size; return the labels that became final.

        Raises:
            RequestError: frames of another shape or type.

        """
        frames = resize_frames(conform_frames(frames_THWC), self._labeller.height, self._labeller.width)
        self._pending.append(frames)
        self._pending_count += len(frames)
        span = BLOCK * self._step
        done: list[Labels] = []
        while self._pending_count >= span:
            joined = np.concatenate(self._pending)
            self._pending = [joined[span:]]
            self._pending_count -= span
            done.append(self._encode(joined[:span], span))
        return Labels.concatenate(done) if done else self._nothing()

    def finish(self) -> Labels:
        """The labels still due; the last `step` of the episode are invalid."""
        count, span = self._pending_count, BLOCK * self._step
        parts: list[Labels] = []
        if count:
            rest = np.concatenate(self._pending)
            padded = np.zeros((span, *rest.shape[1:]), np.uint8)
            padded[:count] = rest  # what follows cannot be seen from before: attention is causal
            self._pending, self._pending_count = [], 0
            parts.append(self._encode(padded, count))
        start = max(0, self._encoded - self._step)
        parts.append(Labels.invalid(start, self._encoded - start, self._labeller.latent_dim))
        return Labels.concatenate(parts)

    def _nothing(self) -> Labels:
        return Labels.invalid(max(0, self._encoded - self._step), 0, self._labeller.latent_dim)

    def _encode(self, frames_THWC: NDArray[np.uint8], count: int) -> Labels:
        """Encode one span of BLOCK * step frames, of which the first `count` are real."""
        step, first = self._step, self._encoded
        out = Labels.invalid(first - step, len(frames_THWC), self._labeller.latent_dim)
        for phase, state in enumerate(self._states[:count]):
            encoded, self._states[phase] = self._labeller.encode(frames_THWC[phase::step], state)
            out.code[phase::step] = encoded.code
            out.latent[phase::step] = encoded.latent
            out.confidence[phase::step] = encoded.confidence
            out.valid[phase::step] = True
        self._encoded += count
        unborn = max(0, step - first)  # the first frames end no transition
        return Labels(
            out.start + unborn,
            out.code[unborn:count],
            out.latent[unborn:count],
            out.confidence[unborn:count],
            out.valid[unborn:count],
        )


__all__ = ["BLOCK", "Encoded", "LabelStream", "Labeller"]
