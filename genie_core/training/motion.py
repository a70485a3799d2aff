"""Losses of the motion encoder and the mover: optical flow and moved frames, for pairs of frames some time apart."""

from __future__ import annotations

from collections.abc import Iterable

import torch
import torch.nn.functional as F
from torch import Tensor

from genie_core.models.config import WHOLE
from genie_core.models.motion import Pairs, whole_motion
from genie_core.models.motion_lam import MotionActionModel
from genie_core.models.mover import FrameMover, Moving
from genie_core.models.warp import spread_to, warp
from genie_core.training.config import MotionTraining, MoverTraining, RefinerTraining
from genie_core.training.losses import Metrics, spread


def turned(clip_BTCHW: Tensor) -> Tensor:
    """Augment clips (B, T, 3, H, W), such as pairs of frames: mirror half of them, reverse half of them in time."""
    chance_2B = torch.rand(2, len(clip_BTCHW), 1, 1, 1, 1, device=clip_BTCHW.device)
    mirrored_B, reversed_B = chance_2B > 0.5
    clip_BTCHW = torch.where(mirrored_B, clip_BTCHW.flip(-1), clip_BTCHW)
    return torch.where(reversed_B, clip_BTCHW.flip(1), clip_BTCHW)


def motion_loss(lam: MotionActionModel, pairs: Pairs, training: MotionTraining) -> tuple[Tensor, Metrics]:
    """Squared error of flow relative to the pair's own motion, so that small motions count as much as large ones.

    Only the encoder sees the pair disturbed (light, colour, noise). The latent's noise is relative to its size for the
    same reason as the loss.
    """
    latent_ND = lam.latents_of(lam.features_of(disturbed(pairs, training)))[:, :-WHOLE]
    size_N1 = latent_ND.detach().square().mean(1, keepdim=True).sqrt()
    noise_ND = (training.noise * size_N1 + training.floor) * torch.randn_like(latent_ND)
    there, back = lam.motion_decoder(pairs.before_NCHW, latent_ND + noise_ND)
    there_error = _relative_error(there, pairs.there_NCHW, training.still)
    back_error = _relative_error(back, pairs.back_NCHW, training.still)
    loss = there_error + training.back_weight * back_error
    return loss, {
        "loss": loss.detach(),
        "flow_error": there_error.detach(),
        "back_error": back_error.detach(),
        "spread": spread(latent_ND.detach()),
    }


def mover_loss(
    mover: FrameMover, lam: MotionActionModel, pair_B2CHW: Tensor, training: MoverTraining
) -> tuple[Tensor, Metrics]:
    """Squared error of the flow back over the pair's own motion, and of the moved frame over the pair's own change.

    Latents are those of the finished latent action model; some pairs are conditioned on their code alone.
    """
    before_NCHW, after_NCHW = pair_B2CHW.unbind(1)
    with torch.no_grad(), torch.autocast(before_NCHW.device.type, enabled=False):
        pairs = lam.see(before_NCHW, after_NCHW)
        latent_ND = lam.latents_of(lam.features_of(pairs))
        code_ND = lam.quantizer.lookup(lam.quantizer.nearest(latent_ND))
        coded_N1 = torch.rand(len(latent_ND), 1, device=latent_ND.device) < training.coded_share
    back = mover(before_NCHW, torch.where(coded_N1, code_ND, latent_ND))
    flow_error = _relative_error(back, _flow_back(pairs), training.still)
    moved_NCHW = warp(before_NCHW, back)
    change_N = (after_NCHW - before_NCHW).square().flatten(1).mean(1)
    picture_error = ((moved_NCHW - after_NCHW).square().flatten(1).mean(1) / (change_N + training.unchanged)).mean()
    loss = flow_error + training.picture_weight * picture_error
    return loss, {"loss": loss.detach(), "flow_error": flow_error.detach(), "picture_error": picture_error.detach()}


@torch.no_grad()
def fit_places(
    mover: FrameMover, lam: MotionActionModel, pairs_B2CHW: Iterable[Tensor], training: MoverTraining
) -> None:
    """Fit the flow that latents tell by themselves, see `FrameMover.fit_places`, to batches of pairs of frames."""
    latents, flows = [], []
    for pair_B2CHW in pairs_B2CHW:
        with torch.autocast(pair_B2CHW.device.type, enabled=False):
            pairs = lam.see(pair_B2CHW[:, 0], pair_B2CHW[:, 1])
            latents.append(lam.latents_of(lam.features_of(pairs)))
        flows.append(_flow_back(pairs))
    mover.fit_places(torch.cat(latents), torch.cat(flows), training.still)


def _flow_back(pairs: Pairs) -> Tensor:
    """Return the flow from the later frames' pixels back to the earlier ones', that of the whole picture in it."""
    if pairs.whole_N2 is None:
        return pairs.back_NCHW
    flow_N2GG: Tensor = pairs.back_NCHW - pairs.whole_N2[:, :, None, None]
    return flow_N2GG


