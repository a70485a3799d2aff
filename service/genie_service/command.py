"""``genie serve``: the server from the command line. Imports nothing heavy until it runs.

A flag is here for every field of `settings.Settings`, of which it carries the name; what is not given comes from the
environment, the settings file or the default.
"""

from __future__ import annotations

from pathlib import Path
from typing import Annotated, Any

import typer


def serve(
    models: Annotated[
        Path | None, typer.Option(help="Folder of bundle folders, or one bundle folder. [default: the shipped models]")
    ] = None,
    default_model: Annotated[
        str | None, typer.Option(help="Model used where a request names none. [default: the only one]")
    ] = None,
    preload: Annotated[str | None, typer.Option(help="Models to load first: all, default or none.")] = None,
    host: Annotated[str | None, typer.Option(help="Address to listen on. [default: 127.0.0.1]")] = None,
    port: Annotated[int | None, typer.Option(help="Port to listen on, 0 for a free one. [default: 50051]")] = None,
    device: Annotated[str | None, typer.Option(help="Torch device: cpu, cuda, cuda:1. [default: cpu]")] = None,
    threads: Annotated[int | None, typer.Option(help="Threads to compute with, 0 for torch's default.")] = None,
    config: Annotated[
        Path | None, typer.Option(help="Settings file (TOML, table [serve]). [default: genie.toml]")
    ] = None,
    drain_seconds: Annotated[float | None, typer.Option(help="Time for calls under way after SIGTERM.")] = None,
    idle_seconds: Annotated[float | None, typer.Option(help="A stream silent for this long is ended.")] = None,
    max_message_mib: Annotated[int | None, typer.Option(help="Largest message, MiB.")] = None,
    max_decoded_mib: Annotated[int | None, typer.Option(help="Most pixels a message decodes to, MiB.")] = None,
    max_frames: Annotated[int | None, typer.Option(help="Most frames in one message.")] = None,
    min_frame_side: Annotated[int | None, typer.Option(help="Smallest frame height and width, pixels.")] = None,
    max_frame_side: Annotated[int | None, typer.Option(help="Largest frame height and width, pixels.")] = None,
    max_actions: Annotated[int | None, typer.Option(help="Most actions of one rollout or branch.")] = None,
    max_branches: Annotated[int | None, typer.Option(help="Most branches of one request.")] = None,
    max_calls: Annotated[int | None, typer.Option(help="Most calls under way at once.")] = None,
    max_play_sessions: Annotated[int | None, typer.Option(help="Most Play sessions at once.")] = None,
    queue_limit: Annotated[
        int | None, typer.Option(help="Waiting pieces of work past which new calls are refused.")
    ] = None,
    log_level: Annotated[str | None, typer.Option(help="debug, info, warning or error.")] = None,
    exit_with_stdin: Annotated[
        bool | None, typer.Option("--exit-with-stdin", help="Stop when standard input closes.", show_default=False)
    ] = None,
) -> None:
    """Serve models over gRPC: labelling, simulation, health and reflection.

    Every option can also be set in the environment (GENIE_PORT) or in the settings file (port = 50051). Stops on
    SIGTERM or Ctrl-C, once the calls under way have finished.
    """
    flags: dict[str, Any] = {name: value for name, value in locals().items() if value is not None}

    from genie_service.settings import load_settings

    settings = load_settings(flags)  # before the slow imports, so that a wrong flag is told at once

    from genie_service.process import run

    raise typer.Exit(run(settings))


__all__ = ["serve"]
