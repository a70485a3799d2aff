"""What the end-to-end tests of the client and the command line share: one real server with an untrained model."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path

import pytest

from genie_client.embedded import embedded_server
from tests.factories.bundles import make_nano_bundle
from tests.support.processes import Genie, GenieHere


@pytest.fixture
def genie(tmp_path: Path, capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch) -> GenieHere:
    """The command line in this process, run in the test's folder."""
    monkeypatch.chdir(tmp_path)
    monkeypatch.setenv("COLUMNS", "120")
    monkeypatch.setenv("OMP_NUM_THREADS", "1")
    return GenieHere(tmp_path, capsys)


@pytest.fixture
def genie_process(tmp_path: Path) -> Genie:
    """The command line in a process of its own, as users run it."""
    return Genie(tmp_path)


@pytest.fixture(scope="session")
def models_folder(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A models folder with one untrained bundle, `nano`: 32 x 32 frames, 8 codes, 10 frames a second."""
    folder = tmp_path_factory.mktemp("e2e-models")
    make_nano_bundle(folder / "nano")
    return folder


@pytest.fixture(scope="session")
def server(models_folder: Path) -> Iterator[str]:
    """Address of a server that lives as long as the tests of this process."""
    with pytest.MonkeyPatch.context() as patch:
        patch.setenv("OMP_NUM_THREADS", "1")
        with embedded_server(models_folder) as address:
            yield address
