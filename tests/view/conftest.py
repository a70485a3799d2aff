from __future__ import annotations

from collections.abc import Iterator

import pytest


@pytest.fixture
def strict() -> Iterator[None]:
    """Rerun raises where it would otherwise warn and drop data."""
    rr = pytest.importorskip("rerun", reason="looking at recordings is an extra")
    rr.set_strict_mode(True)
    yield
    rr.set_strict_mode(False)
