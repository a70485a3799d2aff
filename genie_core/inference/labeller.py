"""Labelling of video with latent actions. Always streams: a whole episode is labelled through a stream, too.

A label depends only on the bundle and the episode. Frames are encoded in blocks of `BLOCK` frames at the model's rate,
cut at fixed places counted from the episode's start, and the keys and values of earlier frames are carried along: the
numbers never depend on how frames arrive. Blocks of different streams may be encoded together;
`genie_core.inference.shapes` makes sure that this changes no bit.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
import torch
from numpy.typing import NDArray

from genie_core.data import Density, Labels, conform_frames, resize_frames
from genie_core.errors import RequestError
from genie_core.inference.sums import TransitionSums, part_length
from genie_core.models.bundle import Bundle
from genie_core.models.config import label_feature_dim
from genie_core.models.lam import LatentActionState
from genie_core.models.motion_lam import MotionActionModel

BLOCK = 16
"""Number of frames at the model's rate that are encoded together."""


@dataclass(frozen=True)
class Block:
    """One block of frames to encode, of one stream at the model's rate.

    Attributes:
        frames_THWC: (T, H, W, 3) uint8 of the model's size, T from 1 to BLOCK; fewer than BLOCK at an episode's end.
        state: temporal state after the previous frames.

    """

    frames_THWC: NDArray[np.uint8]
    state: LatentActionState


@dataclass(frozen=True)
class Encoded:
    """Result of encoding a block; row j describes frame j - 1 -> j of the stream.

    Attributes:
        latent: (BLOCK, D) float32.
        code: (BLOCK,) uint16.
        confidence: (BLOCK,) float32.
        state: temporal state after this block.
        fine_code: (BLOCK,) uint16; None of a model without a second level.
        feature: (BLOCK, F) float32, what latents are made of; None of a model that gives none.

    """

    latent: NDArray[np.float32]
    code: NDArray[np.uint16]
    confidence: NDArray[np.float32]
    state: LatentActionState
    fine_code: NDArray[np.uint16] | None = None
    feature: NDArray[np.float32] | None = None


