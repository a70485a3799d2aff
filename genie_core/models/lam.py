"""The latent action model (Bruce et al. 2024, Section 2.1, Figure 5).

The encoder reads frames x_1 .. x_{t+1} and returns one vector per transition, which is quantized to a small codebook;
the decoder predicts x_{t+1} from the past frames and the quantized actions. The decoder is used only in training:
labelling runs the encoder alone, as a stream.
"""

from __future__ import annotations

from dataclasses import dataclass

import torch
import torch.nn.functional as F
from torch import Tensor, nn

from genie_core.models.config import LatentActionConfig
from genie_core.models.patches import ConvPatches, LinearPatches, LinearPixels
from genie_core.models.quantizer import VectorQuantizer
from genie_core.models.transformer import SpatioTemporalTransformer, TemporalState


@dataclass(frozen=True)
class LatentActionOutput:
    """One training pass over clips of T frames, with T - 1 transitions.

    Attributes:
        predicted_BTCHW: (B, T - 1, C, H, W) predicted frames 1 .. T - 1.
        latent_BTD: (B, T - 1, D) unit vectors before quantization.
        code_BT: (B, T - 1) int64.
        commitment_loss: scalar.

    """

    predicted_BTCHW: Tensor
    latent_BTD: Tensor
    code_BT: Tensor
    commitment_loss: Tensor


@dataclass(frozen=True)
class LatentActionState:
    """State of B labelling streams: the encoder's past, and the last frame (B, C, H, W), used if it sees pairs."""

    temporal: TemporalState
    last_BCHW: Tensor

    def split(self) -> list[LatentActionState]:
        """Split into the states of B streams, each in its own memory."""
        lasts = (last.clone() for last in torch.split(self.last_BCHW, 1))
        return [LatentActionState(t, last) for t, last in zip(self.temporal.split(), lasts, strict=True)]

    @property
    def nbytes(self) -> int:
        """Bytes that it takes in its own memory."""
        return self.temporal.nbytes + self.last_BCHW.numel() * self.last_BCHW.element_size()

    @staticmethod
    def join(states: list[LatentActionState]) -> LatentActionState:
        """Join the states of streams into one batch, in order."""
        if len(states) == 1:
            return states[0]
        temporal = TemporalState.join([state.temporal for state in states])
        return LatentActionState(temporal, torch.cat([state.last_BCHW for state in states]))


