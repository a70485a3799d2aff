"""What labels tell of transitions of several lengths: as sums from frame to frame, and of the two outer frames alone.

    python scripts/long_transitions.py FOLDER [--bundle motion] [--suite zoo] [--sets cr5 g1] [--seconds 0.3 1 2]

Error over variance of linear probes on held-out episodes, for each set of the suite and each length; differences are
paired by episode. Flow is that of 8 x 8 cells, summed from frame to frame.
"""

from __future__ import annotations

import argparse
import sys
from dataclasses import replace

import numpy as np
import torch

from genie_core.bundles import bundle_folder
from genie_core.data.storage.location import source_path
from genie_core.errors import GenieError, ModelError
from genie_core.evaluation.metrics import Metric, estimate, ratio
from genie_core.evaluation.suite.config import SuiteSet, read_suite
from genie_core.evaluation.suite.rows import SUMMED, EpisodeTransitions, Reading, choose_episodes, read_rows
from genie_core.evaluation.suite.scoring import Way, score
from genie_core.models.bundle import Bundle, load_bundle
from genie_core.models.config import MotionActionConfig
from genie_core.statistics.metrics import Array

SEED = 0
PAIR, SUM, FLOW = "outer frames", "sum", "flow"
HEADINGS = ("set", "transition", "transitions", PAIR, SUM, "flow, summed", "sum less outer", "sum less flow")


def main() -> None:
    """Probe every set at every length."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("folder")
    parser.add_argument("--bundle", default="motion")
    parser.add_argument("--suite", default="zoo")
    parser.add_argument("--sets", nargs="+", default=["cr5", "g1"])
    parser.add_argument("--seconds", type=float, nargs="+", default=[0.3, 1, 2])
    parser.add_argument("--episodes", type=int, default=20)
    arguments = parser.parse_args()
    torch.set_num_threads(1)
    try:
        bundle = load_bundle(bundle_folder(arguments.bundle))
        readings = [Reading.of(of, SEED, labels_alone=True) for of in (without_sums(bundle), bundle)]
        print(f"| {' | '.join(HEADINGS)} |\n| -- | -- {'| -: ' * (len(HEADINGS) - 2)}|")
        for entry in read_suite(arguments.suite).sets:
            for seconds in arguments.seconds if entry.name in arguments.sets else ():
                longer = entry.model_copy(update={"seconds": seconds, "step": None})
                print(row(readings, longer, arguments.folder, arguments.episodes), flush=True)
    except GenieError as error:
        sys.exit(str(error))


def without_sums(bundle: Bundle) -> Bundle:
    """Return the same networks, whose labels are of the two outer frames of a transition."""
    lam = bundle.config.lam
    if not (isinstance(lam, MotionActionConfig) and lam.sums):
        raise ModelError(f"{bundle.name}: its labels are no sums, so that there is nothing to compare")
    config = bundle.config.model_copy(update={"lam": lam.model_copy(update={"sums": False})})
    return replace(bundle, info=replace(bundle.info, config=config))


def row(readings: list[Reading], entry: SuiteSet, folder: str, episodes: int) -> str:
    """A line of the table: one set at one length."""
    chosen = choose_episodes(entry, source_path(folder) / entry.path, SEED, episodes)
    pair, summed = (read_rows(reading, entry, chosen, lambda done, total: None) for reading in readings)
    rows = [both(*of) for of in zip(pair, summed, strict=True)]
    scores = score(rows, 0, SEED, lambda done, total: None, [Way(name, "linear") for name in (PAIR, SUM, FLOW)])
    of = {name: scores.errors_E2(Way(name, "linear").name) for name in (PAIR, SUM, FLOW)}
    less = [of[SUM] - of[rival] * [1, 0] for rival in (PAIR, FLOW)]
    words = [*map(_words, of.values()), *(_words(errors_E2, "+") for errors_E2 in less)]
    return f"| {entry.name} | {entry.seconds:g} s | {sum(map(len, rows))} | {' | '.join(words)} |"


def both(pair: EpisodeTransitions, summed: EpisodeTransitions) -> EpisodeTransitions:
    """Return one episode with the latents of both kinds, and flow."""
    features = {PAIR: pair.features["latent"], SUM: summed.features["latent"], FLOW: summed.features[SUMMED]}
    return replace(summed, features=features)


def _words(errors_E2: Array, sign: str = "") -> str:
    got = estimate(errors_E2, ratio, int(errors_E2[:, 1].sum()), np.random.default_rng(SEED))
    if not isinstance(got, Metric) or got.ci95 is None:
        return "–"
    digits = 3 if sign else 2
    low, high = (f"{bound:{sign}.{digits}f}" for bound in got.ci95)
    return f"{got.value:{sign}.{digits}f} ({low} to {high})"


if __name__ == "__main__":
    main()
