"""Which metrics there are, what each should reach, and what measures it. Imports nothing heavy and measures nothing."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Literal

COMMAND = "python -m benchmarks"

JOBS = 16
"""Episodes in flight that `genie label` has where it is not told."""

JOBS_IN_COMPANY = 32
"""Episodes in flight of several clients together: the server takes a bounded number of calls."""


def jobs_each(clients: int) -> int:
    """Return the episodes that each of several clients has in flight."""
    return min(JOBS, max(1, JOBS_IN_COMPANY // clients))


@dataclass(frozen=True)
class Metric:
    """One row to be.

    Attributes:
        name: of the row.
        target: what it should reach; None where there is none.
        better: whether it should be at least or at most that.
        unit: ``x`` for a ratio.
        about: what it compares, a sentence or two.
        parts: what each measured part is.

    """

    name: str
    target: float | None
    better: Literal["higher", "lower"]
    unit: str
    about: str
    parts: str


@dataclass(frozen=True)
class Benchmark:
    """One measurement in a process of its own, which gives one row or several.

    Attributes:
        entry: ``module:function``, called with whether to be quick; gives a `Measured` for each metric.
        threads: that matrices are multiplied with; None for all cores.
        metrics: rows that it gives, in order.
        cuda: whether it needs a GPU, and is left out without one.

    """

    entry: str
    threads: int | None
    metrics: tuple[Metric, ...]
    cuda: bool = False

    @property
    def names(self) -> tuple[str, ...]:
        """Of its rows."""
        return tuple(metric.name for metric in self.metrics)


def _grpc(clients: int, model: str = "") -> Benchmark:
    """Return the ratio with the bundle `model`, or with the default one."""
    named = f"`{model}`" if model else "the default model"
    who = f"{clients} client{'s' if clients > 1 else ''} with {jobs_each(clients)} episodes in flight each"
    metric = Metric(
        f"grpc_over_inprocess_{clients}" + (f"_{model}" if model else ""),
        0.95,
        "higher",
        "x",
        f"Labelling through the service over labelling without it, with {named}: "
        f"{who}, HDF5 in and HDF5 out over loopback, against one `Labeller` that finds the same frames in memory.",
        "`inprocess`: frames a second of the `Labeller` in its best way, tried first on a quarter of the episodes: "
        "large batches in all cores, or smaller ones in as many threads as there are cores, each computing in one "
        "(figures in the row). `grpc`: frames a second of all clients together, from the moment the first begins to "
        "read until the last file is written. `inprocess_cpu`, `server_cpu`, `clients_cpu`: CPU time a frame; "
        "`cpu_ratio` is the first over the sum of the two others, in which no other process counts.",
    )
    return Benchmark(f"benchmarks.grpc_labelling:{model or 'clients'}_{clients}", None, (metric,))


def _share_of_limits(name: str, what: str, function: str) -> Benchmark:
    metric = Metric(
        f"{name}_share_of_limits",
        None,
        "higher",
        "x",
        f"The least time that the core's measured limits allow for {what}, over the time that it takes: on one thread, "
        "in fp32, operation by operation.",
        "`frame`: CPU time of a frame. `matmul`: the fastest matrix product of each round. `copying`: bytes read and "
        "written a second by a copy of 64 MiB. An operation can take no less than its arithmetic at the one and the "
        "bytes of its inputs and outputs at the other; what lies in caches moves faster than a copy, so that shares of "
        "copying may pass 100%. OpenCV's time counts as it is: its arithmetic is not counted.",
    )
    return Benchmark(f"benchmarks.operations:{function}", 1, (metric,))


def _encoder(threads: int | None) -> Benchmark:
    words = "one thread" if threads == 1 else "all cores"
    metric = Metric(
        "encoder_over_plain_1_thread" if threads == 1 else "encoder_over_plain_all",
        1.5,
        "higher",
        "x",
        f"Frames a second of the latent action encoder over those of the plain one, on {words}: d 512, 8 blocks, "
        "patch 16, frames of 64 x 64, 8 clips of 16 frames, the same weights.",
        "`plain_fp32`, `plain_bf16`: the baseline in single precision, as public code runs it, and in bf16 autocast. "
        "`ours_fp32`, `ours_bf16`: ours likewise, on several cores a lane each, as a server computes. "
        "`ours_stream`: ours as a labelling stream, one episode at a time. "
        "The ratio is of both sides in fp32, the default; `bf16_over_plain_bf16` is that in bf16. Both sides spend "
        "their time in the same matrix products ([operation by operation](#encoder_share_of_limits)), which leaves "
        "little to gain from the structure alone on one thread."
        + (" Seconds are those of the CPU, so that other processes do not count." if threads == 1 else ""),
    )
    return Benchmark(f"benchmarks.encoder:{'one_thread' if threads == 1 else 'all_threads'}", threads, (metric,))


BENCHMARKS: tuple[Benchmark, ...] = (
    _grpc(1),
    _grpc(8),
    _grpc(32),
    _grpc(1, "tiny"),
    _grpc(8, "tiny"),
    _grpc(32, "tiny"),
    _encoder(1),
    _encoder(None),
    Benchmark(
        "benchmarks.motion_labels:one_thread",
        1,
        (
            Metric(
                "motion_labels_frames_per_s",
                300.0,
                "higher",
                "frames/s",
                "Frames a second that the shipped `motion` labels in one core, optical flow both ways included, beside "
                "the shipped `tiny`: the sample's frames of 64 x 64, from memory, in fp32.",
                "`motion`, `tiny`: each bundle's `Labeller`. `flow_both_ways`: the optical flow of those pairs alone. "
                "`over_tiny`: frames of `motion` over those of `tiny` in the same round. Seconds are those of the CPU, "
                "so that other processes do not count, but for what they take from its caches.",
            ),
        ),
    ),
    _share_of_limits("motion", "labels of the default model, optical flow included", "of_default_bundle"),
    _share_of_limits("encoder", "the encoder of `encoder_over_plain_1_thread`", "of_paper_encoder"),
    Benchmark(
        "benchmarks.rollout:over_full_window",
        None,
        (
            Metric(
                "rollout_over_full_window",
                12.0,
                "higher",
                "x",
                "Frames a second of a rollout that carries its past along over one that computes the window of all 16 "
                "frames at each of 25 steps: d 512, 12 blocks, 256 tokens a frame, both with the tokenizer's decoder, "
                "on all cores.",
                "`cached`: seconds a frame of `Simulator`. `full_window`: seconds a frame of the baseline. "
                "`logits_difference`: largest difference of the two networks' logits for a half-drawn sixteenth frame, "
                "fp32; it must stay under 1e-4. (Once a stream is longer than the window, carried keys and values "
                "reach further back than a window computed afresh: there the two know different pasts.)",
            ),
        ),
    ),
    Benchmark(
        "benchmarks.rollout_steps:at_fixed_quality",
        1,
        (
            Metric(
                "rollout_at_fixed_quality",
                30.0,
                "higher",
                "x",
                "Time of a frame by the full window of 16 frames at 25 MaskGIT steps over that by a rollout that "
                "carries its past along, at the fewest steps that lose no more than 0.1 dB: both with the networks of "
                "the shipped `tiny` and its tokenizer's decoder, on one thread.",
                "`full_window`: the same network, its window computed again at every step, as public samplers do. "
                "`cached`, `cached_fewest`: ours at 25 steps and at the fewest. `motion`: a frame of the default "
                "model, which moves the last frame and draws nothing. `psnr_N_steps`: of frames simulated by `tiny` "
                "from frames of the sample against those that came, with the labels' codes, one a seed; "
                "`psnr_motion`: the same of the default model with its own codes; `psnr_copy`: the last real frame "
                "repeated. Times are of the CPU, a frame.",
            ),
        ),
    ),
    Benchmark(
        "benchmarks.memory:growth",
        None,
        tuple(
            Metric(
                f"{side}_growth_mb",
                50.0,
                "lower",
                "MB",
                f"Peak memory of the {side} for labelling an episode of 100,000 frames, less that for one of 1,000.",
                "`short`, `long`: peak resident memory of a fresh process that labelled one such episode with "
                "`genie label` through `genie serve` with the default model, HDF5 in and HDF5 out.",
            )
            for side in ("client", "server")
        ),
    ),
    Benchmark(
        "benchmarks.share:encoder",
        None,
        (
            Metric(
                "encoder_share_of_matmul",
                0.6,
                "higher",
                "x",
                "Arithmetic a second of the latent action encoder, computed as a server does in a lane a core, over "
                "that of the fastest matrix product measured on the same cores in the same precision.",
                "`encoder`, `matmul`: operations a second. The share of the precision that we ship is the value.",
            ),
        ),
    ),
    Benchmark(
        "benchmarks.share:sampler",
        None,
        (
            Metric(
                "sampler_share_of_matmul",
                0.6,
                "higher",
                "x",
                "Arithmetic a second of rollouts (25 MaskGIT steps a frame, and the decoder), one a core, over that of "
                "the fastest matrix product measured on the same cores in the same precision.",
                "`sampler`, `matmul`: operations a second.",
            ),
        ),
    ),
    Benchmark(
        "benchmarks.start:start_to_first_label",
        None,
        (
            Metric(
                "start_to_first_label_s",
                6.0,
                "lower",
                "s",
                "From starting `genie serve` with the default model to the first label in a client's hands.",
                "`ready`: until the server says so. `first_label`: until the labels of 17 frames are there.",
            ),
        ),
    ),
    Benchmark(
        "benchmarks.play_latency:under_bulk",
        None,
        (
            Metric(
                "play_latency_under_bulk",
                150.0,
                "lower",
                "ms",
                "Time from sending an action to having its frame, 95th percentile, in a `Play` beside one client that "
                f"labels with {JOBS} episodes or more in flight: `genie serve` with the default model, an action as "
                "soon as the frame of the last is there.",
                "`idle`, `beside`: milliseconds an action with the server to itself and beside the labeller; median "
                "and 95th percentile of each round's actions, and the medians of what the server says of them: "
                "`waiting` for a lane, and `computing`. "
                "`labeller_alone`, `labeller_beside`: frames a second that are labelled without and with the `Play`. "
                "`ratio`: of the medians.",
            ),
        ),
    ),
    Benchmark(
        "benchmarks.robotics:rollout",
        None,
        (
            Metric(
                "robotics_rollout_frames_per_s",
                None,
                "higher",
                "frames/s",
                "Rollout of the `robotics` preset (2.5B parameters, random weights) on a GPU, 25 steps a frame.",
                "`frame`: seconds a frame.",
            ),
        ),
        cuda=True,
    ),
)
"""Every benchmark, in the order in which they run and are shown."""

METRICS: dict[str, Metric] = {metric.name: metric for b in BENCHMARKS for metric in b.metrics}
"""Every metric by name."""


def command(name: str, *, quick: bool = False) -> str:
    """Return what to type to measure a row again."""
    return f"{COMMAND} {name}" + (" --quick" if quick else "")


def chosen(names: list[str]) -> list[Benchmark]:
    """Return the benchmarks that give rows of these names; all for none. Raises ValueError, listing valid names."""
    for name in names:
        if name not in METRICS:
            raise ValueError(f"there is no benchmark {name!r}; there are: {', '.join(METRICS)}")
    return [b for b in BENCHMARKS if not names or set(names) & set(b.names)]


__all__ = ["BENCHMARKS", "JOBS", "METRICS", "Benchmark", "Metric", "chosen", "command", "jobs_each"]
