"""``genie serve``: its flags are the settings, and asking for help is quick."""

from __future__ import annotations

import subprocess
import sys
from pathlib import Path
from typing import Any, Literal

import pytest
import typer
from pydantic import Field
from typer.testing import CliRunner

from genie_service import process
from genie_service.command import app
from genie_service.settings import Settings


@pytest.fixture
def served(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> list[Settings]:
    """Settings that the command would have served with."""
    monkeypatch.chdir(tmp_path)
    taken: list[Settings] = []

    def run(settings: Settings) -> int:
        taken.append(settings)
        return 0

    monkeypatch.setattr(process, "run", run)
    return taken


def options() -> dict[str, Any]:
    command = typer.main.get_command(app)
    parameters = command.get_params(command.make_context("serve", []))
    return {parameter.name: parameter for parameter in parameters if parameter.opts != ["--help"]}


def test_every_setting_is_an_option_with_its_description_and_nothing_else_is() -> None:
    found = options()
    assert set(found) == set(Settings.model_fields)
    for name, field in Settings.model_fields.items():
        assert field.description, f"{name}: a setting without a description has no help text"
        assert found[name].opts == [f"--{name.replace('_', '-')}"]
        assert found[name].help.lower() == f"{field.description.lower()}."
    assert found["port"].show_default == "50051"
    assert found["threads"].show_default == "0"


def test_options_reach_the_settings_in_their_types_and_only_those_given(
    served: list[Settings], monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("GENIE_MAX_CALLS", "3")
    words = ["--port", "4", "--models", "m", "--precision", "bfloat16", "--idle-seconds", "0.5", "--exit-with-stdin"]
    result = CliRunner().invoke(app, words)
    assert result.exit_code == 0, result.output
    (settings,) = served
    assert (settings.port, settings.models, settings.precision) == (4, Path("m"), "bfloat16")
    assert (settings.idle_seconds, settings.exit_with_stdin, settings.max_calls) == (0.5, True, 3)
    assert settings.model_fields_set >= {"port", "models"}
    assert "queue_limit" not in settings.model_fields_set


@pytest.mark.parametrize(
    ("words", "said"),
    [(["--port", "many"], "--port"), (["--precision", "half"], "bfloat16"), (["--prot", "1"], "--prot")],
)
def test_a_wrong_word_is_refused_before_anything_starts(served: list[Settings], words: list[str], said: str) -> None:
    result = CliRunner().invoke(app, words)
    assert result.exit_code == 2
    assert said in result.output
    assert not served


def test_a_field_of_any_kind_becomes_an_option(served: list[Settings], monkeypatch: pytest.MonkeyPatch) -> None:
    """Settings that come later: several words, a switch that is on, a type that only pydantic reads."""

    class More(Settings):
        names: tuple[str, ...] = Field((), description="names")
        checks: bool = Field(True, description="whether to check")
        level: int | Literal["auto"] = Field("auto", description="level")

    monkeypatch.setattr("genie_service.settings.Settings", More)
    result = CliRunner().invoke(app, ["--names", "a", "--names", "b", "--no-checks", "--level", "7"])
    assert result.exit_code == 0, result.output
    (settings,) = served
    assert isinstance(settings, More)
    assert (settings.names, settings.checks, settings.level) == (("a", "b"), False, 7)


def test_nothing_heavy_is_imported_until_it_runs() -> None:
    program = "import sys, genie_service.command; print(*sys.modules)"
    loaded = subprocess.run([sys.executable, "-c", program], capture_output=True, text=True, check=True).stdout.split()
    assert not {"torch", "grpc", "numpy", "pydantic", "h5py", "av"} & set(loaded)


def test_threads_reach_the_thread_that_computes() -> None:
    program = """
import asyncio, torch
from genie_service.engine import Engine
from genie_service.fair_queue import Operation
torch.set_num_threads(3)
async def main():
    engine = Engine(threads=torch.get_num_threads())
    print(await engine.job().run(Operation("threads", lambda _: [torch.get_num_threads()]), None))
    engine.close()
asyncio.run(main())
"""
    result = subprocess.run([sys.executable, "-c", program], capture_output=True, text=True, check=True)
    assert result.stdout.strip() == "3"
