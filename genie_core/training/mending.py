"""Loss of the dynamics model that mends moved frames: cross-entropy of the true frame's tokens, on its own rollouts."""

from __future__ import annotations

import torch
import torch.nn.functional as F
from torch import Tensor

from genie_core.models.genie import Genie
from genie_core.models.mending import mended, move_in_doubt, read
from genie_core.models.mover import Moving
from genie_core.training.config import DynamicsTraining, MendingTraining
from genie_core.training.losses import Metrics


def mending_loss(
    genie: Genie,
    clip_BTCHW: Tensor,
    latent_BSD: Tensor,
    training: MendingTraining,
    masks: DynamicsTraining,
    own_share: Tensor,
) -> tuple[Tensor, Metrics]:
    """Cross-entropy of hidden tokens of the last `steps` frames of clips, which are simulated; trains the dynamics.

    Tokens count where flow is in doubt, as only there they are shown. What comes before is the prompt; some of the
    clips are told by codes alone. What a step has drawn is what the next one moves, for `own_share` of the clips; for
    others that is the moved frame. Nothing that is done depends on values, so that a GPU can record it.

    Metrics beside the loss are shares of those tokens: predicted right, right as in the moved frame, and right in any
    of the pictures that may be shown.

    Args:
        genie: its tokenizer, latent action model and mover are finished.
        clip_BTCHW: frames in [-0.5, 0.5].
        latent_BSD: latents between them, S = T - 1.
        training: of mending.
        masks: rates at which tokens are hidden.
        own_share: scalar, 0 to 1.

    """
    mover, dynamics = genie.mover, genie.dynamics
    assert mover is not None
    steps = min(training.steps, clip_BTCHW.shape[1] - 1)
    prompt = clip_BTCHW.shape[1] - steps
    device = clip_BTCHW.device
    with torch.no_grad(), torch.autocast(device.type, enabled=False):
        before_BTD, told_BTD = latent_BSD.tensor_split([prompt - 1], dim=1)
        quantizer = genie.lam.quantizer
        coded_B11 = torch.rand(len(told_BTD), 1, 1, device=device) < training.coded_share
        told_BTD = torch.where(coded_B11, mover.told(quantizer, before_BTD, quantizer.nearest(told_BTD)), told_BTD)
        target_BTN = genie.tokenizer.encode(clip_BTCHW[:, prompt:])
        now = mover.begin(clip_BTCHW[:, :prompt], before_BTD)
    losses, shares = list[Tensor](), list[dict[str, Tensor]]()
    for t in range(steps):
        target_BN, action_BD = target_BTN[:, t], told_BTD[:, t]
        with torch.no_grad(), torch.autocast(device.type, enabled=False):
            moved = move_in_doubt(mover, genie.config.token_grid, now, action_BD)
            before_BN, told = read(genie.tokenizer, moved)
        rate_B1 = masks.mask_low + (1 - masks.mask_low) * torch.rand(len(target_BN), 1, device=device)
        hidden_BN = torch.rand(target_BN.shape, device=device) < rate_B1
        shown_BN = target_BN.masked_fill(hidden_BN, dynamics.mask_token)
        logits_BNK = dynamics(shown_BN[:, None], before_BN[:, None], action_BD[:, None], told)[:, 0].float()
        weight_BN = hidden_BN * (training.sure_weight + moved.doubt_Bhw.flatten(1))
        error_BN = F.cross_entropy(logits_BNK.flatten(0, 1), target_BN.flatten(), reduction="none").view_as(target_BN)
        losses.append((error_BN * weight_BN).sum() / weight_BN.sum().clamp(min=1))
        with torch.no_grad(), torch.autocast(device.type, enabled=False):
            said_BN = _drawn(logits_BNK, training.temperature)
            after_BN = torch.where(hidden_BN, said_BN, target_BN)
            drawn_BCHW = genie.tokenizer.decode(after_BN[:, None])[:, 0]
            own_B111 = torch.rand(len(target_BN), 1, 1, 1, device=device) < own_share
            # All that is drawn is shown here, whether or not it `tells`: it is to learn from its own faults.
            own_BCHW = mended(moved, before_BN, told, after_BN, drawn_BCHW)
            frame_BCHW = torch.where(own_B111, own_BCHW, moved.moving.frame_BCHW)
            now = Moving(frame_BCHW, moved.moving.memory).rounded()
            guesses = {
                "accuracy": logits_BNK.argmax(-1) == target_BN,
                "kept_accuracy": before_BN == target_BN,
                "shown_accuracy": (told.other_BTNO[:, 0] == target_BN[..., None]).any(-1) | (before_BN == target_BN),
            }
            shares.append({k: (x * weight_BN).sum() / weight_BN.sum().clamp(min=1) for k, x in guesses.items()})
    loss = torch.stack(losses).mean()
    return loss, {
        "loss": loss.detach(),
        "first_loss": losses[0].detach(),
        "last_loss": losses[-1].detach(),
        **{name: torch.stack([share[name] for share in shares]).mean() for name in shares[0]},
    }


def with_prompt(clip_BTCHW: Tensor, latent_BSD: Tensor, steps: int) -> tuple[Tensor, Tensor]:
    """Cut off the beginning of clips and their latents: a prompt of a length that is drawn stays before the last steps.

    Lengths from one frame to all are drawn alike.
    """
    most = clip_BTCHW.shape[1] - min(steps, clip_BTCHW.shape[1] - 1)
    prompt = int(torch.randint(1, most + 1, ()))
    return clip_BTCHW[:, most - prompt :], latent_BSD[:, most - prompt :]


def _drawn(logits_BNK: Tensor, temperature: float) -> Tensor:
    """Draw tokens (B, N): the largest of log-probabilities plus Gumbel noise is a draw from the softmax."""
    noise_BNK = -torch.empty_like(logits_BNK).exponential_().clamp(min=1e-20).log()
    return (logits_BNK / temperature + noise_BNK).argmax(-1)


__all__ = ["mending_loss", "with_prompt"]
