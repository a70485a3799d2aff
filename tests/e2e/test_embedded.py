"""The embedded server: it lives exactly as long as the one who started it, and says what it lacks."""

from __future__ import annotations

import importlib.util
import os
import signal
import subprocess
import sys
from pathlib import Path

import pytest

from genie_client import Client, ServerUnavailableError
from genie_client.embedded import embedded_server
from genie_core.errors import GenieError
from tests.support.waiting import wait_until

OWNER = """
import sys, time
from pathlib import Path
from genie_client.embedded import embedded_server
with embedded_server(Path(sys.argv[1])) as address:
    print(address, flush=True)
    time.sleep(600)
"""


def is_served(address: str) -> bool:
    with Client(address) as client:
        try:
            client.models()
        except ServerUnavailableError:
            return False
    return True


def test_it_ends_with_the_block_and_imports_nothing_of_the_folder_it_starts_in(
    models_folder: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    (tmp_path / "genie_core").mkdir()  # as in a checkout, of which the installed packages are not
    (tmp_path / "genie_core" / "__init__.py").write_text("raise SystemExit('of the folder')\n")
    monkeypatch.chdir(tmp_path)
    with embedded_server(models_folder) as address:
        assert is_served(address)
    assert not is_served(address)


def test_it_ends_with_its_owner_however_that_dies(models_folder: Path) -> None:
    command = [sys.executable, "-c", OWNER, str(models_folder)]
    with subprocess.Popen(
        command, env={**os.environ, "OMP_NUM_THREADS": "1"}, stdout=subprocess.PIPE, text=True
    ) as owner:
        assert owner.stdout is not None
        address = owner.stdout.readline().strip()
        assert is_served(address)
        owner.send_signal(signal.SIGKILL)
    wait_until(lambda: not is_served(address), "the server ends")


def test_a_server_that_is_too_slow_is_given_up(models_folder: Path) -> None:
    with (
        pytest.raises(GenieError, match="not ready within"),
        embedded_server(models_folder, start_within_s=0.01),
    ):
        pass


def test_it_says_what_must_be_installed(monkeypatch: pytest.MonkeyPatch) -> None:
    find = importlib.util.find_spec
    monkeypatch.setattr(importlib.util, "find_spec", lambda name: None if name == "torch" else find(name))
    with pytest.raises(GenieError, match=r"genie-latent\[service\].*missing here: torch"), embedded_server():
        pass
