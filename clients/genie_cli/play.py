"""``genie play``: a page on which one plays the robot, one latent action at a time."""

from __future__ import annotations

import asyncio
from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import typer

from genie_cli.frame_size import FrameSizeOption, read_frame_size
from genie_cli.server import ModelOption, ModelsOption, ServerOption, server_address

if TYPE_CHECKING:
    from genie_cli.labelled_model import LabelledBy
    from genie_client.arguments import Simulating
    from genie_play.starts import Starts


def play(
    prompt: Annotated[
        Path | None,
        typer.Option(metavar="IMG|DATA", help="Start: a PNG or JPEG, or data whose frames can be chosen on the page."),
    ] = None,
    server: ServerOption = None,
    models: ModelsOption = None,
    model: ModelOption = None,
    episode: Annotated[str | None, typer.Option(help="Episode to start in. [default: the first]")] = None,
    frame: Annotated[int, typer.Option(min=0, help="Frame of the episode to start from.")] = 0,
    camera: Annotated[str | None, typer.Option(help="Camera of a dataset, if there are several.")] = None,
    labels: Annotated[
        Path | None,
        typer.Option(
            metavar="LABELLED",
            help="Labels with the robot's positions, for what each code means in words. [default: the palette's words]",
        ),
    ] = None,
    alignment: Annotated[
        Path | None,
        typer.Option(metavar="FILE", help="Alignment of the model, for what each code makes the robot do in words."),
    ] = None,
    words: Annotated[
        list[str] | None,
        typer.Option(
            metavar="NAME=PLUS/MINUS",
            help="With --alignment: words for a component of its actions, such as gripper=open/close; may be repeated.",
        ),
    ] = None,
    seed: Annotated[int, typer.Option(min=0, help="Seed of the sampling: the same seed gives the same frames.")] = 0,
    temperature: Annotated[float | None, typer.Option(help="Sampling temperature. [default: the model's]")] = None,
    steps: Annotated[
        int | None,
        typer.Option(min=0, help="MaskGIT steps per frame; 0: only move the last one. [default: the model's]"),
    ] = None,
    size: FrameSizeOption = "auto",
    host: Annotated[str, typer.Option(help="Address to serve the page on.")] = "127.0.0.1",
    port: Annotated[int, typer.Option(min=0, max=65535, help="Port of the page; 0 takes any that is free.")] = 8474,
    insecure: Annotated[
        bool, typer.Option("--insecure", help="Serve the page on other addresses than loopback, unencrypted.")
    ] = False,
    browse: Annotated[bool, typer.Option("--browse/--no-browse", help="Open the page in a browser.")] = True,
) -> None:
    """Play the robot on a local web page: press a latent action's key and watch where it leads."""
    from genie_cli.labelled_model import model_of
    from genie_client.arguments import Simulating
    from genie_client.prompt import Moment
    from genie_core.errors import GenieError
    from genie_play.guard import check_bind
    from genie_play.starts import Starts

    check_bind(host, insecure)
    starts = Starts.open(prompt, Moment(episode, frame, camera))
    made: LabelledBy | None
    if alignment is not None and labels is not None:
        raise GenieError("--alignment: got --labels beside it, expected one of them: both say what codes mean")
    if alignment is not None:
        said, made = _aligned_words(alignment, words or [])
    elif words:
        raise GenieError("--words: expected --alignment beside it, whose components it names")
    else:
        said, made = _words(labels), model_of(labels or prompt)
    if model is None and server is None and models is None and made is not None:
        model = made.shipped
    options = Simulating(
        seed=seed, temperature=temperature, maskgit_steps=steps, model=model, frame_size=read_frame_size(size)
    )
    with server_address(server, models, model) as (address, ours):
        asyncio.run(_serve(address, ours, starts, options, said, made if said else None, host, port, browse))


def _words(labels: Path | None) -> list[str]:
    """Return what each code means by the robot's positions in a labelled file. Raises GenieError if it has none."""
    if labels is None:
        return []
    from genie_core.data import open_labelled
    from genie_core.errors import GenieError
    from genie_view.meaning import END_EFFECTOR, code_motions

    motions = code_motions(open_labelled(labels))
    if motions is None:
        raise GenieError(f"--labels: got {labels}, expected labels beside the robot's positions, {END_EFFECTOR}")
    return [str(motion) for motion in motions]


def _aligned_words(path: Path, said: list[str]) -> tuple[list[str], LabelledBy]:
    """Return what each code means by an alignment's actions, and its bundle. Raises GenieError."""
    from genie_cli.labelled_model import LabelledBy
    from genie_core.alignment import read_alignment
    from genie_core.alignment.words import code_words, read_ways

    alignment = read_alignment(path)
    names = alignment.info.actions
    words = code_words(names, alignment.dictionary, read_ways(said, names))
    return words, LabelledBy(path, alignment.info.bundle_name, alignment.info.bundle_id)


async def _serve(
    address: str,
    ours: bool,
    starts: Starts,
    options: Simulating,
    words: list[str],
    said_by: LabelledBy | None,
    host: str,
    port: int,
    browse: bool,
) -> None:
    import webbrowser

    from genie_cli.labelled_model import check_model
    from genie_client.aio import AsyncClient
    from genie_core.errors import GenieError
    from genie_play.guard import new_secret
    from genie_play.page import Page
    from genie_play.serving import listen, serve

    connection = AsyncClient(address, tls=False, token="") if ours else AsyncClient(address)
    async with connection as client:
        info = await client.model(options.get("model"))
        if not info.context_frames:
            raise GenieError(f"--model: got {info.name}, which only labels, expected one that simulates")
        if said_by is not None:
            check_model(said_by, info)
        if info.code_meanings_problem:
            typer.echo(f"note: codes have no names: {info.code_meanings_problem}", err=True)
        words = words or [code.name for code in info.code_meanings]
        if words and len(words) != info.num_codes:
            raise GenieError(f"--labels: got {len(words)} codes, expected the {info.num_codes} of {info.name}")
        listener = listen(host, port)
        secret = new_secret()
        shown = f"[{host}]" if ":" in host else host
        url = f"http://{shown}:{listener.getsockname()[1]}/{secret}/"

        def ready() -> None:
            typer.echo(f"play {info.name} at {url} (Ctrl-C ends)")
            if browse:
                webbrowser.open(url)

        await serve(Page(client, info, starts, options, words, secret, host).app, listener, ready)


__all__ = ["play"]
