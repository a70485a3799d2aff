"""A models folder and servers on it, for all tests of the service."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from contextlib import ExitStack
from pathlib import Path
from typing import Any

import pytest

from tests.factories.bundles import make_nano_bundle
from tests.support.service_server import Running, serving


@pytest.fixture(scope="package")
def models(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A models folder: two that work and one whose configuration is broken."""
    folder = tmp_path_factory.mktemp("models")
    make_nano_bundle(folder / "alpha", seed=1)
    make_nano_bundle(folder / "beta", seed=2)
    (make_nano_bundle(folder / "broken") / "config.json").write_text("{}")
    return folder


@pytest.fixture(scope="package")
def genie(models: Path) -> Iterator[Running]:
    """A server with default settings that tests share; those that load, unload or limit start their own."""
    with serving(models, default_model="alpha") as running:
        yield running


@pytest.fixture
def start(models: Path) -> Iterator[Callable[..., Running]]:
    """Start further servers, each with its own settings."""
    with ExitStack() as stack:

        def begin(folder: Path = models, **flags: Any) -> Running:
            if folder == models:
                flags = {"default_model": "alpha", **flags}
            return stack.enter_context(serving(folder, **flags))

        yield begin
