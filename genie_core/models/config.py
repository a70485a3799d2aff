"""Configuration of a model: one immutable pydantic object. Knows no torch.

The numbers of `coinrun` and `robotics` are those of Bruce et al. (2024), Appendices C, E and F, where it gives them.
"""

from __future__ import annotations

from typing import Annotated, Any, Literal

from pydantic import BaseModel, ConfigDict, Discriminator, Field, Tag, model_validator

PAPER_STEPS = 25
"""MaskGIT steps of a frame in the paper."""

MAX_TOKENS = 16384
"""Largest number of patches per frame: the cost of spatial attention grows with its square."""


class _Frozen(BaseModel):
    model_config = ConfigDict(frozen=True, extra="forbid")


class TransformerConfig(_Frozen):
    """One stack of spatio-temporal blocks (paper, Section 2 and Figure 4)."""

    layers: int = Field(
        ge=0, le=256, description="0 in a convolutional tokenizer: tokens then see only their surroundings"
    )
    dim: int = Field(gt=0, le=65536, description="width of the residual stream")
    heads: int = Field(gt=0, le=1024)
    window: int = Field(
        8, gt=0, le=1024, description="number of frames in temporal attention's reach, the current one included"
    )
    ffn_ratio: float = Field(4.0, gt=0, le=64, description="hidden width of the feed-forward over `dim`")
    qk_norm: bool = True

    @model_validator(mode="after")
    def _heads_divide(self) -> TransformerConfig:
        if self.dim % self.heads or (self.dim // self.heads) % 2:
            raise ValueError(f"dim {self.dim} must split into {self.heads} heads of an even size")
        return self


class QuantizerConfig(_Frozen):
    """A codebook learnt by exponential moving averages, with revival of unused codes."""

    metric: Literal["cosine", "euclidean"] = Field(
        "cosine",
        description="'cosine': latents and codes have unit length; 'euclidean': latents keep their length, and the "
        "longer they are, the less length affects which code is nearest",
    )

    codes: int = Field(gt=1, le=65535)
    dim: int = Field(32, gt=0, le=65536, description="size of a code, the paper's latent dim")
    decay: float = Field(0.99, gt=0, lt=1, description="of the moving averages")
    commitment: float = Field(0.25, ge=0, description="weight of the loss that pulls latents to their codes")
    revive_after: int = Field(50, gt=0, description="steps without use after which a code restarts at a live latent")
    radii: float = Field(
        4.0,
        gt=0,
        description="'euclidean': usual length of latents, in radii of the ball in which distances are taken; "
        "the more, the less length counts",
    )


class TokenizerConfig(_Frozen):
    """Video tokenizer (paper, Section 2.1, Figure 6)."""

    encoder: TransformerConfig
    decoder: TransformerConfig
    quantizer: QuantizerConfig
    patch: int = Field(4, gt=0, le=1024, description="side in pixels of the square that one token covers")
    temporal: Literal["st", "c", "none"] = Field(
        "st",
        description="the paper's Table 3: 'st' ST-ViViT (blocks mix space and time), 'c' C-ViViT (all of space, then "
        "all of time), 'none' ViT (no attention over time)",
    )
    stem: Literal["patch", "conv"] = Field(
        "patch",
        description="'patch': linear patches as in the paper; 'conv': strided convolutions, learns faster when small",
    )
    stem_width: int = Field(64, gt=0, le=65536, description="channels of the convolutional stem before its last stage")
    stem_skip: bool = Field(
        False, description="linear patches beside the convolutions, so that colours are learnt fast"
    )


class LatentActionConfig(_Frozen):
    """Latent action model (paper, Section 2.1, Figure 5)."""

    encoder: TransformerConfig
    decoder: TransformerConfig
    quantizer: QuantizerConfig
    patch: int = Field(16, gt=0, le=1024)
    source: Literal["pixels", "tokens"] = Field("pixels", description="what the encoder reads (paper, Table 2)")
    residual: bool = Field(False, description="the decoder predicts the change from the last frame, not the frame")
    stem: Literal["patch", "conv"] = Field(
        "patch", description="how the encoder reads frames, as in the tokenizer; 'conv' learns motion sooner"
    )
    stem_width: int = Field(48, gt=0, le=65536, description="channels of the convolutional stem before its last stage")
    pairs: bool = Field(False, description="the encoder sees each frame beside its change from the previous one")
    fine_codes: int = Field(0, ge=0, le=65535, description="codes of a second, finer level; 0: none")

    @property
    def fine(self) -> QuantizerConfig | None:
        """The second level of codes, of the same metric; None without one."""
        return _fine(self.quantizer, self.fine_codes)


class MotionActionConfig(_Frozen):
    """Latent action model that reads the optical flow between two frames (beyond the paper)."""

    kind: Literal["motion"] = "motion"
    quantizer: QuantizerConfig
    width: int = Field(48, gt=0, le=4096, description="channels of the encoder")
    blocks: int = Field(3, ge=0, le=64, description="residual blocks of the encoder")
    maps: int = Field(
        8, gt=0, le=1024, description="number of attention maps of the encoder, which finds maps * width numbers"
    )
    places: int = Field(
        0,
        ge=0,
        le=16,
        description="the feature has, beside what the encoder finds, the mean flow of places x places parts of the "
        "picture, which distinguish two arms",
    )
    decoder_width: int = Field(48, gt=1, le=4096, description="channels of the decoder")
    fine_codes: int = Field(0, ge=0, le=65535, description="codes of a second, finer level; 0: none")
    sums: bool = Field(
        False,
        description="latents of transitions of several frames are sums of those from frame to frame, since latents of "
        "motion add up",
    )

    @model_validator(mode="after")
    def _keeps_length(self) -> MotionActionConfig:
        if self.quantizer.metric != "euclidean":
            raise ValueError(f"quantizer.metric: got {self.quantizer.metric!r}, expected 'euclidean' of a motion model")
        if self.quantizer.dim < 3:
            raise ValueError(
                f"quantizer.dim: got {self.quantizer.dim}, expected 3 or more: 2 tell of the whole picture"
            )
        return self

    @property
    def places_dim(self) -> int:
        """Numbers of the flow by places."""
        return 2 * self.places**2

    @property
    def feature_dim(self) -> int:
        """Numbers of the feature: what the encoder finds, the flow by places, and the motion of the whole picture."""
        return self.maps * self.width + self.places_dim + WHOLE

    @property
    def fine(self) -> QuantizerConfig | None:
        """The second level of codes, of the same metric; None without one."""
        return _fine(self.quantizer, self.fine_codes)

    @property
    def source(self) -> Literal["pixels"]:
        """Input of the encoder, as in `LatentActionConfig`."""
        return "pixels"


def _fine(quantizer: QuantizerConfig, codes: int) -> QuantizerConfig | None:
    return QuantizerConfig.model_validate({**quantizer.model_dump(), "codes": codes}) if codes else None


def _kind(value: Any) -> str:
    kind = value.get("kind", "transformer") if isinstance(value, dict) else getattr(value, "kind", "transformer")
    return str(kind)


ActionConfig = Annotated[
    Annotated[LatentActionConfig, Tag("transformer")] | Annotated[MotionActionConfig, Tag("motion")],
    Discriminator(_kind),
]
"""Either latent action model; ``"kind": "motion"`` selects the second, no `kind` the paper's."""


WHOLE = 2
"""Numbers of a motion model's latent and feature, their last, that say how the whole picture moved."""


def label_feature_dim(lam: LatentActionConfig | MotionActionConfig) -> int | None:
    """Return the size of the feature that labels may have; None of a model that gives none."""
    return lam.feature_dim if isinstance(lam, MotionActionConfig) else None


class DynamicsConfig(_Frozen):
    """MaskGIT dynamics model (paper, Section 2.1, Figure 7)."""

    transformer: TransformerConfig
    temporal: Literal["st", "none"] = Field(
        "st",
        description="'st': blocks mix space and time; 'none': no attention over time, where moved frames are mended",
    )
    previous_tokens: bool = Field(
        False, description="add the embedding of the previous frame's token at each place (beyond the paper)"
    )
    copy_previous: bool = Field(
        False, description="a learnt gate raises the logit of the previous frame's token, so that stillness is easy"
    )
    group: int = Field(
        1,
        gt=0,
        le=64,
        description="side of the square of tokens that share one place of the transformer: with 2, a frame of small "
        "patches costs a quarter; tokens are still hidden, shown and drawn one by one (beyond the paper)",
    )


class RefinerConfig(_Frozen):
    """The network that mends moved frames by what a rollout remembers of its prompt (beyond the paper)."""

    width: int = Field(32, gt=1, le=4096, description="channels at half of the frame's size; half as many at its size")
    blocks: int = Field(3, ge=0, le=64, description="residual blocks")
    chooses: bool = Field(
        False,
        description="one of the pictures is shown at each place, instead of their mean and what the network adds: "
        "farther from what happens where that is uncertain, and sharp",
    )


class MendingConfig(_Frozen):
    """How the tokenizer and the dynamics model mend moved frames (beyond the paper)."""

    steps: int = Field(
        3, ge=0, le=64, description="MaskGIT steps of a frame, unless a rollout says otherwise; 0: not mended then"
    )
    doubt_px: float = Field(
        0.5,
        gt=0,
        le=64,
        description="motion of a place, in pixels of 64 a side and without that of the whole picture, at which its "
        "flow and that around it is not trusted at all; where nothing moves, frames are left as they are",
    )
    least_change: float = Field(
        8.0,
        ge=0,
        description="how many times the tokenizer's own squared error the picture of a drawn token has to differ by "
        "from that of the moved frame's token to be shown",
    )


class MoverConfig(_Frozen):
    """The network that simulates by moving the last frame (beyond the paper); of a model that reads motion."""

    width: int = Field(48, gt=0, le=4096, description="channels at half of the grid's size; half as many at the grid's")
    blocks: int = Field(4, ge=0, le=64, description="residual blocks that the action scales and shifts")
    spoken_codes: bool = Field(
        False,
        description="whether it holds what each code stands for in somebody's video, a latent of the size that motions "
        "have there; otherwise that is the code itself",
    )
    places: int = Field(
        0,
        ge=0,
        le=32,
        description="side of a grid of places whose flow a latent tells by itself, linearly, beside what the network "
        "makes of the picture; 0: the network alone says where things move",
    )
    steady_px: float = Field(
        1.0,
        ge=0,
        le=64,
        description="motion of a place since a rollout's start, in pixels of 64 a side and without that of the whole "
        "picture, at which half of it at most is the start frame's; 0: frames are shown as they moved",
    )
    steady_share: float = Field(
        0.1,
        gt=0,
        le=1,
        description="that motion as a share of the farthest one in the picture, so that small motions are shown as "
        "large ones are",
    )
    refiner: RefinerConfig | None = Field(
        None, description="a network that mends moved frames, in place of `steady_px`"
    )
    mending: MendingConfig | None = Field(
        None, description="tokens that mend moved frames: the model then has a tokenizer and a dynamics model too"
    )
    prompt_frames: int = Field(
        8, ge=1, le=64, description="maximum frames of a prompt: those before the last show how fast things move"
    )


Component = Literal["tokenizer", "lam", "dynamics", "mover"]
"""A network of a model, and its file in a bundle."""


class ModelConfig(_Frozen):
    """Complete configuration of a Genie model."""

    name: str
    height: int = Field(64, gt=0, le=4096, description="pixels")
    width: int = Field(64, gt=0, le=4096, description="pixels")
    fps: float = Field(10.0, gt=0, le=10_000, description="frames a second that the model is trained at")
    tokenizer: TokenizerConfig
    lam: ActionConfig
    dynamics: DynamicsConfig
    temperature: float = Field(1.0, gt=0, le=1000, description="default sampling temperature of rollouts")
    simulates: bool = Field(
        True, description="false: no tokenizer and dynamics model; they are neither trained nor stored"
    )
    mover: MoverConfig | None = Field(
        None, description="simulates by moving the last frame, where there is no tokenizer and dynamics model"
    )

    @model_validator(mode="after")
    def _one_way_to_simulate(self) -> ModelConfig:
        if self.mover is not None and (self.simulates or not isinstance(self.lam, MotionActionConfig)):
            raise ValueError("mover: expected none but of a model that reads motion and has `simulates` false")
        if self.mends and (self.dynamics.temporal != "none" or not self.dynamics.previous_tokens):
            raise ValueError(
                "mover.mending: expected dynamics.temporal 'none' and dynamics.previous_tokens true: a moved frame is "
                "mended by itself"
            )
        return self

    @model_validator(mode="after")
    def _patches_tile(self) -> ModelConfig:
        patches = {"tokenizer": self.tokenizer.patch}
        if isinstance(self.lam, LatentActionConfig) and self.lam.source == "pixels":
            patches["lam"] = self.lam.patch
        for part, patch in patches.items():
            if self.height % patch or self.width % patch:
                raise ValueError(f"{part}.patch {patch} does not tile a {self.height} x {self.width} frame")
        for part, patch in patches.items():
            tokens = (self.height // patch) * (self.width // patch)
            if tokens > MAX_TOKENS:
                raise ValueError(f"{part}: {tokens} patches a frame, expected at most {MAX_TOKENS}")
        group, dim = self.dynamics.group, self.dynamics.transformer.dim
        h, w = self.token_grid
        if h % group or w % group or dim % group**2:
            raise ValueError(f"dynamics.group {group} must tile the {h} x {w} tokens, its square divide dim {dim}")
        return self

    @property
    def token_grid(self) -> tuple[int, int]:
        """Rows and columns of tokenizer tokens in one frame."""
        return self.height // self.tokenizer.patch, self.width // self.tokenizer.patch

    @property
    def tokens_per_frame(self) -> int:
        """Number of tokenizer tokens in one frame."""
        rows, columns = self.token_grid
        return rows * columns

    @property
    def context_frames(self) -> int:
        """Maximum prompt frames of a simulation: the window of the dynamics model or of the mover; 0 with neither."""
        if self.mover is not None:
            return self.mover.prompt_frames
        return self.dynamics.transformer.window if self.simulates else 0

    @property
    def moves_any_size(self) -> bool:
        """Whether frames of any size can be simulated: they are moved, and no network of fixed size mends them."""
        return self.mover is not None and self.mover.refiner is None

    @property
    def mends(self) -> bool:
        """Whether tokens mend the frames that the mover has moved."""
        return self.mover is not None and self.mover.mending is not None

    @property
    def maskgit_steps(self) -> int:
        """MaskGIT steps of a frame unless a call says otherwise: the paper's 25, fewer of few tokens or to mend."""
        mending = None if self.mover is None else self.mover.mending
        return min(PAPER_STEPS if mending is None else mending.steps, self.tokens_per_frame)

    @property
    def least_steps(self) -> int:
        """Fewest MaskGIT steps of a frame that a call may ask for: 0 where frames are there without."""
        return 0 if self.mover is not None else 1

    @property
    def components(self) -> tuple[Component, ...]:
        """Networks in a bundle of this configuration."""
        if self.mends:
            return ("tokenizer", "lam", "dynamics", "mover")
        if self.mover is not None:
            return ("lam", "mover")
        return ("tokenizer", "lam", "dynamics") if self.simulates else ("lam",)


__all__ = [
    "PAPER_STEPS",
    "WHOLE",
    "ActionConfig",
    "Component",
    "DynamicsConfig",
    "LatentActionConfig",
    "MendingConfig",
    "ModelConfig",
    "MotionActionConfig",
    "MoverConfig",
    "QuantizerConfig",
    "RefinerConfig",
    "TokenizerConfig",
    "TransformerConfig",
    "label_feature_dim",
]