class Labeller:
    """Labels video with one bundle. Streams of one labeller may run in different threads."""

    def __init__(self, bundle: Bundle) -> None:
        self.bundle = bundle
        self.height, self.width = bundle.config.height, bundle.config.width
        self.latent_dim = bundle.config.lam.quantizer.dim
        self.has_fine = bundle.config.lam.fine is not None
        self.feature_dim = label_feature_dim(bundle.config.lam)
        self.frame_bytes = self.height * self.width * 3
        self.nothing = self.initial_state()
        self.state_bytes = self.nothing.nbytes

    def stream(self, step: int, density: Density = "dense", *, feature: bool = False) -> EpisodeStream:
        """Start labelling one episode.

        Args:
            step: transition length k in frames, at least 1: the label at t describes x_t -> x_{t+k}.
            density: transitions to label.
            feature: whether labels have the wide vector that each latent is made of, too.

        Raises:
            RequestError: `step` is below 1, `density` is unknown, or the model gives no feature.

        """
        return EpisodeStream(self, step, density, feature)

    def stream_bytes(self, step: int, density: Density, frames: int | None = None, *, feature: bool = False) -> int:
        """Return the most bytes that a stream holds from its first frames to its last label, with one `feed` at a time.

        Args:
            step: transition length in frames.
            density: transitions to label.
            frames: length of the whole episode, if known.
            feature: whether labels have features.

        """
        part = self.part_length(step)
        span = BLOCK * part
        # As they come from the device, in the labels, and in the message.
        wide = 3 * 4 * (self.feature_dim or 0) * (span if frames is None else min(span, frames)) if feature else 0
        if part < step:  # labels of parts that wait for those of the rest of their transition, and sums of them
            kept = span + step if frames is None else min(span + step, frames)
            wide += 3 * 4 * (self.latent_dim + ((self.feature_dim or 0) if feature else 0)) * kept
        phases = part if density == "dense" else 1
        if frames is not None and frames <= span:  # one block per phase, and no state before it
            return 2 * frames * self.frame_bytes + min(phases, frames) * self.state_bytes + wide
        return 2 * span * self.frame_bytes + 2 * phases * self.state_bytes + wide

    def part_length(self, step: int) -> int:
        """Return the length in frames of what is encoded for labels of `step` frames; see `sums.part_length`."""
        return part_length(self.bundle.config.lam, step)

    def label(
        self, frames_THWC: NDArray[np.uint8], step: int, density: Density = "dense", *, feature: bool = False
    ) -> Labels:
        """Label a whole episode, (T, H, W, 3) uint8 frames of any size; returns T labels."""
        return self.label_many([frames_THWC], step, density, feature=feature)[0]

    def label_many(
        self,
        episodes: Sequence[NDArray[np.uint8]],
        step: int,
        density: Density = "dense",
        *,
        batch: int = 1,
        feature: bool = False,
    ) -> list[Labels]:
        """Label several episodes, `batch` blocks of frames at a time; each result is the same as that of `label`.

        Streams are cut into blocks of `BLOCK` frames at the model's rate; `batch` of them are encoded in one pass of
        the networks. On a CPU the fastest is a batch of 1 or 2 in as many threads as there are cores, with one torch
        thread each.

        Raises:
            RequestError: frames have another shape or dtype, `step` is below 1, `density` is unknown, or the model
                gives no feature.

        """
        streams = [self.stream(step, density, feature=feature) for _ in episodes]
        for stream, frames_THWC in zip(streams, episodes, strict=True):
            stream.feed(self.resized(frames_THWC))
            stream.end()
        parts: list[list[Labels]] = [[] for _ in streams]
        while ready := [(i, blocks) for i, stream in enumerate(streams) if (blocks := stream.work())]:
            blocks = [block for _, some in ready for block in some]
            encoded = [e for at in range(0, len(blocks), batch) for e in self.encode(blocks[at : at + batch])]
            for i, some in ready:
                parts[i].append(streams[i].take(encoded[: len(some)]))
                del encoded[: len(some)]
        return [Labels.concatenate([*part, stream.rest()]) for part, stream in zip(parts, streams, strict=True)]

    def resized(self, frames_THWC: NDArray[np.uint8]) -> NDArray[np.uint8]:
        """Resize frames of any size to the model's. Raises RequestError unless they are (T, H, W, 3) uint8."""
        return resize_frames(frames_THWC, self.height, self.width)

    def initial_state(self) -> LatentActionState:
        """Return the initial state of one stream at the model's rate."""
        return self.bundle.genie.lam.encoder_state(1)

    @torch.inference_mode()
    def encode(self, blocks: Sequence[Block]) -> list[Encoded]:
        """Encode one block from each of several streams in one pass of the networks."""
        genie = self.bundle.genie
        # Padding after an episode's last frame has no effect on earlier frames: attention is causal.
        frames_BTHWC = np.zeros((len(blocks), BLOCK, self.height, self.width, 3), np.uint8)
        for frames_THWC, block in zip(frames_BTHWC, blocks, strict=True):
            frames_THWC[: len(block.frames_THWC)] = block.frames_THWC
        pixels_BTCHW = self.bundle.pixels(frames_BTHWC)
        state = LatentActionState.join([block.state for block in blocks])
        nothing = [None] * len(blocks)
        feature_BTF: NDArray[np.float32] | list[None] = nothing
        if isinstance(genie.lam, MotionActionModel):
            wide_BTF, latent_BTD, state = genie.lam.features_stream(pixels_BTCHW, state)
            feature_BTF = wide_BTF.cpu().numpy()
        else:
            latent_BTD, state = genie.lam.latents_stream(genie.lam_view(pixels_BTCHW), state)
        code_BT = genie.lam.quantizer.nearest(latent_BTD).cpu().numpy().astype(np.uint16)
        confidence_BT = genie.lam.quantizer.confidence(latent_BTD).cpu().numpy()
        fine = genie.lam.fine_quantizer
        fine_BT = nothing if fine is None else fine.nearest(latent_BTD).cpu().numpy().astype(np.uint16)
        rows = (latent_BTD.cpu().numpy(), code_BT, confidence_BT, state.split(), fine_BT, feature_BTF)
        return [Encoded(*row) for row in zip(*rows, strict=True)]


