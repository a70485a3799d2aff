"""The spatio-temporal transformer (Bruce et al. 2024, Section 2, Figure 4) with a fixed temporal window.

A block attends over the patches of each frame, then over the same patch in past frames, then applies ONE feed-forward;
there is none between the two attentions, so the cost is linear in the number of frames. Time positions are rotary and
counted from the oldest key in the window, and temporal attention reaches back `window` frames: the keys and values of
past frames can therefore be carried along (`TemporalState`) exactly, for streams of any length.

Shape suffixes: B batch, T frames, N patches per frame, D width, H heads, E width of a head, S key frames.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import Literal, cast

import torch
import torch.nn.functional as F
from torch import Tensor, nn
from torch.utils.checkpoint import checkpoint

from genie_core.models.attention import SpatialAttention, TemporalAttention, places
from genie_core.models.config import TransformerConfig
from genie_core.models.frame_graph import FrameGraph

TemporalMode = Literal["st", "c", "none"]

KeysAndValues = list[tuple[Tensor, Tensor]]
"""Unrotated keys and values of one frame, (B, N, H, 1, E) each, for every block with temporal attention."""


@dataclass(frozen=True)
class TemporalState:
    """Temporal state of streams: keys (unrotated) and values of the last window - 1 frames, for each block.

    Attributes:
        keys: one (B, N, H, window - 1, E) tensor per block with temporal attention, oldest frame first.
        values: likewise.
        frames_B: (B,) int64, number of frames each stream has seen; fewer than window - 1 leaves slots unused.

    """

    keys: tuple[Tensor, ...]
    values: tuple[Tensor, ...]
    frames_B: Tensor

    def split(self) -> list[TemporalState]:
        """Split into the states of B streams, each in its own memory."""
        if len(self.frames_B) == 1:  # not a view: the tensors that it was cut from are several times its size
            return [
                TemporalState(
                    tuple(k.contiguous() for k in self.keys), tuple(v.contiguous() for v in self.values), self.frames_B
                )
            ]
        return [
            TemporalState(
                tuple(k[i : i + 1].clone() for k in self.keys), tuple(v[i : i + 1].clone() for v in self.values), frames
            )
            for i, frames in enumerate(torch.split(self.frames_B, 1))
        ]

    @property
    def nbytes(self) -> int:
        """Bytes that it takes in its own memory, used slots or not."""
        return sum(tensor.numel() * tensor.element_size() for tensor in (*self.keys, *self.values))

    @staticmethod
    def join(states: list[TemporalState]) -> TemporalState:
        """Join the states of streams into one batch, in order."""
        if len(states) == 1:
            return states[0]
        return TemporalState(
            tuple(torch.cat(k) for k in zip(*(state.keys for state in states), strict=True)),
            tuple(torch.cat(v) for v in zip(*(state.values for state in states), strict=True)),
            torch.cat([state.frames_B for state in states]),
        )


@dataclass(frozen=True)
class FramePast:
    """Past of a frame that is computed several times, prepared once (`SpatioTemporalTransformer.past`).

    Attributes:
        state: state that it was made from.
        keys: one rotated (B, N, H, window, E) tensor per block with temporal attention; the last slot is the frame's
            own, at position 0, so that neither its queries nor its keys need rotation.
        values: likewise.
        mask: (B, 1, 1, 1, window) bool, True for slots in use.
        graph: the recorded pass that has taken keys, values and mask over; None: nothing is recorded.

    """

    state: TemporalState
    keys: tuple[Tensor, ...]
    values: tuple[Tensor, ...]
    mask: Tensor
    graph: FrameGraph | None = None

    @property
    def tensors(self) -> list[Tensor]:
        """Return all that attention reads: keys, values, mask."""
        return [*self.keys, *self.values, self.mask]

    @staticmethod
    def of(state: TemporalState, tensors: list[Tensor], graph: FrameGraph | None = None) -> FramePast:
        """Return the past of `tensors`."""
        blocks = len(tensors) // 2
        return FramePast(state, tuple(tensors[:blocks]), tuple(tensors[blocks:-1]), tensors[-1], graph)


class TransformerBlock(nn.Module):
    """Spatial attention, temporal attention, feed-forward: pre-normalised, residual; an attention may be left out."""

    def __init__(self, config: TransformerConfig, space: bool, time: bool) -> None:
        super().__init__()
        c = config
        hidden = int(c.dim * c.ffn_ratio)
        self.space_norm = nn.LayerNorm(c.dim, bias=False) if space else None
        self.space = SpatialAttention(c.dim, c.heads, c.qk_norm) if space else None
        self.time_norm = nn.LayerNorm(c.dim, bias=False) if time else None
        self.time = TemporalAttention(c.dim, c.heads, c.qk_norm, c.window) if time else None
        self.ffn_norm = nn.LayerNorm(c.dim, bias=False)
        self.ffn = nn.Sequential(nn.Linear(c.dim, hidden), nn.GELU(), nn.Linear(hidden, c.dim))

    def forward(
        self, x_BTND: Tensor, past: tuple[Tensor, Tensor] | None, mask: Tensor | None
    ) -> tuple[Tensor, tuple[Tensor, Tensor] | None]:
        """(B, T, N, D) -> the same, and the temporal keys and values (None without temporal attention)."""
        kept = None
        if self.space is not None and self.space_norm is not None:
            x_BTND = x_BTND + self.space(self.space_norm(x_BTND))
        if self.time is not None and self.time_norm is not None:
            y_BTND, kept = self.time(self.time_norm(x_BTND), past, mask)
            x_BTND = x_BTND + y_BTND
        return x_BTND + self.ffn(self.ffn_norm(x_BTND)), kept

    def frame(
        self, x_B1ND: Tensor, ready: tuple[Tensor, Tensor] | None, mask: Tensor
    ) -> tuple[Tensor, tuple[Tensor, Tensor] | None]:
        """Compute `forward` for one frame whose past is prepared, see `TemporalAttention.frame`."""
        kept = None
        if self.space is not None and self.space_norm is not None:
            x_B1ND = x_B1ND + self.space(self.space_norm(x_B1ND))
        if self.time is not None and self.time_norm is not None and ready is not None:
            y_B1ND, kept = self.time.frame(self.time_norm(x_B1ND), *ready, mask)
            x_B1ND = x_B1ND + y_B1ND
        return x_B1ND + self.ffn(self.ffn_norm(x_B1ND)), kept

    def frame_at(self, x_B1ND: Tensor, ready: tuple[Tensor, Tensor] | None, mask: Tensor, at_BM: Tensor) -> Tensor:
        """Compute `frame` at the places (B, M) only: (B, 1, M, D)."""
        x_B1MD = places(x_B1ND, at_BM)
        if self.space is not None and self.space_norm is not None:
            x_B1MD = x_B1MD + self.space.at(self.space_norm(x_B1ND), at_BM)
        if self.time is not None and self.time_norm is not None and ready is not None:
            stream_B1 = torch.arange(len(at_BM), device=at_BM.device)[:, None]
            keys, values = (kept[stream_B1, at_BM] for kept in ready)  # (B, M, H, window, E)
            x_B1MD = x_B1MD + self.time.frame(self.time_norm(x_B1MD), keys, values, mask)[0]
        out: Tensor = x_B1MD + self.ffn(self.ffn_norm(x_B1MD))
        return out


def _plan(layers: int, mode: TemporalMode) -> list[tuple[bool, bool]]:
    """Return for each block whether it attends over (space, time)."""
    if mode == "st":
        return [(True, True)] * layers
    if mode == "none":
        return [(True, False)] * layers
    return [(i < (layers + 1) // 2, i >= (layers + 1) // 2) for i in range(layers)]


class SpatioTemporalTransformer(nn.Module):
    """A stack of blocks and a final normalisation.

    `mode` selects a row of the paper's Table 3: ``st``: every block mixes space and time; ``c``: the first half attends
    over space, the second over time (as C-ViViT); ``none``: no attention over time (as ViT).
    """

    def __init__(self, config: TransformerConfig, mode: TemporalMode = "st") -> None:
        super().__init__()
        self.window = config.window
        self.heads, self.head_dim = config.heads, config.dim // config.heads
        self.blocks = nn.ModuleList(TransformerBlock(config, space, time) for space, time in _plan(config.layers, mode))
        self.norm = nn.LayerNorm(config.dim, bias=False)
        self.temporal_blocks = sum(time for _, time in _plan(config.layers, mode))
        self.recomputes = False
        self.apply(_initialise)

    def forward(self, x_BTND: Tensor) -> Tensor:
        """Process whole clips: (B, T, N, D) -> (B, T, N, D); frame t sees frames t - window + 1 .. t."""
        mask = _window_mask(x_BTND.shape[1], x_BTND.shape[1], self.window, x_BTND.device)
        for block in self.blocks:
            if self.recomputes and torch.is_grad_enabled():
                x_BTND, _ = checkpoint(block, x_BTND, None, mask, use_reentrant=False, preserve_rng_state=False)
            else:
                x_BTND, _ = block(x_BTND, None, mask)
        out: Tensor = self.norm(x_BTND)
        return out

    def initial_state(self, batch: int, patches: int) -> TemporalState:
        """Return the initial state of `batch` streams."""
        p = next(self.parameters())
        shape = (batch, patches, self.heads, self.window - 1, self.head_dim)
        empty = tuple(torch.zeros(shape, device=p.device, dtype=p.dtype) for _ in range(self.temporal_blocks))
        return TemporalState(empty, empty, torch.zeros(batch, dtype=torch.int64, device=p.device))

    def stream(self, x_BTND: Tensor, state: TemporalState) -> tuple[Tensor, TemporalState]:
        """Process the next T frames of B streams: the same numbers as `forward` over all frames, and the new state."""
        T, reach = x_BTND.shape[1], self.window - 1
        mask = _window_mask(T, reach + T, self.window, x_BTND.device)
        slots_S = torch.arange(reach + T, device=x_BTND.device)
        used_BS = slots_S >= (reach - state.frames_B.clamp(max=reach))[:, None]
        mask_B11TS = mask & used_BS[:, None, None, None, :]
        keys: list[Tensor] = []
        values: list[Tensor] = []
        for block in self.blocks:
            i = len(keys)
            past = (state.keys[i], state.values[i]) if i < len(state.keys) else None
            x_BTND, kept = block(x_BTND, past, mask_B11TS)
            if kept is not None:
                keys.append(kept[0][:, :, :, T:])
                values.append(kept[1][:, :, :, T:])
        return self.norm(x_BTND), TemporalState(tuple(keys), tuple(values), state.frames_B + T)

    def past(self, state: TemporalState) -> FramePast:
        """Prepare the past of the next frame for `frame`: rotated once, with a slot for the frame itself."""
        times = [block.time for block in self.blocks if isinstance(block, TransformerBlock) and block.time is not None]
        # Attention depends only on relative positions: counted from the frame itself, it needs no rotation.
        first = 1 - self.window
        keys = tuple(F.pad(time.rotary(k, first), (0, 0, 0, 1)) for time, k in zip(times, state.keys, strict=True))
        values = tuple(F.pad(v, (0, 0, 0, 1)) for v in state.values)
        slots_S = torch.arange(self.window, device=state.frames_B.device)
        used_BS = slots_S >= (self.window - 1 - state.frames_B.clamp(max=self.window - 1))[:, None]
        return FramePast(state, keys, values, used_BS[:, None, None, None, :])

    def frame_at(self, x_B1ND: Tensor, past: FramePast, at_BM: Tensor) -> Tensor:
        """Process the next frame of B streams like `stream`, at the places (B, M) only: (B, 1, M, D).

        May be called for several versions of that frame, but not from two threads at once with the same `past`. The
        last block computes only those places; its output at other places is undefined.
        """
        if past.graph is not None:
            return places(past.graph.run(x_B1ND, self._whole_frame), at_BM)
        x_B1ND, new = self._frame(x_B1ND, past, self.blocks[:-1])
        ready = _ready(past, len(new))
        out: Tensor = self.norm(cast(TransformerBlock, self.blocks[-1]).frame_at(x_B1ND, ready, past.mask, at_BM))
        return out

    def advance(self, x_B1ND: Tensor, past: FramePast) -> TemporalState:
        """Return the state after the next frame, once its version is final. Not from two threads at once either."""
        state = past.state
        if past.graph is None:
            _, new = self._frame(x_B1ND, past, self.blocks)
        else:  # which leaves the frame's own in the last slots, where they need no rotation
            past.graph.run(x_B1ND, self._whole_frame)
            new = [(k[:, :, :, -1:], v[:, :, :, -1:]) for k, v in zip(past.keys, past.values, strict=True)]
        keys = tuple(torch.cat((old, k), dim=3)[:, :, :, 1:] for old, (k, _) in zip(state.keys, new, strict=True))
        values = tuple(torch.cat((old, v), dim=3)[:, :, :, 1:] for old, (_, v) in zip(state.values, new, strict=True))
        return TemporalState(keys, values, state.frames_B + 1)

    def replayed(self, past: FramePast, graph: FrameGraph) -> FramePast:
        """Return the past in the tensors of a recorded pass, which `frame_at` and `advance` then replay."""
        graph.begin(past.tensors)
        return FramePast.of(past.state, graph.past, graph)

    def _whole_frame(self, x_B1ND: Tensor, past: list[Tensor]) -> Tensor:
        """Compute all places in all blocks; the last slots of keys and values then hold the frame's own."""
        out: Tensor = self.norm(self._frame(x_B1ND, FramePast.of(_NO_STATE, past), self.blocks)[0])
        return out

    def _frame(self, x_B1ND: Tensor, past: FramePast, blocks: nn.ModuleList) -> tuple[Tensor, KeysAndValues]:
        """Run the first `blocks` on a frame; returns the output, and its keys and values in them."""
        new: list[tuple[Tensor, Tensor]] = []
        for block in blocks:
            x_B1ND, kept = cast(TransformerBlock, block).frame(x_B1ND, _ready(past, len(new)), past.mask)
            if kept is not None:
                new.append(kept)
        return x_B1ND, new


