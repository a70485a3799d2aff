"""Catalogue of an evaluation's metrics: name, meaning and target."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Literal

Unit = Literal["dB", "share", "number"]
Verdict = Literal["met", "open", "missed"]
"""Verdict on a target; ``open``: the target lies within the interval."""


@dataclass(frozen=True)
class Target:
    """Target of at least `value`; if `codes` is given, only for bundles with that many latent action codes."""

    value: float
    codes: int | None = None


@dataclass(frozen=True)
class Entry:
    """Entry of one metric. `key` is its dotted name in report.json."""

    key: str
    title: str
    meaning: str
    unit: Unit = "number"
    targets: tuple[Target, ...] = ()

    def target(self, codes: int) -> float | None:
        """Return the target for a bundle with that many codes; None if there is none."""
        return next((t.value for t in self.targets if t.codes in (None, codes)), None)

    def verdict(self, value: float, ci95: tuple[float, float] | None, codes: int) -> Verdict | None:
        """Return whether the target is met, which the whole interval must show; None if there is no target."""
        target = self.target(codes)
        if target is None:
            return None
        low, high = ci95 or (value, value)
        return "met" if low >= target else "missed" if high < target else "open"

    def words(self, value: float) -> str:
        """Return a value of this metric in its unit."""
        if self.unit == "share":
            return f"{value:.1%}"
        # Adding 0 makes the -0.0 of small negative numbers 0.
        return f"{value:.2f} dB" if self.unit == "dB" else f"{round(value, 3) + 0.0:.3f}"

    def interval(self, low: float, high: float) -> str:
        """Format an interval of this metric, with its unit once."""
        return f"{self.words(low).removesuffix('%').removesuffix(' dB')} to {self.words(high)}"


_PROBED = {
    "code": "linear probe of the one-hot code",
    "latent": "MLP probe of the latent before quantization",
    "latent_linear": "linear probe of the latent before quantization",
    "flow_8x8": "baseline: linear probe of optical flow, means of 8 x 8 parts of the picture, 128 numbers",
    "flow_8x8_mlp": "baseline: MLP probe of the same",
    "flow_4x4": "baseline: linear probe of optical flow, means of 4 x 4 parts of the picture, 32 numbers",
    "flow_global": "baseline: linear probe of the mean optical flow, 2 numbers",
    "frame_difference": "baseline: MLP probe of the difference of the two frames, shrunk to 8 x 8",
    "frame": "baseline: linear probe of the first frame alone, shrunk to 8 x 8: what the scene says",
    "random_encoder": "baseline: linear probe of the same encoder's latents before any training",
    "shuffled": "floor: MLP probe of the latent, fitted to the truth in random order",
    "supervised": "the same encoder, trained with the truth until its error on episodes set aside stops falling",
}
_BASELINES = ("flow_8x8", "flow_8x8_mlp", "flow_4x4", "flow_global", "frame_difference", "frame", "random_encoder")
_PROBE_TARGETS = {"code": (Target(0.75, codes=8), Target(0.85, codes=16)), "latent": (Target(0.92),)}


def _probe(name: str, target: str) -> tuple[Entry, Entry]:
    how, goals = _PROBED[name], _PROBE_TARGETS.get(name, ()) if target == "displacement" else ()
    what = "the end effector's displacement" if target == "displacement" else "the robot's action"
    title = f"R2, {name.replace('_', ' ')} -> {target}"
    return (
        Entry(
            f"probe.{name}_to_{target}_r2_mean",
            title,
            f"{what} by {how}: R2, mean of its numbers",
            "number",
            goals,
        ),
        Entry(
            f"probe.{name}_to_{target}_nmse", "... normalised error", f"{what} by {how}: squared error over variance"
        ),
    )


_TOKENIZER = (
    Entry(
        "tokenizer.psnr_db",
        "tokenizer PSNR",
        "frames decoded from their tokens, against the frames",
        "dB",
        (Target(30),),
    ),
    Entry("tokenizer.ssim", "tokenizer SSIM", "the same, structural similarity"),
    Entry(
        "tokenizer.codebook_use", "codebook use", "share of the codebook that occurs at all", "share", (Target(0.8),)
    ),
)
_LAM = (
    Entry(
        "lam.psnr_db",
        "next frame, PSNR",
        "the next frame as the latent action decoder draws it from the label's code",
        "dB",
    ),
    Entry("lam.psnr_over_copy_db", "... over copying", "that, over repeating the last frame", "dB", (Target(4),)),
    Entry(
        "lam.psnr_over_random_db",
        "... over random codes",
        "that, over codes drawn at random: it grows with the entropy of the codes, which stands below, too",
        "dB",
        (Target(4),),
    ),
    Entry("lam.code_entropy_bits", "code entropy, bits", "of the shares of the codes; log2 of their number at most"),
    Entry(
        "lam.code_perplexity", "code perplexity", "effective number of codes in use", "number", (Target(7, codes=8),)
    ),
    Entry("lam.temporal_stability", "temporal stability", "share of neighbouring labels that are the same", "share"),
    Entry(
        "lam.unchanged_brightness",
        "unchanged: brightness",
        "labels that stay the same 5% lighter or darker",
        "share",
        (Target(0.95),),
    ),
    Entry(
        "lam.unchanged_noise",
        "unchanged: noise",
        "labels that stay the same under 2% Gaussian noise",
        "share",
        (Target(0.95),),
    ),
    Entry(
        "lam.unchanged_shift",
        "unchanged: shift",
        "labels that stay the same when the picture moves 2 pixels",
        "share",
        (Target(0.95),),
    ),
    Entry(
        "lam.unchanged_crop",
        "unchanged: crop",
        "labels that stay the same when 2 pixels a side are cut off and the rest is enlarged",
        "share",
    ),
    Entry(
        "lam.unchanged_shake",
        "unchanged: shake",
        "labels that stay the same when the camera shakes by up to a pixel of 64, each frame by itself",
        "share",
        (Target(0.9),),
    ),
    Entry(
        "lam.unchanged_flicker",
        "unchanged: flicker",
        "labels that stay the same when each frame is up to 5% lighter or darker by itself",
        "share",
        (Target(0.97),),
    ),
    Entry(
        "lam.unchanged_pan",
        "unchanged: pan",
        "labels that stay the same when the camera pans by 0.25 pixels of 64 a frame",
        "share",
        (Target(0.97),),
    ),
    Entry("lam.unchanged_jpeg", "unchanged: JPEG", "labels that stay the same in JPEG of quality 50", "share"),
    Entry(
        "lam.unchanged_object",
        "unchanged: object",
        "labels that stay the same when a striped square moves through the picture",
        "share",
    ),
    Entry(
        "lam.unchanged_hand",
        "unchanged: hand",
        "labels that stay the same when a person's hand moves at one edge",
        "share",
    ),
    Entry(
        "lam.frozen_still_share",
        "frame beside itself, one code",
        "share of frames that, beside themselves, get the most frequent code of such pairs",
        "share",
        (Target(1.0),),
    ),
    Entry(
        "lam.frozen_length",
        "... length of its latent",
        "over the median length of latents; 0 where length means size, 1 where latents have unit length",
    ),
)
_PROBE = (
    *_probe("code", "displacement"),
    *_probe("latent", "displacement"),
    *_probe("latent_linear", "displacement"),
    *(entry for name in _BASELINES for entry in _probe(name, "displacement")),
    *_probe("shuffled", "displacement"),
    *_probe("supervised", "displacement"),
    Entry(
        "probe.latent_share_of_supervised",
        "latent, share of the bound",
        "R2 of the latent's probe over R2 of the bound",
        "share",
    ),
    Entry(
        "probe.nmi",
        "NMI, code and motion",
        "normalised mutual information of code and motion class",
        "number",
        (Target(0.75),),
    ),
    Entry(
        "probe.motion_stability", "motion stability", "share of neighbouring transitions of one motion class", "share"
    ),
    *_probe("code", "action"),
    *_probe("latent", "action"),
    *_probe("latent_linear", "action"),
    *(entry for name in _BASELINES for entry in _probe(name, "action")),
    *_probe("shuffled", "action"),
)
_DISTANCES = (
    Entry("dynamics.clip_frames", "frames a clip", "length of the clips that the distances below compare"),
    Entry(
        "dynamics.tokenizer_frechet_distance",
        "Fréchet, own features (not FVD)",
        "real clips and rollouts, in the tokenizer's own features: lower is better, only within one bundle and data; "
        "too high where clips are few: compare at the same n",
    ),
    Entry(
        "dynamics.tokenizer_frechet_distance_redrawn",
        "... of the tokenizer's drawing",
        "that, of real clips and the same as the tokenizer draws them: the limit of the rollouts",
    ),
    Entry(
        "dynamics.tokenizer_frechet_distance_copy",
        "... of copying",
        "that, of real clips and the start frame repeated",
    ),
    Entry(
        "dynamics.fvd",
        "FVD (I3D)",
        "Fréchet video distance of real clips and rollouts: lower is better; too high where clips are few: compare "
        "at the same n",
    ),
    Entry(
        "dynamics.fvd_redrawn",
        "FVD of the tokenizer's drawing",
        "Fréchet video distance of real clips and the same as the tokenizer draws them: the limit of the rollouts",
    ),
    Entry("dynamics.fvd_copy", "FVD of copying", "Fréchet video distance of real clips and the start frame repeated"),
)
_DYNAMICS = (
    Entry(
        "dynamics.delta_t_psnr_4",
        "delta-t PSNR, t = 4",
        "rollout with inferred codes over one with random codes, 4th frame",
        "dB",
        (Target(2.07),),
    ),
    Entry(
        "dynamics.delta_t_psnr_4_latents",
        "... of latents",
        "rollout with inferred latents over one with random codes, 4th frame",
        "dB",
    ),
    Entry("dynamics.psnr_4_db", "rollout PSNR, t = 4", "4th frame of the rollout with inferred codes", "dB"),
    Entry(
        "dynamics.worst_psnr_over_copy_db",
        "rollout over copying, worst",
        "least gain over copying the start frame, horizons 1 to 8",
        "dB",
        (Target(0),),
    ),
    Entry(
        "dynamics.worst_psnr_over_copy_latents_db",
        "... of latents",
        "the same of the rollout with inferred latents: a replay",
        "dB",
        (Target(0),),
    ),
    Entry(
        "dynamics.confidence_calibration_error",
        "calibration of confidence",
        "how far the confidence of a frame is from the share that is right (nearer to the real one than the start "
        "frame is), mean over ten bins, on episodes that it was not fitted on: lower is better",
    ),
    Entry(
        "dynamics.confidence_brier_skill",
        "skill of confidence",
        "by how much its squared error is less than that of the share that is right; 0 says nothing of a frame",
    ),
    Entry(
        "dynamics.trusted_frames",
        "frames that can be trusted",
        "mean number of frames up to the first whose confidence is below 0.8",
    ),
    Entry("dynamics.trusted_right", "... of which are right", "share of those frames that are right", "share"),
    Entry(
        "dynamics.next_token_accuracy",
        "next-token accuracy",
        "tokens of a wholly hidden next frame predicted right",
        "share",
    ),
    Entry(
        "dynamics.next_token_accuracy_copy",
        "... of copying",
        "tokens that stay as they were in the frame before: what predicting no change would get right",
        "share",
    ),
    *_DISTANCES,
)
_CONSISTENCY = (
    Entry(
        "consistency.direction_agreement",
        "direction agreement",
        "rollouts of a code that go its way, within 45 degrees",
        "share",
        (Target(0.9),),
    ),
    Entry(
        "consistency.direction_agreement_shuffled",
        "... codes shuffled",
        "that, with the codes of each start in random order: what chance, or one way for all codes, would give",
        "share",
    ),
    Entry(
        "consistency.round_trip_accuracy",
        "round-trip accuracy",
        "codes that the labeller reads back from the rollout",
        "share",
        (Target(0.85),),
    ),
    Entry(
        "consistency.round_trip_tokenizer",
        "... of drawing alone",
        "labels of real video read again from the frames as the tokenizer draws them",
        "share",
    ),
)

SECTIONS: dict[str, tuple[Entry, ...]] = {
    "Tokenizer": _TOKENIZER,
    "Latent action model": _LAM,
    "Probes": _PROBE,
    "Dynamics": _DYNAMICS,
    "Consistency across scenes": _CONSISTENCY,
}
"""All metrics, in display order."""

ENTRIES: tuple[Entry, ...] = tuple(entry for entries in SECTIONS.values() for entry in entries)

__all__ = ["ENTRIES", "SECTIONS", "Entry", "Target", "Verdict"]
