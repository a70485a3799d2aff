"""What labels of another bundle tell more, or less, than those of one, set by set, on the same episodes.

    python scripts/compare_on_suite.py BEFORE AFTER FOLDER OUT [--suite adapt] [--sets NAME ...] [--whole]

AFTER is a bundle, or a pattern with `{set}` in it where every set has a bundle of its own, as after `genie adapt`; of a
set that has none, because it was no better, the one before stays.
FOLDER is where the suite's sets are. Linear probes of labels alone, as of `genie evaluate --suite`; differences are
paired by episode, with 95% intervals over episodes. Sets are kept in OUT (JSON) and not computed again. `--whole` takes
all episodes of each set, those that a bundle was adapted to among them, in place of those that were kept out.
"""

from __future__ import annotations

import argparse
import json
import sys
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import TypedDict

import numpy as np
import torch

from genie_core.data.storage.atomic import write_text
from genie_core.data.storage.location import source_path
from genie_core.errors import GenieError
from genie_core.evaluation.metrics import Metric, estimate, ratio
from genie_core.evaluation.suite.config import SuiteSet, read_suite
from genie_core.evaluation.suite.labels import code_metrics
from genie_core.evaluation.suite.means import mean_over
from genie_core.evaluation.suite.rows import Reading, choose_episodes, read_rows
from genie_core.evaluation.suite.scoring import LEAST_EPISODES, Way, score
from genie_core.models.bundle import is_bundle, load_bundle
from genie_core.statistics.metrics import Array

SEED = 0
BEFORE, AFTER = "before", "after"
FEATURES = ("code", "fine_code", "latent", "feature", "flow_8x8")


class Read(TypedDict):
    """What probes of a bundle's labels found on a set.

    Attributes:
        errors: by part of the robot ("" for all of it) and features: (E, 2), sums of errors and counts of episodes.
        top: share of the most frequent code among transitions in which something moves.

    """

    errors: dict[str, dict[str, list[list[float]]]]
    top: float


def main() -> None:
    """Read and probe what is not there yet, and print the tables."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    for name in ("before", "after", "folder"):
        parser.add_argument(name)
    parser.add_argument("out", type=Path)
    parser.add_argument("--suite", default="adapt")
    parser.add_argument("--sets", nargs="+", help="of the suite; all of them without it")
    parser.add_argument("--episodes", type=int, help="most episodes of a set")
    parser.add_argument("--whole", action="store_true", help="episodes that were adapted to as well")
    arguments = parser.parse_args()
    torch.set_num_threads(1)
    try:
        _run(arguments)
    except GenieError as error:
        sys.exit(str(error))


def _run(arguments: argparse.Namespace) -> None:
    entries = [e for e in read_suite(arguments.suite).sets if arguments.sets is None or e.name in arguments.sets]
    kept = json.loads(arguments.out.read_text()) if arguments.out.exists() else {}
    found: dict[str, dict[str, Read]] = {entry.name: {} for entry in entries}
    for entry in entries:
        whole = entry.model_copy(update={"hold_out": 0.0}) if arguments.whole else entry
        for which in (BEFORE, AFTER):
            bundle = getattr(arguments, which).format(set=entry.name)
            if which == AFTER and "{set}" in arguments.after and not is_bundle(Path(bundle)):
                print(f"{entry.name}: no bundle at {bundle}, so that the one before stays", file=sys.stderr)
                bundle = arguments.before
            key = f"{entry.name} {bundle}"
            if key not in kept:
                kept[key] = errors_of(Path(bundle), whole, arguments.folder, arguments.episodes)
                write_text(arguments.out, json.dumps(kept))
                print(f"{key}: done", file=sys.stderr, flush=True)
            found[entry.name][which] = kept[key]
    print(table(found))


def errors_of(bundle: Path, entry: SuiteSet, folder: str, episodes: int | None) -> Read:
    """Errors of probes of a bundle's labels on a set, and the share of its top code where something moves."""
    reading = Reading.of(load_bundle(bundle), SEED, labels_alone=True)
    chosen = choose_episodes(entry, source_path(folder) / entry.path, SEED, episodes)
    rows = read_rows(reading, entry, chosen, lambda done, total: None)
    if entry.target is None or len(rows) < LEAST_EPISODES:
        raise GenieError(f"{entry.name}: got {len(rows)} episodes, expected a target and {LEAST_EPISODES} or more")
    config = reading.labeller.bundle.config
    codes = config.lam.quantizer.codes
    ways = [Way(name, "linear") for name in FEATURES if name == "code" or name in rows[0].features]
    scores = score(rows, codes, SEED, lambda done, total: None, ways)
    width = scores.truth[0].shape[1]
    columns = list(range(width)) if entry.target.columns is None else list(entry.target.columns)
    parts = {"": None, **{name: [columns.index(c) for c in of] for name, of in entry.target.groups.items()}}
    errors = {
        part: {way.features: scores.errors_E2(way.name, places).tolist() for way in ways}
        for part, places in parts.items()
    }
    top = code_metrics(rows, codes, config.width, np.random.default_rng(SEED))["top_code_share_moving"]
    return {"errors": errors, "top": top.value if isinstance(top, Metric) else float("nan")}


