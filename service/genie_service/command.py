"""``genie serve``: the server from the command line. Imports nothing heavy until it runs or shows its options.

The options are generated from the fields of `settings.Settings`, which define name, type, default and help text.
Options that are not given come from the environment, the settings file or the field's default.
"""

from __future__ import annotations

import os
from collections.abc import Callable
from inspect import Parameter, Signature
from pathlib import Path
from types import NoneType, UnionType
from typing import TYPE_CHECKING, Annotated, Any, Literal, Union, get_args, get_origin

import typer
from typer.core import TyperCommand

if TYPE_CHECKING:
    from pydantic.fields import FieldInfo


class _ServeCommand(TyperCommand):
    """Generates its options when needed: listing all commands then needs neither pydantic nor numpy."""

    def get_params(self, ctx: Any) -> Any:
        """Declare one option per setting, then ``--help``."""
        return self._with_options().get_params(ctx)

    def invoke(self, ctx: Any) -> Any:
        """Run `serve` with the given options."""
        return self._with_options().invoke(ctx)

    def _with_options(self) -> Any:
        from genie_service.settings import Settings

        single = typer.Typer(add_completion=False)
        single.command(self.name)(_function(Settings.model_fields))
        return typer.main.get_command(single)


app = typer.Typer(add_completion=False, pretty_exceptions_enable=False)
"""``genie serve`` as an application of one command, which `genie` adds to its own."""


@app.command("serve", cls=_ServeCommand)
def _declare() -> None:
    """Serve models over gRPC: labelling, simulation, health and reflection.

    Every option can also be set in the environment (GENIE_PORT) or in the settings file (port = 50051). The server
    stops on SIGTERM or Ctrl-C, once the calls in progress have finished.
    """


def _function(fields: dict[str, FieldInfo]) -> Callable[..., None]:
    """Return a function that serves, with one keyword parameter per field, for Typer to inspect."""

    def serve(**flags: Any) -> None:
        _serve({name: value for name, value in flags.items() if value is not None})

    parameters = [
        Parameter(
            name, Parameter.KEYWORD_ONLY, default=None, annotation=Annotated[_type(field) | None, _option(name, field)]
        )
        for name, field in fields.items()
    ]
    serve.__signature__ = Signature(parameters)  # type: ignore[attr-defined]
    serve.__annotations__ = {parameter.name: parameter.annotation for parameter in parameters}
    return serve


def _serve(flags: dict[str, Any]) -> None:
    """Serve with the command line's values, by field of `Settings`, until stopped."""
    from genie_core.errors import GenieError
    from genie_service.settings import SettingsError, load_settings

    try:
        settings = load_settings(flags)  # before the slow imports, so that a wrong flag is reported at once
    except SettingsError as error:
        if error.rest is None:
            raise
        from genie_service.startup import startup_problems

        raise GenieError("\n".join([str(error), *startup_problems(error.rest)])) from None
    # Read once, when torch is imported: threads that wait by spinning take cores from those that have work.
    os.environ.setdefault("OMP_WAIT_POLICY", "passive")
    # Written past our log straight to standard error, where whoever connects could fill up a pipe that nobody reads.
    os.environ.setdefault("GRPC_VERBOSITY", "NONE")

    if settings.workers > 1:
        from genie_service.supervisor import supervise

        raise typer.Exit(supervise(settings))
    from genie_service.process import run

    raise typer.Exit(run(settings))


def _option(name: str, field: FieldInfo) -> Any:
    text = field.description or ""
    flag = name.replace("_", "-")
    # Not a default of the option itself: one that is not given must leave the environment and the file their say.
    says_nothing = field.default_factory is not None or field.default is None or field.annotation is bool
    return typer.Option(
        f"--{flag}/--no-{flag}" if field.default is True else f"--{flag}",
        help=f"{text[:1].upper()}{text[1:]}.",
        show_default=False if says_nothing else str(field.default),
    )


def _type(field: FieldInfo) -> Any:
    """Return the command-line type: the field's type if Typer knows it, else text for pydantic to parse."""
    kind = field.annotation
    if get_origin(kind) in (Union, UnionType):
        kinds = [part for part in get_args(kind) if part is not NoneType]
        kind = kinds[0] if len(kinds) == 1 else str
    if get_origin(kind) in (list, tuple):
        return list[str]
    return kind if kind in (bool, int, float, str, Path) or get_origin(kind) is Literal else str


__all__ = ["app"]