class EpisodeStream:
    """Labels one episode with a `Labeller`. Not thread-safe.

    `push` and `finish` do everything. To encode blocks of many streams together, use the steps below::

        stream.feed(frames)              # of the model's size; and stream.end() after the last
        while blocks := stream.work():
            labels = stream.take(labeller.encode(blocks))
        labels = stream.rest()           # after the end
    """

    def __init__(self, labeller: Labeller, step: int, density: Density, feature: bool = False) -> None:
        if step < 1:
            raise RequestError("step", f"got {step}, expected at least 1 frame")
        if density not in ("dense", "strided"):
            raise RequestError("density", f"got {density!r}, expected 'dense' or 'strided'")
        if feature and labeller.feature_dim is None:
            raise RequestError("feature", f"model {labeller.bundle.name} gives none: it does not read motion")
        self._labeller, self._step = labeller, step
        self._feature_dim = labeller.feature_dim if feature else None
        # Transitions of `_part` frames are encoded, and summed if that is not all of the step. Frames p, p + part,
        # p + 2 part ... are one stream at the model's rate: phase p. It has a state once it has frames.
        self._part = labeller.part_length(step)
        self._sums = TransitionSums(labeller.bundle.info, step, density) if self._part < step else None
        self._phases = self._part if density == "dense" else 1
        self._states: list[LatentActionState] = []
        self._pending: list[NDArray[np.uint8]] = []
        self._pending_count = 0
        self._taken = 0
        self._ended = False

    @property
    def frames(self) -> int:
        """Number of frames received so far."""
        return self._taken + self._pending_count

    def push(self, frames_THWC: NDArray[np.uint8]) -> Labels:
        """Add the episode's next frames, (T, H, W, 3) uint8 of any size; return the labels that became final.

        Raises:
            RequestError: frames have another shape or dtype.

        """
        self.feed(self._labeller.resized(frames_THWC))
        done = self._work_off()
        return Labels.concatenate(done) if done else self._invalid(self._next_label, 0)

    def finish(self) -> Labels:
        """Return the remaining labels; the last `step` of the episode are invalid."""
        self.end()
        return Labels.concatenate([*self._work_off(), self.rest()])

    def feed(self, frames_THWC: NDArray[np.uint8]) -> None:
        """Add the episode's next frames, (T, H, W, 3) uint8 of the model's size, without computing anything yet.

        The caller resizes, where that costs least. Raises RequestError for frames of another shape, size or dtype.
        """
        frames = conform_frames(frames_THWC)
        size, wanted = frames.shape[1:3], (self._labeller.height, self._labeller.width)
        if size != wanted:
            raise RequestError(
                "frames", f"got {size[0]} x {size[1]} pixels, expected the model's {wanted[0]} x {wanted[1]}"
            )
        self._pending.append(frames)
        self._pending_count += len(frames)

    def end(self) -> None:
        """Mark the end of the episode, so that `work` also returns the last, incomplete blocks."""
        self._ended = True

    def work(self) -> list[Block]:
        """Return the blocks to encode next, in the order that `take` expects; none until there are enough frames."""
        span = BLOCK * self._part
        if self._pending_count < span and not (self._ended and self._pending_count):
            return []
        if len(self._pending) > 1:
            self._pending = [np.concatenate(self._pending)]
        frames = self._pending[0][:span]
        unborn = min(self._phases, len(frames)) - len(self._states)
        self._states += [self._labeller.nothing] * unborn  # shared: states are never modified
        begun = self._states[: self._pending_count]
        return [Block(frames[phase :: self._part], state) for phase, state in enumerate(begun)]

    def take(self, encoded: Sequence[Encoded]) -> Labels:
        """Return the labels that became final with the blocks last returned by `work`."""
        labels = self._take_parts(encoded)
        return labels if self._sums is None else self._sums.take(labels)

    def _take_parts(self, encoded: Sequence[Encoded]) -> Labels:
        """Return the labels of the encoded transitions, which are `_part` frames long."""
        step, first = self._part, self._taken
        count = min(BLOCK * step, self._pending_count)
        out = self._invalid(first - step, BLOCK * step)
        for phase, part in enumerate(encoded):
            self._states[phase] = part.state
            out.code[phase::step] = part.code
            out.latent[phase::step] = part.latent
            out.confidence[phase::step] = part.confidence
            out.valid[phase::step] = True
            if out.fine_code is not None and part.fine_code is not None:
                out.fine_code[phase::step] = part.fine_code
            if out.feature is not None and part.feature is not None:
                out.feature[phase::step] = part.feature
        self._pending = [self._pending[0][count:]]
        self._pending_count -= count
        self._taken += count
        unborn = max(0, step - first)  # no transition ends at the first frames
        return Labels(
            out.start + unborn,
            out.code[unborn:count],
            out.latent[unborn:count],
            out.confidence[unborn:count],
            out.valid[unborn:count],
            fine_code=None if out.fine_code is None else out.fine_code[unborn:count],
            feature=None if out.feature is None else out.feature[unborn:count],
        )

    def rest(self) -> Labels:
        """Return the labels of the last `step` frames, which are invalid; call it after `end`, when no work is left."""
        return self._invalid(self._next_label, self._taken - self._next_label)

    def _invalid(self, start: int, count: int) -> Labels:
        of = self._labeller
        return Labels.invalid(start, count, of.latent_dim, fine=of.has_fine, feature_dim=self._feature_dim)

    @property
    def _next_label(self) -> int:
        return max(0, self._taken - self._step)

    def _work_off(self) -> list[Labels]:
        done: list[Labels] = []
        while blocks := self.work():
            done.append(self.take([e for block in blocks for e in self._labeller.encode([block])]))
        return done


__all__ = ["BLOCK", "Block", "Encoded", "EpisodeStream", "Labeller"]
