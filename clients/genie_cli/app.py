"""The `genie` command with its subcommands; turns every error into one line and an exit code.

Exit codes: 0 done, 2 an error that the user can fix (``error: ...`` on stderr), 130 Ctrl-C.
"""

from __future__ import annotations

import sys
from collections.abc import Callable, Sequence
from importlib.metadata import EntryPoint, entry_points
from typing import Annotated, NoReturn

import typer

from genie_cli.bench_server import bench_server
from genie_cli.demo import demo
from genie_cli.export import export
from genie_cli.health import health
from genie_cli.inspect import inspect
from genie_cli.label import label
from genie_cli.models import models
from genie_cli.play import play
from genie_cli.simulate import simulate
from genie_cli.status import status
from genie_cli.verify import verify
from genie_cli.view import view
from genie_core import __version__
from genie_core.errors import GenieError
from genie_core.hang import watch_for_hangs
from genie_core.tracing import start_tracing

DISTRIBUTION = "genie-latent"
ENTRY_POINTS = "genie.commands"

_EXTRAS = {
    "grpc_reflection": "service",
    "mujoco": "sim",
    "pydantic_settings": "service",
    "rerun": "view",
    "robosuite": "sim",
    "safetensors": "core",
    "starlette": "play",
    "tensorboard": "core",
    "torch": "core",
    "uvicorn": "play",
    "websockets": "play",
}
"""The extra of the distribution that installs a package."""


def main(arguments: Sequence[str] | None = None) -> NoReturn:
    """Run one command and exit; `arguments` are the words after ``genie``, the process's own if None."""
    words = list(sys.argv[1:] if arguments is None else arguments)
    try:
        start_tracing("genie")
        watch_for_hangs()
        build_app()(args=words, prog_name="genie")
    except GenieError as error:
        _fail("\n".join([str(error), *getattr(error, "__notes__", ())]))
    except ModuleNotFoundError as error:
        _fail(_missing_extra(error, words))
    except OSError as error:
        _fail(str(error))
    sys.exit(0)


def build_app() -> typer.Typer:
    """Return the command with all subcommands: those here, then those of installed packages' entry points."""
    app = typer.Typer(
        name="genie",
        help="Label robot video with latent actions, and simulate what actions would have done.",
        no_args_is_help=True,
        add_completion=False,
        pretty_exceptions_enable=False,
        rich_markup_mode="markdown",  # help texts hold words in [brackets]
    )
    app.callback()(_root)
    for command in (demo, inspect, label, verify, export, view, simulate, play, models, health, status, bench_server):
        app.command()(command)
    for point in sorted(entry_points(group=ENTRY_POINTS), key=lambda point: point.name):
        _add_entry_point(app, point)
    return app


def _root(
    _version: Annotated[
        bool,
        typer.Option(
            "--version", callback=lambda wanted: _print_version(wanted), is_eager=True, help="Print the version."
        ),
    ] = False,
) -> None:
    """Label robot video with latent actions, and simulate what actions would have done."""


def _print_version(wanted: bool) -> None:
    if wanted:
        typer.echo(f"genie {__version__}")
        raise typer.Exit


def _add_entry_point(app: typer.Typer, point: EntryPoint) -> None:
    """Add the command of another package; if that is not installed, one that says so when called.

    The entry point names a function, or a Typer application whose commands are added.
    """
    try:
        command = point.load()
        if isinstance(command, typer.Typer):
            app.add_typer(command)
        else:
            app.command(point.name)(command)
    except ModuleNotFoundError as error:
        anything = {"ignore_unknown_options": True, "allow_extra_args": True}
        app.command(point.name, context_settings=anything, add_help_option=False)(_unavailable(error))


def _unavailable(error: ModuleNotFoundError) -> Callable[[typer.Context], None]:
    def command(_context: typer.Context) -> None:
        """Not installed here; calling it says what to install."""
        raise error

    return command


def _missing_extra(error: ModuleNotFoundError, words: Sequence[str]) -> str:
    """Return what to install for a command; raises `error` again if no extra provides the module."""
    extra = _EXTRAS.get((error.name or "").partition(".")[0])
    if extra is None:
        raise error
    return f"`genie {words[0]}` needs `pip install '{DISTRIBUTION}[{extra}]'` (there is no {error.name} here)"


def _fail(message: str) -> NoReturn:
    print(f"error: {message}", file=sys.stderr)
    sys.exit(2)


__all__ = ["build_app", "main"]
