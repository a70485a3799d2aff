"""The clock of the day, which may be set back or ahead at any time, is read only where a date is what is wanted."""

from __future__ import annotations

import ast
from collections.abc import Iterator
from pathlib import Path

ROOT = Path(__file__).parents[2]

CLOCK = {("time", name) for name in ("time", "time_ns", "localtime", "gmtime", "ctime", "asctime", "strftime")} | {
    (kind, name) for kind in ("datetime", "date") for name in ("now", "utcnow", "today", "fromtimestamp")
}

DATES = {
    "genie_core/alignment/fit.py": "when an alignment was made",
    "genie_core/data/export/plan.py": "when an export was made",
    "genie_core/data/export/in_place.py": "when labels were added",
    "genie_core/data/labelled/machines.py": "when an output was finished",
    "genie_core/data/labelled/shards.py": "when shards were begun",
    "genie_core/data/labelled/writer.py": "when labels were made",
    "genie_core/data/storage/lock.py": "since when somebody holds a lock, for its error message",
    "genie_core/data/storage/file_cache.py": "which copies of remote files were used last: a wrong date costs a copy",
    "genie_core/evaluation/trust.py": "when a card of trust was made",
    "genie_core/tracing.py": "the times of spans, as OpenTelemetry has them",
    "service/genie_service/metrics.py": "when the server started, for Prometheus",
    "service/genie_service/tokens.py": "the day on which a token ends",
}
"""Where a date is recorded or shown, or is what was asked for; nothing waits for it."""


def readings(path: Path) -> Iterator[int]:
    """The lines on which a module reads the clock of the day."""
    text = path.read_text()
    if not any(f"{of}.{name}" in text for of, name in CLOCK) and "from time import" not in text:
        return
    for node in ast.walk(ast.parse(text)):
        if isinstance(node, ast.Attribute):
            of = node.value.attr if isinstance(node.value, ast.Attribute) else getattr(node.value, "id", "")
            if (of, node.attr) in CLOCK:
                yield node.lineno
        if isinstance(node, ast.ImportFrom) and node.module == "time":
            yield from (node.lineno for name in node.names if ("time", name.name) in CLOCK)


def test_nothing_waits_for_the_clock_of_the_day() -> None:
    modules = [path for part in ("genie_core", "service", "clients") for path in (ROOT / part).rglob("*.py")]
    assert len(modules) > 300
    found = {path.relative_to(ROOT).as_posix(): lines for path in modules if (lines := list(readings(path)))}
    assert found.keys() == DATES.keys(), f"{found}: what waits needs time.monotonic; what wants a date belongs in DATES"


def test_what_reads_the_clock_is_found(tmp_path: Path) -> None:
    module = tmp_path / "m.py"
    module.write_text(
        "import time, datetime\nfrom time import time_ns\na = time.time()\nb = datetime.datetime.now()\n"
        "c = datetime.date.today()\nd = time.monotonic()\ne = time.perf_counter()\n"
    )
    assert sorted(readings(module)) == [2, 3, 4, 5]