_NO_STATE = TemporalState((), (), torch.zeros(0, dtype=torch.int64))


def _ready(past: FramePast, i: int) -> tuple[Tensor, Tensor] | None:
    """Return keys and values of the past for the i-th block with temporal attention, if it exists."""
    return (past.keys[i], past.values[i]) if i < len(past.keys) else None


def _window_mask(queries: int, keys: int, window: int, device: torch.device) -> Tensor:
    """Return (queries, keys) bool: the last `queries` of `keys` frames see themselves and window - 1 frames before."""
    q = torch.arange(keys - queries, keys, device=device)[:, None]
    k = torch.arange(keys, device=device)[None, :]
    return (k <= q) & (k > q - window)


def recompute_activations(module: nn.Module, recompute: bool = True) -> None:
    """Have transformers in `module` keep only their blocks' inputs for the backward pass, and compute the rest again.

    The same gradients, in a fraction of the memory, for a third more arithmetic.
    """
    for part in module.modules():
        if isinstance(part, SpatioTemporalTransformer):
            part.recomputes = recompute


def compile_blocks(module: nn.Module, backend: str = "inductor") -> None:
    """Have `torch.compile` make the blocks of transformers in `module` when they are first used: faster, other bits.

    Block by block, as a network compiled whole takes minutes, and its blocks are what takes time.
    """
    for part in module.modules():
        if isinstance(part, SpatioTemporalTransformer):
            for block in part.blocks:
                block.compile(backend=backend, dynamic=False)


def _initialise(module: nn.Module) -> None:
    if isinstance(module, nn.Linear):
        nn.init.trunc_normal_(module.weight, std=0.02)
        if module.bias is not None:
            nn.init.zeros_(module.bias)
    elif isinstance(module, nn.Embedding):
        nn.init.trunc_normal_(module.weight, std=0.02)


__all__ = ["FramePast", "SpatioTemporalTransformer", "TemporalState", "compile_blocks", "recompute_activations"]
