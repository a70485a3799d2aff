"""``genie serve``: its flags are the settings, and asking for help is quick."""

from __future__ import annotations

import subprocess
import sys
from inspect import signature
from typing import get_type_hints

from genie_service.command import serve
from genie_service.settings import Settings


def test_every_setting_is_a_flag_and_nothing_else_is() -> None:
    assert set(signature(serve).parameters) == set(Settings.model_fields)


def test_the_help_names_the_true_defaults() -> None:
    in_words = {"profile", "models", "default_model", "config", "exit_with_stdin"}
    hints = get_type_hints(serve, include_extras=True)
    shown = {name: hints[name].__metadata__[0].show_default for name in Settings.model_fields}
    true = {name: str(field.default) for name, field in Settings.model_fields.items()}
    assert {n: d for n, d in shown.items() if n not in in_words} == {n: d for n, d in true.items() if n not in in_words}


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
    engine = Engine(1, threads=torch.get_num_threads())
    print(await engine.job().run(Operation("threads", lambda _: [torch.get_num_threads()]), None))
    engine.close()
asyncio.run(main())
"""
    result = subprocess.run([sys.executable, "-c", program], capture_output=True, text=True, check=True)
    assert result.stdout.strip() == "3"
