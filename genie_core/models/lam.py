"""The latent action model (Bruce et al. 2024, Section 2.1, Figure 5).

The encoder reads frames x_1 .. x_{t+1} and gives one vector a transition, which is quantized to a small codebook; the
decoder reads the past frames and the quantized actions and predicts x_{t+1}. The decoder exists only to train:
labelling runs the encoder alone, as a stream.
"""

from __future__ import annotations

from dataclasses import dataclass

import torch
import torch.nn.functional as F
from torch import Tensor, nn

from genie_core.models.config import LatentActionConfig
from genie_core.models.patches import LinearPatches, LinearPixels
from genie_core.models.quantizer import VectorQuantizer
from genie_core.models.transformer import SpatioTemporalTransformer, TemporalState


@dataclass(frozen=True)
class LatentActionOutput:
    """One training pass over clips of T frames, with T - 1 transitions.

    Attributes:
        predicted_BTCHW: (B, T - 1, C, H, W) the predicted frames 1 .. T - 1.
        latent_BTD: (B, T - 1, D) unit vectors before quantization.
        code_BT: (B, T - 1) int64.
        commitment_loss: scalar.

    """

    predicted_BTCHW: Tensor
    latent_BTD: Tensor
    code_BT: Tensor
    commitment_loss: Tensor


class LatentActionModel(nn.Module):
    """Reads actions off video. `channels` is 3 for pixels, the tokenizer's latent dim where it reads tokens."""

    def __init__(
        self, config: LatentActionConfig, height: int, width: int, channels: int = 3, patch: int | None = None
    ) -> None:
        super().__init__()
        c = config
        patch = c.patch if patch is None else patch
        self.residual, self.from_pixels = c.residual, c.source == "pixels"
        self.patch_count = (height // patch) * (width // patch)
        self.encoder_patches = LinearPatches(patch, channels, c.encoder.dim)
        self.decoder_patches = LinearPatches(patch, channels, c.decoder.dim)
        self.decoder_pixels = LinearPixels(patch, channels, c.decoder.dim, height, width)
        self.encoder_position_ND = nn.Parameter(0.02 * torch.randn(self.patch_count, c.encoder.dim))
        self.decoder_position_ND = nn.Parameter(0.02 * torch.randn(self.patch_count, c.decoder.dim))
        self.encoder = SpatioTemporalTransformer(c.encoder)
        self.decoder = SpatioTemporalTransformer(c.decoder)
        self.to_latent = nn.Linear(c.encoder.dim, c.quantizer.dim)
        self.from_latent = nn.Linear(c.quantizer.dim, c.decoder.dim)
        self.quantizer = VectorQuantizer(c.quantizer)
        if c.residual:  # start at "nothing changes", a good guess already
            nn.init.zeros_(self.decoder_pixels.linear.weight)
            nn.init.zeros_(self.decoder_pixels.linear.bias)

    def latents(self, x_BTCHW: Tensor) -> Tensor:
        """(B, T, C, H, W) -> (B, T - 1, D) unit vectors; the one at t describes x_t -> x_{t+1}."""
        y_BTND = self.encoder(self.encoder_patches(x_BTCHW) + self.encoder_position_ND)
        return self._pool(y_BTND)[:, 1:]

    def encoder_state(self, batch: int) -> TemporalState:
        """The state of `batch` labelling streams that have seen nothing."""
        return self.encoder.initial_state(batch, self.patch_count)

    def latents_stream(self, x_BTCHW: Tensor, state: TemporalState) -> tuple[Tensor, TemporalState]:
        """The next T frames of B streams -> (B, T, D), and the state after; the vector at t describes x_{t-1} -> x_t.

        The vector of a stream's very first frame describes nothing.
        """
        y_BTND, state = self.encoder.stream(self.encoder_patches(x_BTCHW) + self.encoder_position_ND, state)
        return self._pool(y_BTND), state

    def _pool(self, y_BTND: Tensor) -> Tensor:
        return F.normalize(self.to_latent(y_BTND.mean(dim=2)).float(), dim=-1)

    def predict(self, x_BTCHW: Tensor, action_BTD: Tensor) -> Tensor:
        """Frames (B, T, C, H, W) and what is done at each (B, T, D) -> the frame after each, (B, T, C, H, W)."""
        x_BTND = self.decoder_patches(x_BTCHW) + self.decoder_position_ND + self.from_latent(action_BTD)[:, :, None]
        y_BTCHW: Tensor = self.decoder_pixels(self.decoder(x_BTND)).float()
        if self.residual:
            return x_BTCHW + y_BTCHW
        return torch.sigmoid(y_BTCHW) - 0.5 if self.from_pixels else y_BTCHW

    def forward(
        self, x_BTCHW: Tensor, seen_BTCHW: Tensor | None = None, *, quantize: bool = True, noise: float = 0.0
    ) -> LatentActionOutput:
        """One training pass.

        Args:
            x_BTCHW: clips that the decoder reads and predicts.
            seen_BTCHW: what the encoder reads instead (the same clips, augmented); None for the clips themselves.
            quantize: False passes the latents on unquantized, with Gaussian noise of norm about `noise` against
                leaks: training starts so and quantizes later.
            noise: see `quantize`.

        """
        latent_BTD = self.latents(x_BTCHW if seen_BTCHW is None else seen_BTCHW)
        if quantize:
            quantized = self.quantizer(latent_BTD)
            action_BTD, code_BT, loss = quantized.vector, quantized.code, quantized.loss
        else:
            scale = noise * latent_BTD.shape[-1] ** -0.5
            action_BTD = latent_BTD + scale * torch.randn_like(latent_BTD)
            code_BT, loss = self.quantizer.nearest(latent_BTD), latent_BTD.new_zeros(())
        return LatentActionOutput(self.predict(x_BTCHW[:, :-1], action_BTD), latent_BTD, code_BT, loss)


__all__ = ["LatentActionModel", "LatentActionOutput"]
