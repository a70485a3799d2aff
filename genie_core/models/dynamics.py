"""The dynamics model (Bruce et al. 2024, Section 2.1, Figure 7): a decoder-only MaskGIT over video tokens.

Latent actions are ADDED as embeddings; the network predicts the hidden tokens of a frame from the visible ones, the
frames before, and the actions. Sampling is `genie_core.inference`'s work.
"""

from __future__ import annotations

import torch
from torch import Tensor, nn

from genie_core.models.config import DynamicsConfig
from genie_core.models.transformer import SpatioTemporalTransformer, TemporalState

COPY_LOGIT = 6.0
"""Where the gate of `copy_previous` starts: of 1,024 tokens, the previous one is then drawn a quarter of the time."""


class DynamicsModel(nn.Module):
    """Next-frame tokens from past tokens and latent actions; `mask_token`, one past the last, is a hidden one.

    With `config.group` G > 1, squares of G x G tokens share one place (P places a frame) of the transformer: their
    embeddings stand side by side in it, and its head gives logits for each of them.
    """

    def __init__(self, config: DynamicsConfig, token_grid: tuple[int, int], codes: int, action_dim: int) -> None:
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
        self.transformer = SpatioTemporalTransformer(config.transformer)
        self.head = nn.Linear(dim, self.group**2 * codes, bias=False)
        self.copy = nn.Linear(dim, self.group**2) if config.copy_previous else None
        if self.copy is not None:  # start at "nothing changes", a good guess already
            nn.init.zeros_(self.copy.weight)
            nn.init.constant_(self.copy.bias, COPY_LOGIT)
        for table in (self.embed, self.embed_previous):
            if table is not None:
                nn.init.trunc_normal_(table.weight, std=0.02)

    def _embed(self, token_BTN: Tensor, previous_BTN: Tensor, action_BTD: Tensor) -> Tensor:
        """What the transformer reads, (B, T, P, dim)."""
        x_BTND: Tensor = self.embed(token_BTN)
        if self.embed_previous is not None:
            x_BTND = x_BTND + self.embed_previous(previous_BTN)
        placed_BTPD: Tensor = self._grouped(x_BTND) + self.position_ND + self.action(action_BTD)[:, :, None]
        return placed_BTPD

    def _grouped(self, x_BTND: Tensor) -> Tensor:
        """(B, T, N, D) -> (B, T, P, G * G * D): the tokens of each square side by side."""
        B, T, _, D = x_BTND.shape
        (h, w), g = self.token_grid, self.group
        x = x_BTND.view(B, T, h // g, g, w // g, g, D).transpose(3, 4)
        return x.reshape(B, T, self.places, g * g * D)

    def _ungrouped(self, x_BTPD: Tensor) -> Tensor:
        """The inverse of `_grouped`."""
        B, T, P, D = x_BTPD.shape
        (h, w), g = self.token_grid, self.group
        x = x_BTPD.view(B, T, h // g, w // g, g, g, D // g**2).transpose(3, 4)
        return x.reshape(B, T, P * g * g, D // g**2)

    def forward(self, token_BTN: Tensor, previous_BTN: Tensor, action_BTD: Tensor) -> Tensor:
        """Logits (B, T, N, codes) for whole clips.

        Args:
            token_BTN: int64 tokens, `mask_token` where hidden.
            previous_BTN: int64 tokens of the frame before each, all visible; `mask_token` before the first frame.
            action_BTD: the latent action that led to each frame; zeros for the first frame.

        """
        return self._logits(self.transformer(self._embed(token_BTN, previous_BTN, action_BTD)), previous_BTN)

    def _logits(self, y_BTPD: Tensor, previous_BTN: Tensor) -> Tensor:
        logits_BTNK = self._ungrouped(self.head(y_BTPD))
        if self.copy is None:
            return logits_BTNK
        there_BTN1 = (previous_BTN != self.mask_token)[..., None]
        gate_BTN1 = self._ungrouped(self.copy(y_BTPD)) * there_BTN1
        return logits_BTNK.scatter_add(-1, previous_BTN.clamp(max=self.codes - 1)[..., None], gate_BTN1)

    def initial_state(self, batch: int) -> TemporalState:
        """The state of `batch` streams that have seen nothing."""
        return self.transformer.initial_state(batch, self.places)

    def stream(
        self, token_BTN: Tensor, previous_BTN: Tensor, action_BTD: Tensor, state: TemporalState
    ) -> tuple[Tensor, TemporalState]:
        """As `forward` for the next T frames of B streams, and the state after them."""
        y_BTND, state = self.transformer.stream(self._embed(token_BTN, previous_BTN, action_BTD), state)
        return self._logits(y_BTND, previous_BTN), state


def previous_tokens(token_BTN: Tensor, mask_token: int) -> Tensor:
    """The tokens of the frame before each frame; `mask_token` before the first."""
    first = torch.full_like(token_BTN[:, :1], mask_token)
    return torch.cat((first, token_BTN[:, :-1]), dim=1)


__all__ = ["DynamicsModel", "previous_tokens"]