class LatentActionModel(nn.Module):
    """Infers latent actions from video. `channels` is 3 for pixels, the tokenizer's latent dim if it reads tokens."""

    def __init__(
        self, config: LatentActionConfig, height: int, width: int, channels: int = 3, patch: int | None = None
    ) -> None:
        super().__init__()
        c = config
        patch = c.patch if patch is None else patch
        self.residual, self.from_pixels, self.pairs = c.residual, c.source == "pixels", c.pairs
        self.patch_count = (height // patch) * (width // patch)
        self.view_shape = (channels, height, width)
        self.feature_dim = c.encoder.dim
        seen = channels * (2 if c.pairs else 1)
        self.encoder_patches: nn.Module = (
            ConvPatches(patch, seen, c.encoder.dim, c.stem_width)
            if c.stem == "conv"
            else LinearPatches(patch, seen, c.encoder.dim)
        )
        self.decoder_patches = LinearPatches(patch, channels, c.decoder.dim)
        self.decoder_pixels = LinearPixels(patch, channels, c.decoder.dim, height, width)
        self.encoder_position_ND = nn.Parameter(0.02 * torch.randn(self.patch_count, c.encoder.dim))
        self.decoder_position_ND = nn.Parameter(0.02 * torch.randn(self.patch_count, c.decoder.dim))
        self.encoder = SpatioTemporalTransformer(c.encoder)
        self.decoder = SpatioTemporalTransformer(c.decoder)
        self.to_latent = nn.Linear(c.encoder.dim, c.quantizer.dim)
        self.from_latent = nn.Linear(c.quantizer.dim, c.decoder.dim)
        self.quantizer = VectorQuantizer(c.quantizer)
        self.fine_quantizer = None if c.fine is None else VectorQuantizer(c.fine)
        if c.residual:  # start from "nothing changes", already a good guess
            nn.init.zeros_(self.decoder_pixels.linear.weight)
            nn.init.zeros_(self.decoder_pixels.linear.bias)

    def latents(self, x_BTCHW: Tensor) -> Tensor:
        """(B, T, C, H, W) -> (B, T - 1, D) unit vectors; the one at t describes x_t -> x_{t+1}."""
        return self._pool(self.features(x_BTCHW))

    def features(self, x_BTCHW: Tensor) -> Tensor:
        """(B, T, C, H, W) -> (B, T - 1, N, dim): the encoder's features of each transition before pooling."""
        y_BTND: Tensor = self.encoder(self._see(x_BTCHW, x_BTCHW[:, 0]))
        return y_BTND[:, 1:]

    def encoder_state(self, batch: int) -> LatentActionState:
        """Return the initial state of `batch` labelling streams."""
        nothing = self.encoder_position_ND.new_zeros(batch, *self.view_shape, dtype=torch.float32)
        return LatentActionState(self.encoder.initial_state(batch, self.patch_count), nothing)

    def latents_stream(self, x_BTCHW: Tensor, state: LatentActionState) -> tuple[Tensor, LatentActionState]:
        """Encode the next T frames of B streams to (B, T, D); the vector at t describes x_{t-1} -> x_t. And the state.

        The vector of a stream's first frame is meaningless.
        """
        begun_B = (state.temporal.frames_B > 0)[:, None, None, None]
        last_BCHW = torch.where(begun_B, state.last_BCHW, x_BTCHW[:, 0])
        y_BTND, temporal = self.encoder.stream(self._see(x_BTCHW, last_BCHW), state.temporal)
        return self._pool(y_BTND), LatentActionState(temporal, x_BTCHW[:, -1].clone())

    def _see(self, x_BTCHW: Tensor, last_BCHW: Tensor) -> Tensor:
        """Return the encoder's input (B, T, N, dim); `last_BCHW` is the frame before the first."""
        if self.pairs:
            before_BTCHW = torch.cat((last_BCHW[:, None], x_BTCHW[:, :-1]), dim=1)
            x_BTCHW = torch.cat((x_BTCHW, x_BTCHW - before_BTCHW), dim=2)
        # Converted to the networks' precision only now: the difference of two frames in bfloat16 would be coarse.
        tokens_BTND: Tensor = self.encoder_patches(x_BTCHW.to(self.encoder_position_ND.dtype))
        return tokens_BTND + self.encoder_position_ND

    def _pool(self, y_BTND: Tensor) -> Tensor:
        return F.normalize(self.to_latent(y_BTND.mean(dim=2)).float(), dim=-1)

    def predict(self, x_BTCHW: Tensor, action_BTD: Tensor) -> Tensor:
        """Predict the frame after each, (B, T, C, H, W), from frames (B, T, C, H, W) and actions (B, T, D)."""
        x_BTND = self.decoder_patches(x_BTCHW) + self.decoder_position_ND + self.from_latent(action_BTD)[:, :, None]
        y_BTCHW: Tensor = self.decoder_pixels(self.decoder(x_BTND)).float()
        if self.residual:
            return x_BTCHW + y_BTCHW
        return torch.sigmoid(y_BTCHW) - 0.5 if self.from_pixels else y_BTCHW

    def forward(
        self, x_BTCHW: Tensor, seen_BTCHW: Tensor | None = None, *, quantize: float = 1.0, noise: float = 0.0
    ) -> LatentActionOutput:
        """One training pass.

        Args:
            x_BTCHW: clips that the decoder reads and predicts.
            seen_BTCHW: input of the encoder (the same clips, augmented); None: the clips themselves.
            quantize: share of the clips whose actions are quantized, 0 to 1. The others' latents are passed on with
                Gaussian noise of norm about `noise`, which limits leaks: training starts with all clips unquantized;
                later a few of them keep latents more informative than their codes.
            noise: see `quantize`.

        """
        latent_BTD = self.latents(x_BTCHW if seen_BTCHW is None else seen_BTCHW)
        quantized = self.quantizer(latent_BTD) if quantize else self.quantizer.pass_noisy(latent_BTD, noise)
        vector_BTD = quantized.vector
        if 0 < quantize < 1:
            chosen_B11 = torch.rand(len(latent_BTD), 1, 1, device=latent_BTD.device) < quantize
            vector_BTD = torch.where(chosen_B11, vector_BTD, self.quantizer.pass_noisy(latent_BTD, noise).vector)
        return LatentActionOutput(self.predict(x_BTCHW[:, :-1], vector_BTD), latent_BTD, quantized.code, quantized.loss)


__all__ = ["LatentActionModel", "LatentActionOutput", "LatentActionState"]
