"""How near a bundle's tokens come to video: PSNR of frames that are tokenized and decoded again, and codes used.

    python scripts/tokenizer_psnr.py BUNDLE DATA [--camera NAME] [--fps F] [--hold-out SHARE] [--episodes N]
        [--frames N]

Of the first episodes, or of those that training with `--hold-out` leaves out, some frames each, spread over it.
"""

from __future__ import annotations

import argparse
from collections.abc import Iterator
from pathlib import Path

import numpy as np
import torch

from genie_core.data import Episode, Frames, resize_frames
from genie_core.data.hold_out import hold_out_episodes
from genie_core.data.opening import open_dataset
from genie_core.models.bundle import Bundle, load_bundle

_TOGETHER = 16


def main() -> None:
    """Print a line."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("bundle", type=Path)
    parser.add_argument("data")
    parser.add_argument("--camera")
    parser.add_argument("--fps", type=float)
    parser.add_argument("--hold-out", type=float, default=0.0)
    parser.add_argument("--episodes", type=int, default=10)
    parser.add_argument("--frames", type=int, default=6)
    told = parser.parse_args()
    bundle = load_bundle(told.bundle)
    if "tokenizer" not in bundle.config.components:
        parser.error(f"{told.bundle}: got a bundle without a tokenizer")
    episodes = list(open_dataset(told.data, camera=told.camera, fps=told.fps).episodes)
    if told.hold_out:
        _, episodes = hold_out_episodes(episodes, told.hold_out, 0)
    frames_NHWC = np.concatenate([spread(e, told.frames, bundle) for e in episodes[: told.episodes]])
    errors, used = list[float](), set[int]()
    for error, codes in redrawn(bundle, frames_NHWC):
        errors.append(error)
        used |= codes
    print(f"{-10 * np.log10(np.mean(errors)):.1f} dB, {len(errors)} frames, {len(used)} codes")


def spread(episode: Episode, count: int, bundle: Bundle) -> Frames:
    """Return `count` frames of an episode at the model's size, from its first on, evenly apart."""
    at = np.unique(np.linspace(0, episode.num_frames - 1, count).astype(int))
    frames_THWC = np.concatenate([episode.frames(i, i + 1) for i in at.tolist()])
    return resize_frames(frames_THWC, bundle.config.height, bundle.config.width)


@torch.inference_mode()
def redrawn(bundle: Bundle, frames_NHWC: Frames) -> Iterator[tuple[float, set[int]]]:
    """Yield of each frame the mean squared error of what its tokens decode to, of a range of 1, and its codes."""
    tokenizer = bundle.genie.tokenizer
    for first in range(0, len(frames_NHWC), _TOGETHER):
        pixels_N1CHW = bundle.pixels(frames_NHWC[first : first + _TOGETHER, None])
        token_N1P = tokenizer.encode(pixels_N1CHW)
        drawn_N1CHW = tokenizer.decode(token_N1P).float().clamp(-0.5, 0.5)
        error_N = (drawn_N1CHW - pixels_N1CHW).square().flatten(1).mean(1)
        yield from zip(error_N.tolist(), (set(t.flatten().tolist()) for t in token_N1P), strict=True)


if __name__ == "__main__":
    main()
