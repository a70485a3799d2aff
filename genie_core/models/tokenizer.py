"""The video tokenizer (Bruce et al. 2024, Section 2.1, Figure 6): a causal VQ-VAE, whose tokens see no later frame."""

from __future__ import annotations

from dataclasses import dataclass

import torch
import torch.nn.functional as F
from torch import Tensor, nn

from genie_core.models.config import TokenizerConfig
from genie_core.models.patches import Beside, ConvPatches, ConvPixels, LinearPatches, LinearPixels
from genie_core.models.quantizer import VectorQuantizer
from genie_core.models.transformer import SpatioTemporalTransformer, TemporalState


@dataclass(frozen=True)
class TokenizerOutput:
    """One training pass: reconstruction (B, T, 3, H, W) in [-0.5, 0.5], tokens (B, T, N) int64, the two losses."""

    pixels_BTCHW: Tensor
    token_BTN: Tensor
    reconstruction_loss: Tensor
    commitment_loss: Tensor


def _stem(c: TokenizerConfig, height: int, width: int) -> tuple[nn.Module, nn.Module]:
    """Return the modules from pixels to tokens and back."""
    linear = LinearPatches(c.patch, 3, c.encoder.dim), LinearPixels(c.patch, 3, c.decoder.dim, height, width)
    if c.stem == "patch":
        return linear
    patches: nn.Module = ConvPatches(c.patch, 3, c.encoder.dim, c.stem_width)
    pixels: nn.Module = ConvPixels(c.patch, 3, c.decoder.dim, c.stem_width, height, width)
    return (Beside(patches, linear[0]), Beside(pixels, linear[1])) if c.stem_skip else (patches, pixels)


class VideoTokenizer(nn.Module):
    """Frames to discrete tokens and back."""

    def __init__(self, config: TokenizerConfig, height: int, width: int) -> None:
        super().__init__()
        c = config
        self.tokens_per_frame = (height // c.patch) * (width // c.patch)
        self.patches, self.pixels = _stem(c, height, width)
        self.encoder_position_ND = nn.Parameter(0.02 * torch.randn(self.tokens_per_frame, c.encoder.dim))
        self.decoder_position_ND = nn.Parameter(0.02 * torch.randn(self.tokens_per_frame, c.decoder.dim))
        self.encoder = SpatioTemporalTransformer(c.encoder, c.temporal)
        self.decoder = SpatioTemporalTransformer(c.decoder, c.temporal)
        self.to_latent = nn.Linear(c.encoder.dim, c.quantizer.dim)
        self.from_latent = nn.Linear(c.quantizer.dim, c.decoder.dim)
        self.quantizer = VectorQuantizer(c.quantizer)

    def latents(self, pixels_BTCHW: Tensor) -> Tensor:
        """(B, T, 3, H, W) in [-0.5, 0.5] -> (B, T, N, dim) unit latents."""
        y_BTND = self.encoder(self.patches(pixels_BTCHW.to(self.encoder_position_ND.dtype)) + self.encoder_position_ND)
        return F.normalize(self.to_latent(y_BTND).float(), dim=-1)

    def encode(self, pixels_BTCHW: Tensor) -> Tensor:
        """(B, T, 3, H, W) in [-0.5, 0.5] -> (B, T, N) int64 tokens."""
        return self.quantizer.nearest(self.latents(pixels_BTCHW))

    def decode(self, token_BTN: Tensor) -> Tensor:
        """(B, T, N) int64 -> (B, T, 3, H, W), about [-0.5, 0.5]."""
        return self._draw(self.quantizer.lookup(token_BTN))

    def _draw(self, vector_BTND: Tensor) -> Tensor:
        out: Tensor = self.pixels(self.decoder(self._to_draw(vector_BTND)))
        return out

    def _to_draw(self, vector_BTND: Tensor) -> Tensor:
        x_BTND: Tensor = self.from_latent(vector_BTND.to(self.from_latent.weight.dtype))
        return x_BTND + self.decoder_position_ND

    def decoder_state(self, batch: int) -> TemporalState:
        """Return the initial state of `batch` decoding streams."""
        return self.decoder.initial_state(batch, self.tokens_per_frame)

    def decode_stream(self, token_BTN: Tensor, state: TemporalState) -> tuple[Tensor, TemporalState]:
        """Decode the next T frames of B streams, as `decode` would in one pass; also returns the state after them."""
        y_BTND, state = self.decoder.stream(self._to_draw(self.quantizer.lookup(token_BTN)), state)
        return self.pixels(y_BTND), state

    def forward(self, pixels_BTCHW: Tensor, *, quantize: bool = True, noise: float = 0.0) -> TokenizerOutput:
        """Run one training pass.

        Args:
            pixels_BTCHW: (B, T, 3, H, W) in [-0.5, 0.5].
            quantize: False passes the latents on unquantized, with Gaussian noise of norm about `noise`, which spreads
                them as quantization will require: training starts this way and quantizes later.
            noise: see `quantize`.

        """
        latent_BTND = self.latents(pixels_BTCHW)
        quantized = self.quantizer(latent_BTND) if quantize else self.quantizer.pass_noisy(latent_BTND, noise)
        drawn = self._draw(quantized.vector).float()
        return TokenizerOutput(drawn, quantized.code, F.mse_loss(drawn, pixels_BTCHW), quantized.loss)


__all__ = ["TokenizerOutput", "VideoTokenizer"]
