"""How much nearer the next frame is, by its label, than the frame before it: by code and by latent.

    python scripts/next_frame.py FOLDER [--bundle genie_core/bundles/motion] [--suite zoo] [--sets bridge_0 rt1 ...]

FOLDER is where the suite's sets are. Every transition of a set, of the suite's length and one beginning where the one
before ends, is labelled, and the bundle's simulator draws the frame at its end from the one at its start: from the code
with that frame alone as the prompt, from the code with up to eight frames, and from the latent. Prints PSNR over
copying, dB, of all transitions of a set together, the share of them whose drawn frame is nearer than the copy, and 95%
intervals over episodes.
"""

from __future__ import annotations

import argparse
import sys
from pathlib import Path

import numpy as np
import torch

from genie_core.data import Frames
from genie_core.data.storage.location import source_path
from genie_core.errors import GenieError
from genie_core.evaluation.metrics import Metric, Statistic, mean_of, of_means
from genie_core.evaluation.suite.config import read_suite
from genie_core.evaluation.suite.rows import choose_episodes, model_frames, step_of
from genie_core.inference import Labeller, Simulator
from genie_core.models.bundle import load_bundle
from genie_core.statistics.metrics import Array, frame_mse, psnr_db

SEED = 0
SETS = ("bridge_0", "bridge_1", "bridge_v2", "bridge_clip", "bridge_site", "rt1", "rt1_clips", "calvin_clips")
PROMPT = 8
WAYS = ("code", f"code, {PROMPT} frames of prompt", "latent")
COPY = len(WAYS)


def main() -> None:
    """Print a row a set."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("folder")
    parser.add_argument("--bundle", type=Path, default=Path("genie_core/bundles/motion"))
    parser.add_argument("--suite", default="zoo")
    parser.add_argument("--sets", nargs="+", default=SETS)
    parser.add_argument("--episodes", type=int, help="most episodes of a set")
    told = parser.parse_args()
    torch.set_num_threads(1)
    try:
        labeller = Labeller(load_bundle(told.bundle))
        print(f"| set | episodes, transitions | {' | '.join(WAYS)} | nearer: {', '.join(WAYS)} |")
        print("| -- " * 2 + "| -: " * (len(WAYS) + 1) + "|")
        for entry in (one for one in read_suite(told.suite).sets if one.name in told.sets):
            groups = []
            for episode in choose_episodes(entry, source_path(told.folder) / entry.path, SEED, told.episodes):
                groups.append(errors(labeller, model_frames(labeller, entry, episode), step_of(entry, episode)))
            print(row(f"{entry.name} ({entry.role})", groups), flush=True)
    except GenieError as error:
        sys.exit(str(error))


def errors(labeller: Labeller, every_THWC: Frames, step: int) -> Array:
    """Label transitions of `step` frames: mean squared errors of the frames they lead to, (S, ways and the copy)."""
    labels = labeller.label(every_THWC, step, "strided")
    code_S, latent_SD = labels.code[labels.valid], labels.latent[labels.valid]
    frames_THWC = every_THWC[::step]
    simulator = Simulator(labeller.bundle)
    errors_SW = np.zeros((len(frames_THWC) - 1, len(WAYS) + 1))
    for s, real_HWC in enumerate(frames_THWC[1:]):
        code = int(code_S[s])
        alone = simulator.start(frames_THWC[s : s + 1], 2).step((code, latent_SD[s]))
        prompted = simulator.start(frames_THWC[max(0, s + 1 - PROMPT) : s + 1], 1).step((code,))
        drawn = np.stack([alone[0], prompted[0], alone[1], frames_THWC[s]])
        errors_SW[s] = frame_mse(drawn, np.broadcast_to(real_HWC, drawn.shape))
    return errors_SW


def row(name: str, groups: list[Array]) -> str:
    """Return a line of the table from the errors of each episode."""
    rng = np.random.default_rng(SEED)
    over = [of_means(groups, _over(way), rng) for way in range(COPY)]
    nearer = [mean_of([group[:, way] < group[:, COPY] for group in groups], rng) for way in range(COPY)]
    shares = ", ".join(f"{share.value:.0%}" if isinstance(share, Metric) else "–" for share in nearer)
    return f"| {name} | {len(groups)}, {sum(map(len, groups))} | {' | '.join(map(_words, over))} | {shares} |"


def _over(way: int) -> Statistic:
    return lambda mean_RW: psnr_db(mean_RW[:, way]) - psnr_db(mean_RW[:, COPY])


def _words(got: object) -> str:
    if not isinstance(got, Metric):
        return "–"
    interval = "" if got.ci95 is None else f" ({got.ci95[0]:+.2f} to {got.ci95[1]:+.2f})"
    return f"{got.value:+.2f}{interval}"


if __name__ == "__main__":
    main()