def refiner_loss(
    mover: FrameMover, lam: MotionActionModel, clip_BTCHW: Tensor, training: RefinerTraining
) -> tuple[Tensor, Metrics]:
    """Squared error of each frame of rollouts over that of repeating the frame they began with; trains the refiner.

    The last `steps` frames of the clips are simulated (of shorter clips all but the first), after prompts of a length
    that is drawn; some of the clips are told by codes alone, as rollouts take them.
    """
    refiner = mover.refiner
    assert refiner is not None
    steps = min(training.steps, clip_BTCHW.shape[1] - 1)
    most = clip_BTCHW.shape[1] - steps
    prompt = int(torch.randint(1, most + 1, ()))
    clip_BTCHW = clip_BTCHW[:, most - prompt :]
    start_BCHW, real_BTCHW = clip_BTCHW[:, prompt - 1], clip_BTCHW[:, prompt:]
    with torch.no_grad(), torch.autocast(clip_BTCHW.device.type, enabled=False):
        latent_BTD = lam.latents(clip_BTCHW)
        before_BTD, told_BTD = latent_BTD.tensor_split([prompt - 1], dim=1)
        spoken_BTD = mover.told(lam.quantizer, before_BTD, lam.quantizer.nearest(told_BTD))
        coded_B11 = torch.rand(len(told_BTD), 1, 1, device=told_BTD.device) < training.coded_share
        told_BTD = torch.where(coded_B11, spoken_BTD, told_BTD)
        copied_BT = (real_BTCHW - start_BCHW[:, None]).square().flatten(2).mean(2) + training.unchanged
    now, errors = mover.begin(clip_BTCHW[:, :prompt], before_BTD), []
    for t in range(steps):
        with torch.no_grad():
            back_B2GG = mover(now.frame_BCHW, told_BTD[:, t])
        if refiner.chooses:
            error_B, now = _chosen(mover, now, back_B2GG, told_BTD[:, t], real_BTCHW[:, t])
        else:
            now = mover.shown(now, back_B2GG, told_BTD[:, t])
            error_B = (now.frame_BCHW - real_BTCHW[:, t]).square().flatten(1).mean(1)
        errors.append((error_B / copied_BT[:, t]).mean())
    loss = torch.stack(errors).mean()
    return loss, {"loss": loss.detach(), "first_error": errors[0].detach(), "last_error": errors[-1].detach()}


def _chosen(
    mover: FrameMover, now: Moving, back_B2GG: Tensor, latent_BD: Tensor, real_BCHW: Tensor
) -> tuple[Tensor, Moving]:
    """Return the expected squared error of what is chosen at each pixel, and what is shown.

    It is linear in the chances: a mean of two guesses, nearer to what happens than either may be, is no choice.
    """
    refiner, memory = mover.refiner, now.memory
    assert refiner is not None
    assert memory is not None
    back_B2HW = spread_to(back_B2GG, *real_BCHW.shape[-2:])
    whole_B2, size_B1 = whole_motion(latent_BD).float(), latent_BD.float().square().mean(1, keepdim=True).sqrt()
    with torch.no_grad():
        after = memory.after(back_B2HW, whole_B2)
    picture_BKCHW, chance_BKHW = refiner.choice(now.frame_BCHW, back_B2HW, whole_B2, size_B1, after)
    error_BKHW = (picture_BKCHW - real_BCHW[:, None]).square().mean(2)
    with torch.no_grad():
        shown = mover.shown(now, back_B2GG, latent_BD)
    return (chance_BKHW * error_BKHW).sum(1).flatten(1).mean(1), shown


def disturbed(pairs: Pairs, training: MotionTraining) -> Pairs:
    """Disturb pairs for the encoder: light, colours, flicker, noise."""
    before, after, there, back = pairs.before_NCHW, pairs.after_NCHW, pairs.there_NCHW, pairs.back_NCHW
    N, device = len(before), before.device

    def spread(channels: int, most: float) -> Tensor:
        return most * (2 * torch.rand(N, channels, 1, 1, device=device) - 1)

    gain, lift = 1 + spread(3, training.contrast), spread(3, training.brightness)
    before = before * gain + lift + training.pixel_noise * torch.randn_like(before)
    after = after * gain + lift + spread(1, training.flicker) + training.pixel_noise * torch.randn_like(after)
    wrong = training.flow_noise * torch.randn_like(there)
    return Pairs(before, after, there + wrong, back - wrong)


def _relative_error(flow_N2hw: Tensor, target_N2HW: Tensor, still: float) -> Tensor:
    target_N2hw = F.adaptive_avg_pool2d(target_N2HW, (flow_N2hw.shape[-2], flow_N2hw.shape[-1]))
    own_N = target_N2hw.square().flatten(1).mean(1) + still
    return ((flow_N2hw.float() - target_N2hw).square().flatten(1).mean(1) / own_N).mean()


__all__ = ["disturbed", "fit_places", "motion_loss", "mover_loss", "refiner_loss", "turned"]
