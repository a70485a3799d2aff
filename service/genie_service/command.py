"""``genie serve``: the server from the command line. Imports nothing heavy until it runs.

There is a flag for every field of `settings.Settings`, of the same name. What is not given comes from the environment,
the settings file or the field's default, so the defaults written here are for the help text only.
"""

from __future__ import annotations

import os
from pathlib import Path
from typing import Annotated, Any

import typer


def _flag(text: str, default: str) -> Any:
    return typer.Option(help=text, show_default=default)


def serve(
    models: Annotated[Path | None, _flag("Folder of bundle folders, or one bundle folder.", "the shipped ones")] = None,
    default_model: Annotated[str | None, _flag("Model used where a request names none.", "the only one")] = None,
    preload: Annotated[str | None, _flag("Models to load first: all, default or none.", "default")] = None,
    host: Annotated[str | None, _flag("Address to listen on.", "127.0.0.1")] = None,
    port: Annotated[int | None, _flag("Port to listen on, 0 for a free one.", "50051")] = None,
    device: Annotated[str | None, _flag("Torch device: cpu, cuda, cuda:1.", "cpu")] = None,
    precision: Annotated[str | None, _flag("Compute in float32 or bfloat16 (other labels).", "float32")] = None,
    threads: Annotated[int | None, _flag("Threads to compute in, 0 for torch's choice.", "0")] = None,
    lanes: Annotated[int | None, _flag("Batches computed at once, 0: one a thread (CPU), one (GPU).", "0")] = None,
    max_batch: Annotated[int | None, _flag("Most pieces of work in a batch, 0: 4 (CPU), 32 (GPU).", "0")] = None,
    batch_wait_ms: Annotated[float | None, _flag("Time a batch waits to fill up, ms.", "0.0")] = None,
    profile: Annotated[Path | None, _flag("Folder for a torch profiler trace of the first batches.", "none")] = None,
    config: Annotated[Path | None, _flag("Settings file (TOML, table `serve`).", "genie.toml if there")] = None,
    drain_seconds: Annotated[float | None, _flag("Time for calls under way after SIGTERM.", "30.0")] = None,
    idle_seconds: Annotated[float | None, _flag("A stream silent for this long is ended.", "300.0")] = None,
    max_message_mib: Annotated[int | None, _flag("Largest message, MiB.", "64")] = None,
    max_decoded_mib: Annotated[int | None, _flag("Most pixels a message decodes to, MiB.", "256")] = None,
    max_frames: Annotated[int | None, _flag("Most frames in one message.", "4096")] = None,
    min_frame_side: Annotated[int | None, _flag("Smallest frame height and width, pixels.", "8")] = None,
    max_frame_side: Annotated[int | None, _flag("Largest frame height and width, pixels.", "4096")] = None,
    max_actions: Annotated[int | None, _flag("Most actions of one rollout or branch.", "1024")] = None,
    max_branches: Annotated[int | None, _flag("Most branches of one request.", "64")] = None,
    max_calls: Annotated[int | None, _flag("Most calls under way at once.", "128")] = None,
    max_play_streams: Annotated[int | None, _flag("Most Play streams at once.", "16")] = None,
    queue_limit: Annotated[int | None, _flag("Pieces of work queued past which new calls are refused.", "64")] = None,
    log_level: Annotated[str | None, _flag("Least level logged: debug, info, warning, error.", "info")] = None,
    exit_with_stdin: Annotated[
        bool | None, typer.Option("--exit-with-stdin", help="Stop when standard input closes.", show_default=False)
    ] = None,
) -> None:
    """Serve models over gRPC: labelling, simulation, health and reflection.

    Every option can also be set in the environment (GENIE_PORT) or in the settings file (port = 50051). The server
    stops on SIGTERM or Ctrl-C, once the calls under way have finished.
    """
    flags: dict[str, Any] = {name: value for name, value in locals().items() if value is not None}

    from genie_service.settings import load_settings

    settings = load_settings(flags)  # before the slow imports, so that a wrong flag is told at once
    # Read once, when torch is imported: threads that wait by spinning take the cores from those that have work.
    os.environ.setdefault("OMP_WAIT_POLICY", "passive")

    from genie_service.process import run

    raise typer.Exit(run(settings))


__all__ = ["serve"]
