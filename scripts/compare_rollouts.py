"""What rollouts gain over repeating their start frame, by horizon, of one bundle or of several from the same starts.

    python scripts/compare_rollouts.py BUNDLE [BUNDLE ...] --data DATA [--camera NAME] [--fps F] [--hold-out SHARE]
        [--subset KEY] [--episodes N] [--prompt-frames P] [--rollouts N] [--sheet FILE]

Starts, codes and latents are those of `genie evaluate --frames 60` with the same options. Prints, by latents and by
codes, dB over copying at 1 to 8 frames and over frames 9 to 16 together, the same with 95% intervals over episodes, and
of further bundles what they gain on the first, paired by episode. A bundle's labels must be those of the first.
"""

from __future__ import annotations

import argparse
from collections.abc import Mapping, Sequence
from pathlib import Path

import numpy as np

from genie_core.data import Frames
from genie_core.data.frames.grid import CodedFrame, report_grid
from genie_core.data.frames.images import encode_image
from genie_core.data.opening import open_dataset
from genie_core.evaluation.evaluation import make_study, part_rng, read_films
from genie_core.evaluation.material import Start, Study, draw_starts
from genie_core.evaluation.metrics import Metric, Statistic, of_means
from genie_core.evaluation.options import EvaluationOptions
from genie_core.evaluation.rollouts import HORIZON, LENGTH, rollout_findings
from genie_core.inference import Simulator
from genie_core.models.bundle import load_bundle
from genie_core.progress import silent
from genie_core.statistics.metrics import Array, frame_mse, psnr_db

FRAMES = 60
WAYS = ("latents", "codes")


def main() -> None:
    """Print the tables."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("bundles", nargs="+", type=Path)
    parser.add_argument("--data", required=True)
    parser.add_argument("--camera")
    parser.add_argument("--fps", type=float)
    parser.add_argument("--hold-out", type=float, default=0.0)
    parser.add_argument("--subset", help="as of `genie evaluate`: a filter key of robomimic's, or all")
    parser.add_argument("--episodes", type=int, default=40)
    parser.add_argument("--prompt-frames", type=int, default=1)
    parser.add_argument("--rollouts", type=int, default=24)
    parser.add_argument("--sheet", type=Path, help="picture of the first starts: real, and each bundle by each way")
    told = parser.parse_args()
    options = EvaluationOptions(
        episodes=told.episodes,
        frames=FRAMES,
        hold_out=told.hold_out,
        subset=told.subset,
        rollouts=told.rollouts,
        prompt_frames=told.prompt_frames,
        supervised_steps=0,
    )
    dataset = open_dataset(told.data, camera=told.camera, fps=told.fps)
    bundles = [load_bundle(path) for path in told.bundles]
    _, films, _ = read_films(bundles[0], dataset, options)
    drawn = [draw(make_study(bundle, films, options, progress=silent)) for bundle in bundles]
    starts, first = drawn[0]
    for way in WAYS:
        for path, (_, made) in zip(told.bundles, drawn, strict=True):
            print(f"{way}, {path}: {_words(gains(starts, made, way))}", flush=True)
        for path, (_, made) in zip(told.bundles[1:], drawn[1:], strict=True):
            print(f"{way}, {path} over {told.bundles[0]}: {_words(gains(starts, made, way, first))}")
    if told.sheet is not None:
        told.sheet.write_bytes(encode_image(sheet([made for _, made in drawn])))


def draw(study: Study) -> tuple[list[Start], list[dict[str, Frames]]]:
    """Simulate from the starts of an evaluation: frames by way, and ``real`` ones, each with the start frame first."""
    rng = part_rng(rollout_findings, study.options.seed)
    starts = draw_starts(study.takes, study.options.rollouts, HORIZON, rng, wanted=LENGTH)
    return starts, [_simulated(study, Simulator(study.bundle), start) for start in starts]


def _simulated(study: Study, simulator: Simulator, start: Start) -> dict[str, Frames]:
    take = study.takes[start.take]
    real_THWC = take.film.frames_THWC[start.frame : start.frame + LENGTH + 1]
    first = max(0, start.frame + 1 - min(study.options.prompt_frames, simulator.context_frames))
    rollout = simulator.start(take.film.frames_THWC[first : start.frame + 1], len(WAYS), study.sampling)
    span = slice(start.frame, start.frame + len(real_THWC) - 1)
    actions = zip(take.latent_SD[span], take.code_S[span].tolist(), strict=True)
    drawn_T2HWC = np.stack([rollout.step(pair) for pair in actions])
    shown = {way: np.concatenate((real_THWC[:1], drawn_T2HWC[:, i])) for i, way in enumerate(WAYS)}
    return {"real": real_THWC, **shown}


def gains(
    starts: Sequence[Start],
    made: Sequence[Mapping[str, Frames]],
    way: str,
    than: Sequence[Mapping[str, Frames]] | None = None,
) -> list[Metric]:
    """PSNR over copying, or over the same way of another bundle, dB: at each of `HORIZON` frames, and after them."""
    rng = np.random.default_rng(0)
    metrics = []
    for span in [slice(i + 1, i + 2) for i in range(HORIZON)] + [slice(HORIZON + 1, LENGTH + 1)]:
        groups: dict[int, list[Array]] = {}
        for i, start in enumerate(starts):
            real_THWC = made[i]["real"]
            other = np.broadcast_to(real_THWC[:1], real_THWC.shape) if than is None else than[i][way]
            errors = [frame_mse(video_THWC[span], real_THWC[span]) for video_THWC in (made[i][way], other)]
            groups.setdefault(start.take, []).append(np.stack(errors, axis=1))
        metric = of_means([np.concatenate(group) for group in groups.values()], _over(), rng)
        if isinstance(metric, Metric):
            metrics.append(metric)
    return metrics


def _over() -> Statistic:
    return lambda mean_R2: psnr_db(mean_R2[:, 0]) - psnr_db(mean_R2[:, 1])


def _words(metrics: Sequence[Metric]) -> str:
    return "  ".join(
        f"{metric.value:+.1f}" + (f" ({metric.ci95[0]:+.1f} to {metric.ci95[1]:+.1f})" if metric.ci95 else "")
        for metric in metrics
    )


def sheet(made: Sequence[Sequence[Mapping[str, Frames]]], starts: int = 4) -> Frames:
    """Rows of each of the first starts: what happened, then by each way each bundle's."""
    rows: list[Frames] = []
    for i in range(min(starts, len(made[0]))):
        rows += [made[0][i]["real"], *(videos[i][way] for way in WAYS for videos in made)]
    return report_grid([[CodedFrame(frame_HWC, None) for frame_HWC in row] for row in rows])


if __name__ == "__main__":
    main()
