"""Named model configurations. Knows no torch.

`coinrun` and `robotics` follow Bruce et al. (2024). The paper's parameter counts match its layer counts only if a
"layer" is one attention, that is half a spatio-temporal block (16 d^2 parameters per block: 24 blocks of d 5120 are its
10.1B, 18 blocks of d 3072 its 2.7B); `robotics` is sized accordingly. CoinRun's appendix gives no counts: there a layer
is taken as a block, as public reimplementations do.
"""

from __future__ import annotations

from genie_core.errors import ModelError
from genie_core.models.config import (
    DynamicsConfig,
    LatentActionConfig,
    MendingConfig,
    ModelConfig,
    MotionActionConfig,
    MoverConfig,
    QuantizerConfig,
    RefinerConfig,
    TokenizerConfig,
    TransformerConfig,
)


def _stack(layers: int, dim: int, heads: int, window: int = 8, *, qk_norm: bool = True) -> TransformerConfig:
    return TransformerConfig(layers=layers, dim=dim, heads=heads, window=window, ffn_ratio=4.0, qk_norm=qk_norm)


def _nano() -> ModelConfig:
    return ModelConfig(
        name="nano",
        height=32,
        width=32,
        tokenizer=TokenizerConfig(
            encoder=_stack(1, 32, 2, 3),
            decoder=_stack(1, 32, 2, 3),
            quantizer=QuantizerConfig(codes=64, dim=8),
            patch=8,
        ),
        lam=LatentActionConfig(
            encoder=_stack(2, 32, 2, 3),
            decoder=_stack(1, 32, 2, 3),
            quantizer=QuantizerConfig(codes=8, dim=8),
            patch=16,
            residual=True,
        ),
        dynamics=DynamicsConfig(transformer=_stack(2, 32, 2, 4), previous_tokens=True),
    )


def _compact(
    name: str,
    side: int,
    *,
    tokens: TransformerConfig,
    stems: tuple[int, int],
    lam: TransformerConfig,
    dynamics: TransformerConfig,
) -> ModelConfig:
    """Return the shipped model's shape at some size; `stems` are the stem widths of the tokenizer and the encoder.

    Tokens of 4 x 4 pixels see only their surroundings: what stands still keeps its tokens from frame to frame.
    """
    return ModelConfig(
        name=name,
        height=side,
        width=side,
        tokenizer=TokenizerConfig(
            encoder=tokens,
            decoder=tokens,
            quantizer=QuantizerConfig(codes=1024, dim=16),
            patch=4,
            temporal="none",
            stem="conv",
            stem_width=stems[0],
            stem_skip=True,
        ),
        lam=LatentActionConfig(
            encoder=lam,
            decoder=lam,
            quantizer=QuantizerConfig(codes=8, dim=32),
            patch=16,
            residual=True,
            stem="conv",
            stem_width=stems[1],
            pairs=True,
        ),
        dynamics=DynamicsConfig(transformer=dynamics, previous_tokens=True, copy_previous=True, group=2),
        temperature=0.3,
    )


def _tiny() -> ModelConfig:
    return _compact(
        "tiny", 64, tokens=_stack(0, 192, 6, 1), stems=(96, 48), lam=_stack(3, 192, 4, 4), dynamics=_stack(4, 256, 8, 6)
    )


def _base() -> ModelConfig:
    return _compact(
        "base", 128, tokens=_stack(0, 256, 8, 1), stems=(128, 64), lam=_stack(4, 256, 8, 4), dynamics=_stack(8, 512, 8)
    )


def _mover(**changes: object) -> MoverConfig:
    """Return how a model that reads motion moves frames: latents tell of 16 x 16 places by themselves how they move."""
    return MoverConfig.model_validate({"places": 16, "steady_share": 0.3, "steady_px": 1.5, **changes})


def _motion(name: str = "motion", mover: MoverConfig | None = None) -> ModelConfig:
    """Labels from the motion of frames, and rollouts that move the last one. Tokenizer and dynamics are not used."""
    # A radius of a third of the median of summed latents: smaller ones tell less and heed noise, larger ones drown what
    # is small among stillness.
    quantizer = QuantizerConfig(codes=8, dim=64, metric="euclidean", radii=2.0741)
    lam = MotionActionConfig(quantizer=quantizer, places=8, fine_codes=32, sums=True)
    changes = {"name": name, "lam": lam, "simulates": False, "mover": mover or _mover()}
    return _tiny().model_copy(update=changes)


def _motion_plain() -> ModelConfig:
    """As `motion`, but moved frames are shown as they are."""
    return _motion("motion-plain", _mover(steady_px=0))


def _motion_refined() -> ModelConfig:
    """As `motion`, but a network mends moved frames: nearer to what happens, and blurred where it moves."""
    return _motion("motion-refined", _mover(refiner=RefinerConfig()))


def _motion_tokens() -> ModelConfig:
    """As `motion`, but MaskGIT mends moved frames: it draws what comes into view, and what bends that should not."""
    # Few and narrow layers without attention over time: a frame is to take a tenth of a second on one core.
    transformer = _stack(5, 192, 6, 1)
    dynamics = DynamicsConfig(
        transformer=transformer, temporal="none", previous_tokens=True, copy_previous=True, group=2
    )
    return _motion("motion-tokens", _mover(mending=MendingConfig())).model_copy(update={"dynamics": dynamics})


def _coinrun() -> ModelConfig:
    return ModelConfig(
        name="coinrun",
        tokenizer=TokenizerConfig(
            encoder=_stack(8, 512, 8), decoder=_stack(8, 512, 8), quantizer=QuantizerConfig(codes=1024), patch=4
        ),
        lam=LatentActionConfig(
            encoder=_stack(8, 512, 8), decoder=_stack(8, 512, 8), quantizer=QuantizerConfig(codes=6), patch=16
        ),
        dynamics=DynamicsConfig(transformer=_stack(12, 512, 8)),
    )


def _robotics() -> ModelConfig:
    # 160 x 90 in the paper; 96 rows here, so that patches of 4 and 16 tile the frame.
    return ModelConfig(
        name="robotics",
        height=96,
        width=160,
        tokenizer=TokenizerConfig(
            encoder=_stack(6, 512, 8), decoder=_stack(10, 1024, 16), quantizer=QuantizerConfig(codes=1024), patch=4
        ),
        lam=LatentActionConfig(
            encoder=_stack(10, 1024, 16), decoder=_stack(8, 1024, 16), quantizer=QuantizerConfig(codes=8), patch=16
        ),
        dynamics=DynamicsConfig(transformer=_stack(19, 2560, 20)),
        temperature=2.0,
    )


_PRESETS = {
    "nano": _nano,
    "tiny": _tiny,
    "base": _base,
    "motion": _motion,
    "motion-plain": _motion_plain,
    "motion-refined": _motion_refined,
    "motion-tokens": _motion_tokens,
    "coinrun": _coinrun,
    "robotics": _robotics,
}
PRESETS = tuple(_PRESETS)
"""Names that `preset` accepts."""


def preset(name: str) -> ModelConfig:
    """Return the configuration of that name. Raises ModelError, listing the names, if there is none."""
    if name not in _PRESETS:
        raise ModelError(f"preset: got {name!r}, expected one of {', '.join(PRESETS)}")
    return _PRESETS[name]()


__all__ = ["PRESETS", "preset"]
