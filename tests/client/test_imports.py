"""The client is light: what it imports, seen from a fresh interpreter."""

from __future__ import annotations

import subprocess
import sys


def modules_after(statement: str) -> set[str]:
    code = f"import sys; {statement}; print(*sys.modules)"
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True)
    return set(done.stdout.split())


def test_the_client_imports_no_torch_and_no_server() -> None:
    loaded = modules_after("import genie_client, genie_client.bulk, genie_cli.demo_run, genie_client.embedded")
    assert not loaded & {"torch", "genie_service", "genie_core.models", "rerun", "pydantic_settings"}


def test_the_command_line_starts_without_what_its_commands_need() -> None:
    loaded = modules_after("from genie_cli.app import build_app; build_app()")
    assert not loaded & {"torch", "rerun", "robosuite", "tensorboard", "pydantic_settings"}


def test_nothing_that_only_unix_has_is_needed_to_import_the_client() -> None:
    blocked = "sys.modules.update(dict.fromkeys(('fcntl', 'grp', 'pwd', 'resource', 'termios')))"
    modules = "genie_client.bulk, genie_client.embedded, genie_core.data.storage.file_cache, genie_cli.app"
    assert "genie_cli.app" in modules_after(f"{blocked}; import genie_client, genie_core.data, {modules}")
