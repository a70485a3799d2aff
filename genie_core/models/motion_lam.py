"""The latent action model that reads motion: optical flow in, flow and the warped frame out (not in the paper).

It has the interface of `LatentActionModel` for labelling, training and evaluation; a stream carries one frame.
"""

from __future__ import annotations

from concurrent.futures import ThreadPoolExecutor

import numpy as np
import torch
import torch.nn.functional as F
from numpy.typing import NDArray
from torch import Tensor, nn

from genie_core.models.config import WHOLE, MotionActionConfig
from genie_core.models.flow import optical_flow, shrink
from genie_core.models.lam import LatentActionState
from genie_core.models.motion import GRID, PAN, MotionDecoder, MotionEncoder, Pairs
from genie_core.models.patches import to_frames
from genie_core.models.quantizer import VectorQuantizer
from genie_core.models.transformer import TemporalState
from genie_core.models.warp import warp

_PLACES_SHARE = 0.3
"""Size of the flow by places in a latent, relative to that of what the encoder finds."""


class MotionActionModel(nn.Module):
    """Infers latent actions from pairs of frames. Latents keep the magnitude of the motion: equal frames give zero."""

    from_pixels = True
    flow_threads = 1
    """Threads that optical flow is computed with: more for training, which has nothing else to do meanwhile."""
    of_places_DP: Tensor | None

    def __init__(self, config: MotionActionConfig, height: int, width: int) -> None:
        super().__init__()
        self.config = config
        self.view_shape = (3, height, width)
        self.feature_dim = config.feature_dim
        self.motion_encoder = MotionEncoder(config)
        # Chosen by `condense`, not trained.
        of_places_DP = torch.zeros(config.quantizer.dim - WHOLE, config.places_dim) if config.places else None
        self.register_buffer("of_places_DP", of_places_DP)
        self.motion_decoder = MotionDecoder(config)
        self.quantizer = VectorQuantizer(config.quantizer)
        self.fine_quantizer = None if config.fine is None else VectorQuantizer(config.fine)

    def latents(self, x_BTCHW: Tensor) -> Tensor:
        """(B, T, C, H, W) -> (B, T - 1, D); the one at t describes x_t -> x_{t+1}."""
        return self._encode(x_BTCHW[:, :-1], x_BTCHW[:, 1:])[1]

    def features(self, x_BTCHW: Tensor) -> Tensor:
        """(B, T, C, H, W) -> (B, T - 1, 1, feature_dim): the wide vector from which each latent is computed."""
        return self._encode(x_BTCHW[:, :-1], x_BTCHW[:, 1:])[0][:, :, None]

    def encoder_state(self, batch: int) -> LatentActionState:
        """Return the state of `batch` labelling streams before their first frame."""
        device = self.quantizer.codebook.device
        seen_B = torch.zeros(batch, dtype=torch.int64, device=device)
        return LatentActionState(TemporalState((), (), seen_B), torch.zeros(batch, *self.view_shape, device=device))

    def latents_stream(self, x_BTCHW: Tensor, state: LatentActionState) -> tuple[Tensor, LatentActionState]:
        """Encode the next T frames of B streams -> (B, T, D) and the next state; vector t describes x_{t-1} -> x_t.

        The vector of a stream's first frame is zero.
        """
        _, latent_BTD, state = self.features_stream(x_BTCHW, state)
        return latent_BTD, state

    def features_stream(self, x_BTCHW: Tensor, state: LatentActionState) -> tuple[Tensor, Tensor, LatentActionState]:
        """As `latents_stream`, with the feature (B, T, feature_dim) that each latent is made of before it."""
        begun_B = (state.temporal.frames_B > 0)[:, None, None, None]
        last_BCHW = torch.where(begun_B, state.last_BCHW, x_BTCHW[:, 0])
        before_BTCHW = torch.cat((last_BCHW[:, None], x_BTCHW[:, :-1]), dim=1)
        seen = TemporalState((), (), state.temporal.frames_B + x_BTCHW.shape[1])
        return *self._encode(before_BTCHW, x_BTCHW), LatentActionState(seen, x_BTCHW[:, -1].clone())

    def see(self, before_NCHW: Tensor, after_NCHW: Tensor) -> Pairs:
        """Compute the networks' inputs from pairs of frames in [-0.5, 0.5]; the flow is computed on the CPU.

        The motion of the whole image is separated out: a shaking camera is not the robot's doing.
        """
        before, after = (to_frames(x[None])[0].cpu().numpy() for x in (before_NCHW, after_NCHW))

        def see_one(a: NDArray[np.uint8], b: NDArray[np.uint8]) -> tuple[NDArray[np.generic], ...]:
            return shrink(a, GRID), shrink(b, GRID), optical_flow(a, b, GRID), optical_flow(b, a, GRID)

        if self.flow_threads > 1:
            with ThreadPoolExecutor(self.flow_threads) as pool:
                seen = list(pool.map(see_one, before, after))
        else:
            seen = list(map(see_one, before, after))
        small_a, small_b, there, back = (np.stack(same) for same in zip(*seen, strict=True))
        small = [frames.transpose(0, 3, 1, 2) for frames in (small_a, small_b)]
        device = before_NCHW.device
        return Pairs(
            *(torch.from_numpy(s).to(device).float() / 255 - 0.5 for s in small),
            *(torch.from_numpy(f).to(device) for f in (there, back)),
        ).steady()

    def _encode(self, before_BTCHW: Tensor, after_BTCHW: Tensor) -> tuple[Tensor, Tensor]:
        B, T = before_BTCHW.shape[:2]
        feature_NF = self.features_of(self.see(before_BTCHW.flatten(0, 1), after_BTCHW.flatten(0, 1)))
        return feature_NF.view(B, T, -1), self.latents_of(feature_NF).view(B, T, -1)

    def features_of(self, pairs: Pairs) -> Tensor:
        """Return pairs as `see` gives them -> (N, feature_dim), what latents are made of."""
        feature_ND, _ = self.motion_encoder(*(x.to(self.dtype) for x in pairs.inputs()))
        whole_N2 = feature_ND.new_zeros(len(feature_ND), WHOLE) if pairs.whole_N2 is None else pairs.whole_N2
        parts = (feature_ND, pairs.flow_by_places(self.config.places), whole_N2)
        return torch.cat([part.float() for part in parts], dim=1)

    def latents_of(self, feature_NF: Tensor) -> Tensor:
        """Project features (N, feature_dim) to latents (N, D)."""
        sizes = [self.motion_encoder.to_latent.in_features, self.config.places_dim, WHOLE]
        found_ND, places_NP, whole_N2 = torch.split(feature_NF, sizes, dim=1)
        made_ND = self.motion_encoder.to_latent(found_ND.to(self.dtype))
        if self.of_places_DP is not None:
            made_ND = made_ND + F.linear(places_NP.to(self.dtype), self.of_places_DP)
        return torch.cat((made_ND.float(), PAN * whole_N2), dim=1)

    @property
    def dtype(self) -> torch.dtype:
        """Data type of the networks' arithmetic."""
        return self.motion_encoder.to_latent.weight.dtype

    @torch.no_grad()
    def condense(self, feature_NF: Tensor) -> None:
        """Replace the latent by the principal components of the feature, and adapt the decoder to it.

        Training passes latents through noise, so that the feature comes to represent what moves; a linear probe then
        reads more from the feature's components than from the latent that was trained through the noise. Components
        keep their size, so that large motions tell latents apart, and are mixed evenly into the latent's numbers: a
        probe that standardises numbers and is fitted with a penalty then relies on the largest components first, which
        suits few episodes. Flow by places counts for a little: it tells two arms apart that the encoder sees as one.

        Args:
            feature_NF: (N, feature_dim) features of pairs, more pairs than components of a latent.

        """
        encoder, decoder = self.motion_encoder, self.motion_decoder
        found = encoder.to_latent.in_features
        feature_ND = feature_NF[:, :-WHOLE].double()
        weight_D = torch.ones_like(feature_ND[0])
        if self.of_places_DP is not None:
            of_found, of_places = (float(x.norm(dim=1).mean()) for x in feature_ND.tensor_split([found], dim=1))
            weight_D[found:] = _PLACES_SHARE * of_found / of_places if of_places else 0.0
        feature_ND = feature_ND * weight_D
        size_N1 = feature_ND[:, :found].square().mean(1, keepdim=True).sqrt()
        alike_ND = feature_ND / (size_N1 + 0.05 * size_N1.median())
        _, vectors_DD = torch.linalg.eigh(alike_ND.T @ alike_ND)
        basis_DK = vectors_DD.flip(-1)[:, : encoder.to_latent.out_features]
        basis_DK = basis_DK * torch.where(basis_DK.sum(0) < 0, -1.0, 1.0)  # eigenvectors have no sign of their own
        reading_DK = basis_DK @ _cosines(basis_DK.shape[1]).to(basis_DK)
        scale = (feature_ND @ reading_DK).square().mean(1).sqrt().median().clamp(min=1e-9)
        # What was decoded from W f is now decoded from W V (V^T f): the decoder is linear in the latent.
        mixed_KK = (encoder.to_latent.weight.double() @ reading_DK[:found] * scale).float()
        weights_KD = (reading_DK * weight_D[:, None]).T / scale
        encoder.to_latent.weight.copy_(weights_KD[:, :found].float())
        if self.of_places_DP is not None:
            self.of_places_DP.copy_(weights_KD[:, found:].float())
        decoder.mix(mixed_KK)

    def decoded_flow(self, x_NCHW: Tensor, latent_ND: Tensor) -> Tensor:
        """Decode latents (N, D) and frames (N, C, H, W) to flow in pixels of a frame of `UNIT` a side: (N, 2, h, w)."""
        there, _ = self.motion_decoder(self._small(x_NCHW), latent_ND[:, :-WHOLE].to(self.dtype))
        flow_N2hw: Tensor = there.float() + latent_ND[:, -WHOLE:, None, None].float() / PAN
        return flow_N2hw

    def _small(self, x_NCHW: Tensor) -> Tensor:
        """Return frames as the decoder reads them."""
        small = np.stack([shrink(f, GRID) for f in to_frames(x_NCHW[None])[0].cpu().numpy()]).transpose(0, 3, 1, 2)
        return (torch.from_numpy(small).to(x_NCHW.device).float() / 255 - 0.5).to(self.dtype)

    def predict(self, x_BTCHW: Tensor, action_BTD: Tensor) -> Tensor:
        """Predict the next frames (B, T, C, H, W) from frames (B, T, C, H, W) and latents (B, T, D)."""
        B, T, _, H, W = x_BTCHW.shape
        x_NCHW = x_BTCHW.flatten(0, 1)
        action_ND = action_BTD.flatten(0, 1).float()
        _, back = self.motion_decoder(self._small(x_NCHW), action_ND[:, :-WHOLE].to(self.dtype))
        whole_N211 = action_ND[:, -WHOLE:, None, None] / PAN
        return warp(x_NCHW, back.float() - whole_N211).view(B, T, -1, H, W)


def _cosines(size: int) -> Tensor:
    """Return the discrete cosine transform (size, size), which is orthogonal and mixes all rows into each column."""
    at_K = torch.arange(size, dtype=torch.float64)
    waves_KK = torch.cos(torch.pi / size * at_K[:, None] * (at_K + 0.5)) * (2 / size) ** 0.5
    waves_KK[0] *= 0.5**0.5
    columns_KK: Tensor = waves_KK
    return columns_KK


__all__ = ["MotionActionModel"]
