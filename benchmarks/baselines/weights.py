"""Gives the baselines the weights of `genie_core.models`, so that both compute the same function."""

from __future__ import annotations

from torch import Tensor

from benchmarks.baselines.plain import PlainDynamics, PlainLatentActionEncoder
from genie_core.models.config import LatentActionConfig, ModelConfig
from genie_core.models.dynamics import DynamicsModel
from genie_core.models.lam import LatentActionModel

_RENAMED = {
    "q_norm.": "query_norm.",
    "k_norm.": "key_norm.",
    "ffn.0.": "ffn.up.",
    "ffn.2.": "ffn.down.",
}


def _plain_weights(weights: dict[str, Tensor]) -> dict[str, Tensor]:
    """One transformer's weights under the baseline's names; the joint projection is cut in three."""
    plain: dict[str, Tensor] = {}
    for name, value in weights.items():
        if name.endswith("qkv.weight"):
            for part, piece in zip(("query", "key", "value"), value.chunk(3), strict=True):
                plain[name.replace("qkv", part)] = piece
            continue
        for ours, theirs in _RENAMED.items():
            name = name.replace(ours, theirs)
        plain[name] = value
    return plain


def _under(prefix: str, weights: dict[str, Tensor]) -> dict[str, Tensor]:
    return {prefix + name: value for name, value in weights.items()}


def plain_encoder(lam: LatentActionModel, config: ModelConfig) -> PlainLatentActionEncoder:
    """Return the encoder of `lam`, whose `config` has linear patches of pixels, no pairs and no stem, as a baseline.

    Raises ValueError for a model of another structure.
    """
    c = config.lam
    if not isinstance(c, LatentActionConfig):
        raise ValueError("the baseline has the paper's latent action model, got another")
    if c.stem != "patch" or c.pairs or c.source != "pixels":
        raise ValueError(f"the baseline has linear patches of pixels, got stem {c.stem!r}, pairs {c.pairs}, {c.source}")
    plain = PlainLatentActionEncoder(c.encoder, c.patch, c.quantizer.dim, config.height, config.width)
    plain.load_state_dict(
        {
            **_under("transformer.", _plain_weights(lam.encoder.state_dict())),
            **_under("embed.", lam.encoder_patches.linear.state_dict()),  # type: ignore[union-attr]
            **_under("to_latent.", lam.to_latent.state_dict()),
            "position_ND": lam.encoder_position_ND,
        }
    )
    return plain.eval()


def plain_dynamics(dynamics: DynamicsModel, config: ModelConfig) -> PlainDynamics:
    """`dynamics`, whose `config` has neither groups nor previous tokens nor a copy gate, as a baseline.

    Raises ValueError for a model of another structure.
    """
    c = config.dynamics
    if c.group != 1 or c.previous_tokens or c.copy_previous:
        raise ValueError(f"the baseline has group 1 and reads no previous tokens, got {c}")
    codes = config.tokenizer.quantizer.codes
    plain = PlainDynamics(c.transformer, config.tokens_per_frame, codes, config.lam.quantizer.dim)
    plain.load_state_dict(
        {
            **_under("transformer.", _plain_weights(dynamics.transformer.state_dict())),
            **_under("embed.", dynamics.embed.state_dict()),
            **_under("action.", dynamics.action.state_dict()),
            **_under("head.", dynamics.head.state_dict()),
            "position_ND": dynamics.position_ND,
        }
    )
    return plain.eval()


__all__ = ["plain_dynamics", "plain_encoder"]
