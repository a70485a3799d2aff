"""What the end-to-end tests share: a real server process with an untrained model, and the command line run for real."""

from __future__ import annotations

import os
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path

import pytest

from factories import make_nano_bundle
from genie_client.embedded import embedded_server


class Genie:
    """Runs `genie` as a user would: in a process of its own, in `folder`."""

    def __init__(self, folder: Path) -> None:
        self.folder = folder

    def start(self, *words: str | Path) -> subprocess.Popen[str]:
        return subprocess.Popen(
            [sys.executable, "-c", "from genie_client.cli import main; main()", *map(str, words)],
            cwd=self.folder,
            env={**os.environ, "OMP_NUM_THREADS": "1", "COLUMNS": "120"},
            stdout=subprocess.PIPE,
            stderr=subprocess.PIPE,
            text=True,
        )

    def run(self, *words: str | Path) -> str:
        """What a command that must succeed says on standard output."""
        process = self.start(*words)
        out, err = process.communicate(timeout=120)
        assert process.returncode == 0, err
        return out

    def fail(self, *words: str | Path) -> str:
        """What a command that must be refused says on standard error: one error, no traceback."""
        process = self.start(*words)
        _, err = process.communicate(timeout=120)
        assert process.returncode == 2, err
        assert err.startswith("error: ")
        assert "Traceback" not in err
        return err


@pytest.fixture
def genie(tmp_path: Path) -> Genie:
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