def table(found: Mapping[str, Mapping[str, Read]]) -> str:
    """Markdown: each set and part, before and after with the difference, and the mean over sets."""
    head = "| set | labels | before | after | difference | flow 8x8 |\n| -- | -- | -: | -: | -- | -: |"
    lines = [head]
    for name, of in found.items():
        for part in of[BEFORE]["errors"]:
            before, after = (of[which]["errors"][part] for which in (BEFORE, AFTER))
            episodes = len(next(iter(before.values())))
            title = f"{name}, {part}" if part else f"{name} ({episodes} episodes)"
            for features in before:
                if features in after and features != "flow_8x8":
                    pair = (np.array(before[features]), np.array(after[features]))
                    flow = f"{ratio(np.array(before['flow_8x8']).sum(0)):.2f}"
                    lines.append(f"| {title} | {features.replace('_', ' ')} | {_row(*pair)} | {flow} |")
        lines.append(f"| {name} | top code, moving | {of[BEFORE]['top']:.0%} | {of[AFTER]['top']:.0%} | | |")
    for features in FEATURES[:-1]:
        each = [
            {which: np.array(of[which]["errors"][""][features]) for which in (BEFORE, AFTER)}
            | {"flow_8x8": np.array(of[BEFORE]["errors"][""]["flow_8x8"])}
            for of in found.values()
        ]
        mean = mean_over(each, AFTER, [BEFORE, "flow_8x8"], SEED)
        words = " | ".join(
            _words(mean[key], sign) for key, sign in ((BEFORE, ""), (AFTER, ""), ("after_minus_before", "+"))
        )
        lines.append(
            f"| mean of {len(each)} sets | {features.replace('_', ' ')} | {words} | {_words(mean['flow_8x8'])} |"
        )
        lines.append(f"| | against flow 8x8 | | {_words(mean['after_minus_flow_8x8'], '+')} | | |")
    return "\n".join(lines)


def _row(before_E2: Array, after_E2: Array) -> str:
    rng = np.random.default_rng(SEED)
    count = int(before_E2[:, 1].sum())
    of = [(before_E2, ""), (after_E2, ""), (after_E2 - before_E2 * [1, 0], "+")]
    return " | ".join(_words(estimate(errors_E2, ratio, count, rng), sign) for errors_E2, sign in of)


def _words(got: object, sign: str = "") -> str:
    if not isinstance(got, Metric):
        return "–"
    low, high = got.ci95 or (got.value, got.value)
    digits = 3 if sign else 2
    return f"{got.value:{sign}.{digits}f} ({low:{sign}.{digits}f} to {high:{sign}.{digits}f})"


__all__: Sequence[str] = ["errors_of", "table"]

if __name__ == "__main__":
    main()
