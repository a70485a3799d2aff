"""What frames of their own size are worth: rollouts at the video's size beside those at the model's size, enlarged.

    python scripts/rollout_sizes.py BUNDLE --data DATA [--camera NAME] [--fps F] [--hold-out SHARE] [--episodes N]
        [--starts N] [--pixels N] [--sheet FILE]

Every start is a prompt of eight frames at the model's rate; the 16 frames after it are simulated by the latents that
the bundle reads off them. Prints, at 1 to 8 frames and over frames 9 to 16 together, PSNR at the video's size of each
over repeating the start frame, and of the one over the other, dB, with 95% intervals over episodes; and how sharp each
is where the real video changes: the mean difference between neighbouring pixels, over that of the real frame.
"""

from __future__ import annotations

import argparse
import sys
from collections.abc import Iterator
from pathlib import Path

import numpy as np
import torch

from genie_core.data import Episode, Frames, hold_out_episodes, resize_frames
from genie_core.data.frames.grid import CodedFrame, report_grid
from genie_core.data.frames.images import encode_image
from genie_core.data.opening import open_dataset
from genie_core.evaluation.metrics import Metric, of_means
from genie_core.inference import Labeller, Simulator
from genie_core.models.bundle import load_bundle
from genie_core.statistics.metrics import Array, frame_mse, psnr_db

PROMPT, LENGTH, HORIZON = 8, 16, 8
SPANS = (*(slice(i, i + 1) for i in range(HORIZON)), slice(HORIZON, LENGTH))
SHOWN = (0, 1, 2, 4, 8, 16)
CHANGED = 10


def main() -> None:
    """Print the table."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("bundle", type=Path)
    parser.add_argument("--data", required=True)
    parser.add_argument("--camera")
    parser.add_argument("--fps", type=float)
    parser.add_argument("--hold-out", type=float, default=0.0)
    parser.add_argument("--episodes", type=int, default=12)
    parser.add_argument("--starts", type=int, default=2, help="most of each episode")
    parser.add_argument("--pixels", type=int, default=640 * 480, help="most of a frame; larger video is shrunk")
    parser.add_argument("--sheet", type=Path, help="picture of the first starts: real, own size, enlarged")
    told = parser.parse_args()
    torch.set_num_threads(1)
    labeller = Labeller(load_bundle(told.bundle))
    episodes = open_dataset(told.data, camera=told.camera, fps=told.fps).episodes
    if told.hold_out:
        _, episodes = hold_out_episodes(episodes, told.hold_out, 0)
    groups: list[Array] = []
    sharp: list[Array] = []
    rows: list[list[CodedFrame]] = []
    for episode in episodes[: told.episodes]:
        made = list(rollouts(labeller, episode, told.starts, told.pixels))
        if made:
            groups.append(np.concatenate([errors(*one) for one in made]))
            sharp.append(np.concatenate([edges(*one) for one in made]))
            rows += [[CodedFrame(video[i], None) for i in SHOWN] for video in made[0]][: 3 * (len(rows) < 9)]
    if not groups:
        sys.exit(f"{told.data}: no episode has {PROMPT + LENGTH} frames at the model's rate")
    height, width = rows[0][0].frame_HWC.shape[:2]
    print(f"{len(groups)} episodes, {sum(map(len, groups))} starts, {height} x {width} pixels")
    pairs = (("own size over copying", 0, 2), ("enlarged over copying", 1, 2), ("own size over enlarged", 0, 1))
    for name, one, other in pairs:
        print(f"{name}: {'  '.join(words(groups, span, one, other) for span in range(len(SPANS)))}")
    edge_SW = np.concatenate(sharp).mean(0)
    for name, way in (("own size", 1), ("enlarged", 2)):
        print(f"sharpness, {name}: {'  '.join(f'{share:.2f}' for share in edge_SW[:, way] / edge_SW[:, 0])}")
    if told.sheet is not None:
        told.sheet.write_bytes(encode_image(report_grid(rows)))


def rollouts(labeller: Labeller, episode: Episode, starts: int, pixels: int) -> Iterator[tuple[Frames, Frames, Frames]]:
    """Yield what happened after each start and both simulations of it, start frame first: (LENGTH + 1, H, W, 3)."""
    every = max(1, round(episode.fps / labeller.bundle.config.fps))
    spare = episode.num_frames - (PROMPT + LENGTH - 1) * every - 1
    if spare < 0:
        return
    simulator = Simulator(labeller.bundle)
    for first in np.linspace(0, spare, starts + 2).astype(int)[1:-1].tolist():
        clip_THWC = episode.frames(first, first + (PROMPT + LENGTH - 1) * every + 1)[::every]
        shrink = min(1.0, (pixels / (clip_THWC.shape[1] * clip_THWC.shape[2])) ** 0.5)
        size = (int(clip_THWC.shape[1] * shrink), int(clip_THWC.shape[2] * shrink))
        clip_THWC = resize_frames(clip_THWC, *size)
        latents = list(labeller.label(clip_THWC, step=1).latent[PROMPT - 1 : -1])
        prompt_PHWC, real_THWC = clip_THWC[:PROMPT], clip_THWC[PROMPT - 1 :]
        own_THWC = simulator.rollout(prompt_PHWC, latents, frame_size=size)
        small_THWC = resize_frames(simulator.rollout(prompt_PHWC, latents), *size)
        begin = real_THWC[:1]
        yield real_THWC, np.concatenate((begin, own_THWC)), np.concatenate((begin, small_THWC))


def errors(real_THWC: Frames, own_THWC: Frames, small_THWC: Frames) -> Array:
    """Return mean squared errors (1, spans, 3) of both simulations and of the start frame repeated."""
    ways = (own_THWC, small_THWC, np.broadcast_to(real_THWC[:1], real_THWC.shape))
    by_frame_3T = np.stack([frame_mse(way[1:], real_THWC[1:]) for way in ways])
    return np.stack([by_frame_3T[:, span].mean(1) for span in SPANS])[None]


def edges(real_THWC: Frames, own_THWC: Frames, small_THWC: Frames) -> Array:
    """Return mean differences of neighbouring pixels where the real video has changed, (1, spans, 3)."""
    changed_THW = (np.abs(real_THWC[1:].astype(np.int16) - real_THWC[:1]).max(-1) >= CHANGED)[:, :-1, :-1]
    by_way = []
    for way_THWC in (real_THWC, own_THWC, small_THWC):
        pixel_THWC = way_THWC[1:].astype(np.int16)
        down = np.abs(pixel_THWC[:, 1:, :-1] - pixel_THWC[:, :-1, :-1]).mean(-1)
        right = np.abs(pixel_THWC[:, :-1, 1:] - pixel_THWC[:, :-1, :-1]).mean(-1)
        by_way.append([((down + right) * changed_THW)[span].mean() for span in SPANS])
    return np.array(by_way).T[None]


def words(groups: list[Array], span: int, one: int, other: int) -> str:
    """Return how much nearer to what happened one way is than another, dB."""
    rng = np.random.default_rng(0)
    metric = of_means(groups, lambda mean_RSW: psnr_db(mean_RSW[:, span, one]) - psnr_db(mean_RSW[:, span, other]), rng)
    assert isinstance(metric, Metric)
    interval = f" ({metric.ci95[0]:+.1f} to {metric.ci95[1]:+.1f})" if metric.ci95 else ""
    return f"{metric.value:+.1f}{interval}"


if __name__ == "__main__":
    main()
