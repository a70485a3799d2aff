"""``genie simulate``: rolls out a sequence of latent actions from a picture or a frame of a video."""

from __future__ import annotations

import time
from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import typer

from genie_cli.server import ModelOption, ModelsOption, ServerOption, connected

if TYPE_CHECKING:
    from collections.abc import Sequence

    from genie_client.arguments import Simulating
    from genie_client.client import Client
    from genie_client.prompt import Moment
    from genie_client.records import ModelInfo
    from genie_client.replay import Replay
    from genie_core.data import Frames


def simulate(
    prompt: Annotated[Path, typer.Option(metavar="IMG|VIDEO|HDF5", help="Start: a PNG, JPEG, video or HDF5.")],
    out: Annotated[Path, typer.Option(metavar="X.mp4", help="Video to write: the prompt, then the simulated frames.")],
    actions: Annotated[
        str | None, typer.Option(metavar="3,3,3,1", help="Latent action codes, one per simulated frame.")
    ] = None,
    latents: Annotated[
        Path | None,
        typer.Option(
            metavar="NPY|LABELLED",
            help="Instead of codes: latents, (frames, size) in a NumPy file, or those that a labelled file has for the "
            "episode, from --frame on: a replay.",
        ),
    ] = None,
    length: Annotated[int | None, typer.Option(min=1, help="Most frames to simulate of --latents.")] = None,
    server: ServerOption = None,
    models: ModelsOption = None,
    model: ModelOption = None,
    episode: Annotated[str | None, typer.Option(help="Episode of a dataset to start in. [default: the first]")] = None,
    frame: Annotated[int, typer.Option(min=0, help="Frame of a video or episode to start from.")] = 0,
    camera: Annotated[str | None, typer.Option(help="Camera of a dataset, if there are several.")] = None,
    seed: Annotated[int, typer.Option(min=0, help="Seed of the sampling: the same seed gives the same video.")] = 0,
    temperature: Annotated[float | None, typer.Option(help="Sampling temperature. [default: the model's]")] = None,
    steps: Annotated[int | None, typer.Option(min=1, help="MaskGIT steps per frame. [default: 25, or all]")] = None,
    save: Annotated[Path | None, typer.Option(metavar="X.rrd", help="Also write a Rerun recording.")] = None,
    overwrite: Annotated[bool, typer.Option("--overwrite", help="Replace existing outputs.")] = False,
) -> None:
    """Simulate what a sequence of latent actions would have done."""
    import numpy as np

    from genie_client.prompt import Moment, read_prompt
    from genie_core.data import resize_frames, write_video
    from genie_core.errors import RequestError
    from genie_view.rerun_version import require_rerun

    moment = Moment(episode, frame, camera)
    told = _what_is_done(actions, latents, moment, length)
    codes = told if isinstance(told, list) else told.codes
    if not overwrite:
        _refuse_existing(out, save)
    if save is not None:
        if codes is None:
            raise RequestError("save", "a recording shows codes, which a NumPy file of latents has not")
        require_rerun()
    with connected(server, models, model) as client:
        info = client.model(model)
        prompt_PHWC = resize_frames(read_prompt(prompt, info, moment), *info.frame_size)
        began = time.monotonic()
        frames_THWC = _simulate(client, info, prompt_PHWC, told, seed, temperature, steps)
        seconds = time.monotonic() - began
    write_video(out, np.concatenate([prompt_PHWC, frames_THWC]), info.fps)
    count = len(frames_THWC)
    typer.echo(f"{count} frames in {seconds:.1f} s ({count / seconds:.1f} frames/s), wrote {out}")
    if save is not None and codes is not None:
        _record(save, info, prompt_PHWC, frames_THWC, codes)


def _what_is_done(actions: str | None, latents: Path | None, moment: Moment, length: int | None) -> list[int] | Replay:
    """Codes or latents, whichever is given."""
    from genie_client.replay import read_replay
    from genie_core.errors import RequestError

    if (actions is None) == (latents is None):
        raise RequestError("actions", "expected either --actions or --latents")
    if latents is not None:
        return read_replay(latents, moment, length)
    return _parse_actions(actions or "")


def _parse_actions(text: str) -> list[int]:
    from genie_core.errors import RequestError

    try:
        return [int(word) for word in text.split(",")]
    except ValueError:
        raise RequestError("actions", f"got {text!r}, expected latent action codes, e.g. 3,3,3,1") from None


def _refuse_existing(*paths: Path | None) -> None:
    from genie_core.errors import GenieError

    for path in paths:
        if path is not None and path.exists():
            raise GenieError(f"{path} exists; replace it with --overwrite, or choose another name")


def _simulate(
    client: Client,
    info: ModelInfo,
    prompt_PHWC: Frames,
    told: list[int] | Replay,
    seed: int,
    temperature: float | None,
    steps: int | None,
) -> Frames:
    """Return the simulated frames, showing progress on stderr."""
    import numpy as np
    from rich.console import Console
    from rich.progress import track

    options: Simulating = {
        "model": info.name,
        "seed": seed,
        "temperature": temperature,
        "maskgit_steps": steps,
    }
    if isinstance(told, list):
        stream, count = client.rollout_stream(prompt_PHWC, told, **options), len(told)
    else:
        stream = client.rollout_stream(prompt_PHWC, latents=told.latent_TD, **options)
        count = len(told.latent_TD)
    console = Console(stderr=True)
    shown = track(stream, "simulating", total=count, console=console, transient=True, disable=not console.is_terminal)
    return np.stack(list(shown))


def _record(path: Path, info: ModelInfo, prompt_PHWC: Frames, frames_THWC: Frames, codes: Sequence[int]) -> None:
    from genie_view.recording import Clock, write_recordings
    from genie_view.views import SimulationView, Track, simulation_recording

    track = Track("simulated", frames_THWC, codes)
    view = SimulationView(prompt_PHWC, [track], info.palette, Clock(info.fps))
    write_recordings(path, [simulation_recording(path.stem, view)])
    typer.echo(f"wrote {path}; look at it with: rerun {path}")


__all__ = ["simulate"]
