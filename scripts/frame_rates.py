"""What labels tell of the same video at several frame rates, at the transition length that `--step auto` takes.

    python scripts/frame_rates.py FOLDER OUT [--suite adapt] [--set g1] [--rates 3 5 10 20 30 50] [--episodes 20]

Frames and truth of a set of the suite are taken at the times of each rate, the nearest one where they do not fall
together: below the video's own rate frames are left out, above it some come twice, as in files whose rate is higher
than their camera's. Writes OUT/RATE.hdf5, and prints a row for each rate; linear probes, intervals over episodes.
"""

from __future__ import annotations

import argparse
import sys
from pathlib import Path

import h5py
import numpy as np
import torch

from genie_core.data import Episode, ReadOptions, open_dataset
from genie_core.data.storage.location import source_path
from genie_core.errors import DatasetError, GenieError
from genie_core.evaluation.metrics import Metric, estimate, ratio
from genie_core.evaluation.suite.config import SuiteSet, Target, read_suite
from genie_core.evaluation.suite.labels import code_metrics
from genie_core.evaluation.suite.rows import Reading, choose_episodes, read_rows
from genie_core.evaluation.suite.scoring import Way, score
from genie_core.inference.auto_step import find_steps_with
from genie_core.models.bundle import load_bundle
from genie_core.statistics.metrics import Array

SEED = 0
TRUTH = "obs/truth"
FEATURES = ("code", "fine_code", "latent", "flow_8x8")


def main() -> None:
    """Resample, find the step, label and probe, a rate after another."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("folder")
    parser.add_argument("out", type=Path)
    parser.add_argument("--bundle", type=Path, default=Path("genie_core/bundles/motion"))
    parser.add_argument("--suite", default="adapt")
    parser.add_argument("--set", default="g1")
    parser.add_argument("--rates", type=float, nargs="+", default=[3, 5, 10, 20, 30, 50])
    parser.add_argument("--episodes", type=int, default=20)
    arguments = parser.parse_args()
    torch.set_num_threads(1)
    try:
        entry = next(one for one in read_suite(arguments.suite).sets if one.name == arguments.set)
        reading = Reading.of(load_bundle(arguments.bundle), SEED, labels_alone=True)
        episodes = choose_episodes(entry, source_path(arguments.folder) / entry.path, SEED, arguments.episodes)
        print(f"| frames/s | step | moving | top code, moving | {' | '.join(f.replace('_', ' ') for f in FEATURES)} |")
        print("| -: | -- " + "| -: " * (len(FEATURES) + 2) + "|")
        for rate in arguments.rates:
            print(row(reading, entry, episodes, rate, arguments.out / f"{rate:g}.hdf5"), flush=True)
    except GenieError as error:
        sys.exit(str(error))


def row(reading: Reading, entry: SuiteSet, episodes: list[Episode], rate: float, out: Path) -> str:
    """A line of the table: the set at `rate` frames/s."""
    assert entry.target is not None
    if not out.exists():
        resample(reading, entry.target, episodes, rate, out)
    there = open_dataset(out, options=ReadOptions(fps=rate)).episodes
    steps = find_steps_with(reading.labeller.bundle, there)
    if not steps.found:
        raise DatasetError(f"{out}: too little moves to find a step")
    step = steps.found[0].step
    target = Target(array=TRUTH, angles=tuple(range(len(entry.target.angles))))
    one = SuiteSet(name=f"{rate:g}", path=out.name, role=entry.role, step=step, target=target)
    rows = read_rows(reading, one, [e for e in there if e.num_frames > step], lambda done, total: None)
    codes = reading.labeller.bundle.config.lam.quantizer.codes
    ways = [Way(name, "linear") for name in FEATURES]
    scores = score(rows, codes, SEED, lambda done, total: None, ways)
    counts = code_metrics(rows, codes, reading.labeller.width, np.random.default_rng(SEED))
    shares = [counts[name] for name in ("moving_share", "top_code_share_moving")]
    words = [f"{share.value:.0%}" if isinstance(share, Metric) else "–" for share in shares]
    errors = [_words(scores.errors_E2(way.name)) for way in ways]
    return f"| {rate:g} | {step} frames, {step / rate:.2f} s | {' | '.join(words + errors)} |"


def resample(reading: Reading, target: Target, episodes: list[Episode], rate: float, out: Path) -> None:
    """Write the episodes at another rate, pictures at the model's size, and the truth of each frame."""
    out.parent.mkdir(parents=True, exist_ok=True)
    part = out.with_suffix(".part")
    with h5py.File(part, "w") as file:
        data = file.create_group("data")
        for place, episode in enumerate(episodes):
            truth_TA = episode.array(target.array)
            if episode.fps is None or truth_TA is None:
                raise DatasetError(f"{episode.source}: got no frame rate or no `{target.array}`, expected both")
            last = (episode.num_frames - 1) / episode.fps
            taken_N = np.round(np.arange(0, last + 1e-9, 1 / rate) * episode.fps).astype(int)
            frames_THWC = np.concatenate([reading.labeller.resized(part) for part in episode.chunks(64)])
            group = data.create_group(f"demo_{place}")
            group.attrs["num_samples"] = len(taken_N)
            group.create_dataset("obs/agentview_image", data=frames_THWC[taken_N])
            columns = list(range(truth_TA.shape[1])) if target.columns is None else list(target.columns)
            group.create_dataset(TRUTH, data=truth_TA[taken_N][:, columns])
            group.create_dataset("actions", data=np.zeros((len(taken_N), 1), np.float32))
    part.replace(out)


def _words(errors_E2: Array) -> str:
    got = estimate(errors_E2, ratio, int(errors_E2[:, 1].sum()), np.random.default_rng(SEED))
    if not isinstance(got, Metric) or got.ci95 is None:
        return "–"
    return f"{got.value:.2f} ({got.ci95[0]:.2f} to {got.ci95[1]:.2f})"


if __name__ == "__main__":
    main()
