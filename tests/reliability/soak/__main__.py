"""``python -m tests.reliability.soak``: one soak of a server of its own, and what came of it."""

from __future__ import annotations

import argparse
import json
import sys
from pathlib import Path

from genie_core.bundles import models_dir
from tests.reliability.soak.run import Soak, run


def main() -> int:
    """Exit code 1 if what is promised was not kept."""
    words = argparse.ArgumentParser(prog="python -m tests.reliability.soak", description=__doc__)
    words.add_argument("--seconds", type=float, default=600, help="of the whole soak")
    words.add_argument("--times", type=float, default=4, help="how many times what the server can do is offered")
    words.add_argument("--deadline", type=float, default=20, help="of each offered call, seconds")
    words.add_argument("--memory-mib", type=int, default=2048, help="the server's bound")
    words.add_argument("--models", type=Path, default=models_dir(), help="what it hosts; default: what ships")
    words.add_argument("--model", default="tiny", help="its default model")
    words.add_argument("--json", type=Path, help="file for the figures")
    options = words.parse_args()
    soak = Soak(options.models, options.model, options.seconds, options.times, options.deadline, options.memory_mib)
    report = run(soak)
    print(report.text())
    if options.json is not None:
        options.json.write_text(json.dumps(report.figures(), indent=2) + "\n")
    for broken in report.broken_promises():
        print(f"NOT KEPT: {broken}")
    return 1 if report.broken_promises() else 0


if __name__ == "__main__":
    sys.exit(main())
