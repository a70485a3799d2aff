"""``genie simulate``: rolls out a sequence of latent actions from a picture or a frame of a video."""

from __future__ import annotations

import json
import time
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, TypeAlias

import typer

from genie_cli.frame_size import FrameSizeOption, read_frame_size
from genie_cli.server import ModelOption, ModelsOption, ServerOption, connected
from genie_cli.shared_options import OverwriteOption

if TYPE_CHECKING:
    from collections.abc import Callable, Sequence

    from genie_client.arguments import Simulating
    from genie_client.client import Client
    from genie_client.prompt import Moment
    from genie_client.records import SimulatedFrame
    from genie_client.replay import Replay
    from genie_client.simulation_messages import RobotActions
    from genie_core.data import Frames

    Told: TypeAlias = list[int] | Replay | RobotActions

_MOST_PIXELS, _MOST_BYTES = 640 * 480, 256 << 20
"""Of a frame that has the size of its prompt, and of all frames of a simulation, which are held until it is written."""


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
    robot_actions: Annotated[
        Path | None,
        typer.Option(
            metavar="NPY|CSV|DATA",
            help="Instead of codes: the robot's own actions, a row a simulated frame in a NumPy file or table, or "
            "those of an episode of a dataset, from --frame on; --alignment encodes them.",
        ),
    ] = None,
    alignment: Annotated[
        str | None,
        typer.Option(help="Alignment that encodes --robot-actions. [default: the model's only one that does]"),
    ] = None,
    length: Annotated[
        int | None, typer.Option(min=1, help="Maximum number of frames to simulate of --latents or --robot-actions.")
    ] = None,
    confidence: Annotated[
        bool, typer.Option("--confidence", help="Say to which frame the simulation can be trusted, and write it down.")
    ] = False,
    server: ServerOption = None,
    models: ModelsOption = None,
    model: ModelOption = None,
    episode: Annotated[str | None, typer.Option(help="Episode of a dataset to start in. [default: the first]")] = None,
    frame: Annotated[int, typer.Option(min=0, help="Frame of a video or episode to start from.")] = 0,
    camera: Annotated[str | None, typer.Option(help="Camera of a dataset, if there are several.")] = None,
    seed: Annotated[int, typer.Option(min=0, help="Seed of the sampling: the same seed gives the same video.")] = 0,
    temperature: Annotated[float | None, typer.Option(help="Sampling temperature. [default: the model's]")] = None,
    steps: Annotated[
        int | None,
        typer.Option(min=0, help="MaskGIT steps per frame; 0: only move the last one. [default: the model's]"),
    ] = None,
    size: FrameSizeOption = "auto",
    save: Annotated[Path | None, typer.Option(metavar="X.rrd", help="Also write a Rerun recording.")] = None,
    every: Annotated[
        bool,
        typer.Option("--counterfactuals", help="Into --save: also simulate each code held for as long."),
    ] = False,
    view: Annotated[bool, typer.Option("--view", help="Show frames in the Rerun viewer as they are drawn.")] = False,
    overwrite: OverwriteOption = False,
) -> None:
    """Simulate what a sequence of latent actions, or of the robot's own, would have done.

    Of a labelled file, by the model that labelled it.
    """
    import numpy as np

    from genie_cli.labelled_model import check_model, model_of
    from genie_cli.simulate_view import counterfactuals, record, true_future, watched
    from genie_client.prompt import Moment, read_prompt
    from genie_client.replay import Replay
    from genie_client.simulation_messages import RobotActions, simulated_size
    from genie_core.data import resize_frames, write_video
    from genie_core.errors import RequestError
    from genie_view.rerun_version import require_rerun

    moment = Moment(episode, frame, camera)
    frame_size = read_frame_size(size)
    done: list[int] | Replay | None = None
    if robot_actions is None:
        if alignment is not None:
            raise RequestError("alignment", "is for --robot-actions: leave it out")
        done = _what_is_done(actions, latents, moment, length)
    elif actions is not None or latents is not None:
        raise RequestError("actions", "expected one of --actions, --latents and --robot-actions")
    codes = done if isinstance(done, list) else None if done is None else done.codes
    notes = _notes_path(out)
    if not overwrite:
        _refuse_existing(out, save, notes if confidence or robot_actions is not None else None)
    if save is not None:
        if codes is None:
            raise RequestError("save", "a recording shows codes, which neither robot actions nor a NumPy file has")
        require_rerun()
    elif every:
        raise RequestError("counterfactuals", "got them without --save X.rrd, which is where they go")
    if view:
        require_rerun()
    made = model_of(prompt if latents is None else latents)
    if model is not None and latents is None:
        made = None  # codes of one's own, for a model of one's choice
    if model is None and server is None and models is None and made is not None:
        model = made.shipped
    with connected(server, models, model) as client:
        info = client.model(model)
        if made is not None:
            check_model(made, info)
        told: Told | None = done
        name = None
        if robot_actions is not None:
            from genie_client.robot_actions import encoding_alignment, read_robot_actions

            encoder = encoding_alignment(info, alignment)
            name = encoder.name
            told = RobotActions(read_robot_actions(robot_actions, encoder, moment, length))
        assert told is not None
        prompt_PHWC = read_prompt(prompt, info, moment)
        frames = len(told) * (1 + (info.num_codes if every else 0))
        drawn = simulated_size(info, prompt_PHWC, frame_size, steps, min(_MOST_PIXELS, _MOST_BYTES // (3 * frames)))
        prompt_PHWC = resize_frames(prompt_PHWC, *drawn)
        options: Simulating = {
            "model": info.name,
            "seed": seed,
            "temperature": temperature,
            "maskgit_steps": steps,
            "alignment": name,
            "confidence": confidence,
            "frame_size": drawn,
        }
        began = time.monotonic()
        with watched(info, prompt_PHWC, codes, wanted=view) as show:
            simulated = _simulate(client, prompt_PHWC, told, options, show)
        seconds = time.monotonic() - began
        others = counterfactuals(client, info, prompt_PHWC, len(simulated), options) if every else []
    frames_THWC = np.stack([step.frame_HWC for step in simulated])
    write_video(out, np.concatenate([prompt_PHWC, frames_THWC]), info.fps)
    count = len(frames_THWC)
    typer.echo(f"{count} frames in {seconds:.1f} s ({count / seconds:.1f} frames/s), wrote {out}")
    if confidence or name is not None:
        _tell(simulated, () if name is None else encoder.action_names, notes, confidence)
    if save is not None and codes is not None:
        step = told.step if isinstance(told, Replay) else None
        future = true_future(prompt, info, moment, count, step, drawn)
        trust = [step.confidence for step in simulated]
        record(save, info, prompt_PHWC, frames_THWC, codes, others, future, trust)


def _what_is_done(actions: str | None, latents: Path | None, moment: Moment, length: int | None) -> list[int] | Replay:
    """Return codes or latents, whichever is given."""
    from genie_client.replay import read_replay
    from genie_core.errors import RequestError

    if (actions is None) == (latents is None):
        raise RequestError("actions", "expected one of --actions, --latents and --robot-actions")
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
    client: Client, prompt_PHWC: Frames, told: Told, options: Simulating, show: Callable[[Frames], None]
) -> list[SimulatedFrame]:
    """Return the simulated frames, showing progress on stderr; `show` is called with each."""
    import warnings

    from rich.console import Console
    from rich.progress import track

    from genie_client.records import OutOfRangeWarning
    from genie_client.simulation_messages import RobotActions

    if isinstance(told, list):
        stream = client.rollout_steps(prompt_PHWC, told, **options)
    elif isinstance(told, RobotActions):
        stream = client.rollout_steps(prompt_PHWC, robot_actions=told.values_TA, **options)
    else:
        stream = client.rollout_steps(prompt_PHWC, latents=told.latent_TD, **options)
    console = Console(stderr=True)
    with warnings.catch_warnings():
        warnings.simplefilter("ignore", OutOfRangeWarning)  # `_tell` says it of every frame
        shown = track(
            stream, "simulating", total=len(told), console=console, transient=True, disable=not console.is_terminal
        )
        simulated = []
        for step in shown:
            show(step.frame_HWC)
            simulated.append(step)
        return simulated


def _notes_path(out: Path) -> Path:
    return out.with_name(out.name + ".json")


def _tell(simulated: Sequence[SimulatedFrame], names: Sequence[str], notes: Path, confidence: bool) -> None:
    """Say which actions leave the alignment's range and how far frames can be trusted; write it beside the video."""
    from genie_client.records import trusted_frames
    from genie_core.data.storage.atomic import write_text

    beyond = [(i, [names[a] for a in step.out_of_range]) for i, step in enumerate(simulated) if step.out_of_range]
    frames = [
        {"frame": i + 1, "confidence": step.confidence, "out_of_range": [names[a] for a in step.out_of_range]}
        for i, step in enumerate(simulated)
    ]
    content: dict[str, object] = {"frames": frames}
    if beyond:
        first, which = beyond[0]
        typer.echo(
            f"warning: {len(beyond)} of {len(simulated)} robot actions lie beyond the alignment's range, the first "
            f"({', '.join(which)}) before frame {first + 1}: they were taken as they are, "
            "and what comes of them is a guess",
            err=True,
        )
    if confidence:
        content["trusted_frames"] = trusted = trusted_frames([step.confidence for step in simulated])
        typer.echo(f"trust the first {trusted} of {len(simulated)} frames")
    write_text(notes, json.dumps(content, indent=2) + "\n")
    typer.echo(f"wrote {notes}")


__all__ = ["simulate"]
