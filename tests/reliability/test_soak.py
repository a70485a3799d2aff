"""A minute of the soak; ``make soak`` is ten, and holds the server to its times too, which a shared machine decides.

It wants the cores for itself, so it runs after all other tests.
"""

from __future__ import annotations

import json
from pathlib import Path

import pytest

from genie_core.bundles import models_dir
from tests.reliability.soak.run import Soak, run


@pytest.mark.soak
@pytest.mark.timeout(600)
def test_a_minute_of_overload_breaks_no_promise(tmp_path: Path) -> None:
    report = run(Soak(models_dir(), "tiny", seconds=60, times=4, deadline_s=20, memory_mib=2048))
    figures = report.figures()
    assert not report.broken_whatever_the_machine(), json.dumps(figures, indent=2)
    assert figures["offered_times"] > 2
    assert figures["refused"] > 0
    assert figures["disturbed"]["idle connections"] >= 500
