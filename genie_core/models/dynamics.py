"""The dynamics model (Bruce et al. 2024, Section 2.1, Figure 7): a decoder-only MaskGIT over video tokens.

Latent actions are ADDED as embeddings. The network predicts the hidden tokens of a frame from the visible ones, the
previous frames and the actions. For sampling, see `genie_core.inference`.
"""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass, replace

import torch
from torch import Tensor, nn

from genie_core.models.config import DynamicsConfig
from genie_core.models.frame_graph import graph_for
from genie_core.models.patches import ConvMaps
from genie_core.models.transformer import FramePast, SpatioTemporalTransformer, TemporalState

COPY_LOGIT = 6.0
"""Initial gate of `copy_previous`: of 1,024 tokens, the previous one is then drawn a quarter of the time."""

REVEAL_ROWS = 16
"""Tokens are revealed in multiples of this number: matrix kernels sum fewer than a dozen rows in another order when
two threads share them (MKL), and the bits of a rollout would then depend on how busy the machine is."""


@dataclass(frozen=True)
class Told:
    """What a model that mends moved frames is told of them beside their tokens.

    Attributes:
        maps_BTCHW: maps of the frames' size.
        other_BTNO: int64 tokens of other pictures that may be shown instead.

    """

    maps_BTCHW: Tensor
    other_BTNO: Tensor


@dataclass(frozen=True)
class NextFrame:
    """Everything about a frame being drawn that does not change while its tokens are revealed.

    Attributes:
        previous_B1N: int64 tokens of the previous frame.
        action_B1D: latent action that leads to the frame.
        past: prepared past of the transformer.
        told_B1PD: what the frame's maps, and tokens of other pictures, say of each place; None if it is told nothing.
        other_B1NO: those tokens.

    """

    previous_B1N: Tensor
    action_B1D: Tensor
    past: FramePast
    told_B1PD: Tensor | None = None
    other_B1NO: Tensor | None = None


