"""Arguments and options that several commands have, each declared once.

What describes data is in `reading_options`, the transition length in `step_option`.
"""

from __future__ import annotations

from typing import Annotated, TypeAlias

import typer

DataArgument: TypeAlias = Annotated[
    str, typer.Argument(help="Robot video: a file, folder or URL, in any format that Genie reads.", metavar="DATA")
]
DeviceOption: TypeAlias = Annotated[str, typer.Option("--device", help="Torch device: cpu, cuda or cuda:N.")]
ThreadsOption: TypeAlias = Annotated[int, typer.Option("--threads", min=0, help="CPU threads; 0: torch's default.")]
SeedOption: TypeAlias = Annotated[int, typer.Option("--seed", min=0, help="Seed of all random draws.")]
EpisodesOption: TypeAlias = Annotated[
    int, typer.Option("--episodes", min=1, help="Maximum number of episodes to look at, drawn by the seed.")
]
JsonOption: TypeAlias = Annotated[bool, typer.Option("--json", help="Print one JSON object.")]
OverwriteOption: TypeAlias = Annotated[bool, typer.Option("--overwrite", help="Replace existing outputs.")]

__all__ = [
    "DataArgument",
    "DeviceOption",
    "EpisodesOption",
    "JsonOption",
    "OverwriteOption",
    "SeedOption",
    "ThreadsOption",
]
