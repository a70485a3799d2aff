"""Episodes as the dynamics model sees them: tokens and latent actions of a bundle, made once and kept in memory."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass

import numpy as np
import torch
from torch import Tensor

from genie_core.data import Episode, resize_frames, resolve_step
from genie_core.errors import DatasetError
from genie_core.models.bundle import Bundle
from genie_core.training.stages import read_tokens

_CHUNK = 32


@dataclass(frozen=True)
class TokenEpisodes:
    """Tokens (T, N) int16 and actions (T - 1, D) of each episode, at the model's rate."""

    tokens: tuple[Tensor, ...]
    actions: tuple[Tensor, ...]

    @property
    def frames(self) -> int:
        """In all."""
        return sum(len(token_TN) for token_TN in self.tokens)

    def draw(self, rng: np.random.Generator, batch: int, frames: int) -> tuple[Tensor, Tensor]:
        """Clips drawn uniformly over all places where one fits: tokens (B, T, N) int64 and actions (B, T - 1, D)."""
        places = np.array([max(0, len(token_TN) - frames + 1) for token_TN in self.tokens])
        ends = np.cumsum(places)
        tokens, actions = [], []
        for pick in rng.integers(ends[-1], size=batch):
            i = int(np.searchsorted(ends, pick, side="right"))
            first = int(pick - (ends[i] - places[i]))
            tokens.append(self.tokens[i][first : first + frames])
            actions.append(self.actions[i][first : first + frames - 1])
        return torch.stack(tokens).long(), torch.stack(actions)


@torch.inference_mode()
def tokenize(
    bundle: Bundle, episodes: Sequence[Episode], frames: int, progress: Callable[[int], None] = lambda done: None
) -> TokenEpisodes:
    """Encode every episode that has `frames` frames at the model's rate. Raises DatasetError if none has."""
    config = bundle.config
    tokens: list[Tensor] = []
    actions: list[Tensor] = []
    for done, episode in enumerate(episodes):
        step = resolve_step(episode.fps, config.fps, None).step
        pictures = np.concatenate([resize_frames(c, config.height, config.width) for c in episode.chunks()])[::step]
        if len(pictures) >= frames:
            token_TN, action_TD = _encoded(bundle, pictures)
            tokens.append(token_TN.to(torch.int16))
            actions.append(action_TD)
        progress(done + 1)
    if not tokens:
        raise DatasetError(f"no episode has {frames} frames at {config.fps:g} a second, expected some")
    return TokenEpisodes(tuple(tokens), tuple(actions))


def _encoded(bundle: Bundle, pictures_THWC: np.ndarray[tuple[int, ...], np.dtype[np.uint8]]) -> tuple[Tensor, Tensor]:
    tokens, actions = [], []
    for first in range(0, len(pictures_THWC), _CHUNK):
        before = min(first, 1)  # one frame more, for the transition between chunks
        pixels = bundle.pixels(pictures_THWC[None, first - before : first + _CHUNK])
        if pixels.shape[1] < 2:
            tokens.append(bundle.genie.tokenizer.encode(pixels)[0].cpu())
            continue
        token_1TN, action_1TD = read_tokens(bundle.genie, pixels, bundle.genie.lam_view(pixels))
        tokens.append(token_1TN[0, before:].cpu())
        actions.append(action_1TD[0].cpu())
    return torch.cat(tokens), torch.cat(actions)


__all__ = ["TokenEpisodes", "tokenize"]