class DynamicsModel(nn.Module):
    """Predicts next-frame tokens from past tokens and latent actions; `mask_token` (one past the last) is hidden.

    With `config.group` G > 1, squares of G x G tokens share one place (P places per frame) of the transformer: their
    embeddings are concatenated, and the head gives logits for each of them.

    A model that mends moved frames is `Told` more: `maps` maps, and the tokens of `others` other pictures. With
    `copy_previous` their tokens are raised, too.
    """

    def __init__(
        self,
        config: DynamicsConfig,
        token_grid: tuple[int, int],
        codes: int,
        action_dim: int,
        maps: int = 0,
        others: int = 0,
    ) -> None:
        super().__init__()
        dim, self.group, self.token_grid = config.transformer.dim, config.group, token_grid
        self.codes = self.mask_token = codes
        self.tokens_per_frame = token_grid[0] * token_grid[1]
        self.places = self.tokens_per_frame // self.group**2
        width = dim // self.group**2
        self.embed = nn.Embedding(codes + 1, width)
        self.embed_previous = nn.Embedding(codes + 1, width) if config.previous_tokens else None
        self.action = nn.Linear(action_dim, dim)
        self.position_ND = nn.Parameter(0.02 * torch.randn(self.places, dim))
        self.transformer = SpatioTemporalTransformer(config.transformer, config.temporal)
        self.head = nn.Linear(dim, self.group**2 * codes, bias=False)
        self.copy = nn.Linear(dim, self.group**2 * (1 + others)) if config.copy_previous else None
        self.maps = ConvMaps(token_grid, self.group, maps, dim) if maps else None
        self.embed_others = nn.Embedding(others * codes, width) if others else None
        if self.copy is not None:  # start from "nothing changes", already a good guess
            nn.init.zeros_(self.copy.weight)
            nn.init.zeros_(self.copy.bias)
            nn.init.constant_(self.copy.bias.view(self.group**2, 1 + others)[:, 0], COPY_LOGIT)
        for table in (self.embed, self.embed_previous, self.embed_others):
            if table is not None:
                nn.init.trunc_normal_(table.weight, std=0.02)

    def _embed(
        self, token_BTN: Tensor, previous_BTN: Tensor, action_BTD: Tensor, told_BTPD: Tensor | None = None
    ) -> Tensor:
        """Return the transformer's input, (B, T, P, dim)."""
        x_BTND: Tensor = self.embed(token_BTN)
        if self.embed_previous is not None:
            x_BTND = x_BTND + self.embed_previous(previous_BTN)
        placed_BTPD: Tensor = self._grouped(x_BTND) + self.position_ND + self._acted(action_BTD)
        return placed_BTPD if told_BTPD is None else placed_BTPD + told_BTPD

    def _told(self, told: Told | None) -> Tensor | None:
        """Read what is told into (B, T, P, dim)."""
        if told is None or self.maps is None or self.embed_others is None:
            return None
        told_BTPD: Tensor = self.maps(told.maps_BTCHW.to(self.position_ND.dtype))
        others = torch.arange(told.other_BTNO.shape[-1], device=told.other_BTNO.device)
        return told_BTPD + self._grouped(self.embed_others(told.other_BTNO + others * self.codes).sum(-2))

    def _acted(self, action_BTD: Tensor) -> Tensor:
        acted_BTD: Tensor = self.action(action_BTD.to(self.action.weight.dtype))
        return acted_BTD[:, :, None]

    def _grouped(self, x_BTND: Tensor) -> Tensor:
        """(B, T, N, D) -> (B, T, P, G * G * D): concatenate the tokens of each square."""
        B, T, _, D = x_BTND.shape
        (h, w), g = self.token_grid, self.group
        x = x_BTND.view(B, T, h // g, g, w // g, g, D).transpose(3, 4)
        return x.reshape(B, T, self.places, g * g * D)

    def _ungrouped(self, x_BTPD: Tensor) -> Tensor:
        """Return the inverse of `_grouped`."""
        B, T, P, D = x_BTPD.shape
        (h, w), g = self.token_grid, self.group
        x = x_BTPD.view(B, T, h // g, w // g, g, g, D // g**2).transpose(3, 4)
        return x.reshape(B, T, P * g * g, D // g**2)

    def forward(self, token_BTN: Tensor, previous_BTN: Tensor, action_BTD: Tensor, told: Told | None = None) -> Tensor:
        """Return logits (B, T, N, codes) for whole clips.

        Args:
            token_BTN: int64 tokens, `mask_token` where hidden.
            previous_BTN: int64 tokens of the previous frame, all visible; `mask_token` before the first frame.
            action_BTD: latent action that led to each frame; zeros for the first frame.
            told: what is told beside, to a model that mends.

        """
        x_BTPD = self._embed(token_BTN, previous_BTN, action_BTD, self._told(told))
        return self._logits(self.transformer(x_BTPD), previous_BTN, None if told is None else told.other_BTNO)

    def _logits(self, y_BTPD: Tensor, previous_BTN: Tensor, other_BTNO: Tensor | None = None) -> Tensor:
        logits_BTNK = self._ungrouped(self.head(y_BTPD))
        if self.copy is None:
            return logits_BTNK
        gate_BTNS = self._ungrouped(self.copy(y_BTPD))
        return self._raise(logits_BTNK, gate_BTNS, _shown_before(previous_BTN, other_BTNO))

    def _raise(self, logits: Tensor, gate: Tensor, shown: Tensor) -> Tensor:
        """Add gates (..., S) to the logits (..., K) of tokens (..., S): of the previous frame, and of more pictures."""
        gate = gate * (shown != self.mask_token)
        return logits.scatter_add(-1, shown.clamp(max=self.codes - 1), gate.to(logits.dtype))

    def _places(self, at_BM: Tensor) -> tuple[Tensor, Tensor]:
        """Return the place of each token at indices (B, M) of a frame, and its index within the place's group."""
        g, width = self.group, self.token_grid[1]
        row, column = at_BM // width, at_BM % width
        return (row // g) * (width // g) + column // g, (row % g) * g + column % g

    def initial_state(self, batch: int) -> TemporalState:
        """Return the initial state of `batch` streams."""
        return self.transformer.initial_state(batch, self.places)

    def stream(
        self, token_BTN: Tensor, previous_BTN: Tensor, action_BTD: Tensor, state: TemporalState
    ) -> tuple[Tensor, TemporalState]:
        """Compute `forward` for the next T frames of B streams; returns the state after them, too."""
        y_BTND, state = self.transformer.stream(self._embed(token_BTN, previous_BTN, action_BTD), state)
        return self._logits(y_BTND, previous_BTN), state

    def next_frame(
        self, previous_BN: Tensor, action_BD: Tensor, state: TemporalState, told: Told | None = None
    ) -> NextFrame:
        """Start the next frame of B streams; `reveal` then returns logits of its tokens, step by step."""
        past, other_B1NO = self.transformer.past(state), None if told is None else told.other_BTNO
        return NextFrame(previous_BN[:, None], action_BD[:, None], past, self._told(told), other_B1NO)

    @contextmanager
    def drawing(self, previous_BN: Tensor, action_BD: Tensor, state: TemporalState) -> Iterator[NextFrame]:
        """`next_frame` while it is drawn by one thread: on a GPU, where it pays, by a pass that was recorded once."""
        frame = self.next_frame(previous_BN, action_BD, state)
        graph = graph_for(self.transformer, frame.past.tensors)
        if graph is None:
            yield frame
            return
        with graph.lock:
            yield replace(frame, past=self.transformer.replayed(frame.past, graph))

    def reveal(self, frame: NextFrame, token_BN: Tensor, at_BM: Tensor) -> Tensor:
        """Return logits (B, M, codes) at token indices (B, M); `token_BN` holds the frame's tokens visible so far."""
        count = at_BM.shape[1]
        at_BM = torch.cat((at_BM, at_BM[:, -1:].expand(-1, -count % REVEAL_ROWS)), dim=1)
        place_BM, within_BM = self._places(at_BM)
        x_B1PD = self._embed(token_BN[:, None], *_context(frame))
        y_BMD = self.transformer.frame_at(x_B1PD, frame.past, place_BM)[:, 0]
        logits_BMK = _of_group(self.head(y_BMD), within_BM, self.group**2)
        if self.copy is not None:
            gate_BMS = _of_group(self.copy(y_BMD), within_BM, self.group**2)
            shown_BNS = _shown_before(frame.previous_B1N, frame.other_B1NO)[:, 0]
            shown_BMS = shown_BNS.gather(1, at_BM[..., None].expand(-1, -1, shown_BNS.shape[-1]))
            logits_BMK = self._raise(logits_BMK, gate_BMS, shown_BMS)
        return logits_BMK[:, :count]

    def remember(self, frame: NextFrame, token_BN: Tensor) -> TemporalState:
        """Return the state after the frame, all of whose tokens are now visible."""
        return self.transformer.advance(self._embed(token_BN[:, None], *_context(frame)), frame.past)


def _context(frame: NextFrame) -> tuple[Tensor, Tensor, Tensor | None]:
    return frame.previous_B1N, frame.action_B1D, frame.told_B1PD


def _shown_before(previous_BTN: Tensor, other_BTNO: Tensor | None) -> Tensor:
    """Return tokens whose logits are raised, (B, T, N, S): those of the previous frame first."""
    previous_BTN1 = previous_BTN[..., None]
    return previous_BTN1 if other_BTNO is None else torch.cat((previous_BTN1, other_BTNO), dim=-1)


def _of_group(y_BMX: Tensor, within_BM: Tensor, members: int) -> Tensor:
    """(B, M, members * X) -> (B, M, X): select the part of one member of each square."""
    if members == 1:
        return y_BMX
    parts_BMGX = y_BMX.view(*y_BMX.shape[:-1], members, -1)
    index_BM1X = within_BM[..., None, None].expand(-1, -1, 1, parts_BMGX.shape[-1])
    return parts_BMGX.gather(2, index_BM1X).squeeze(2)


def previous_tokens(token_BTN: Tensor, mask_token: int) -> Tensor:
    """Return the tokens of the frame before each frame; `mask_token` before the first."""
    first = torch.full_like(token_BTN[:, :1], mask_token)
    return torch.cat((first, token_BTN[:, :-1]), dim=1)


__all__ = ["REVEAL_ROWS", "DynamicsModel", "NextFrame", "Told", "previous_tokens"]
