"""The reference page of the command line, made from the commands themselves."""

from __future__ import annotations

import re
from collections.abc import Iterator
from dataclasses import dataclass
from enum import Enum
from pathlib import Path
from types import NoneType, UnionType
from typing import Any, Literal, Union, get_args, get_origin

import typer

from genie_cli.app import build_app


@dataclass(frozen=True)
class Parameter:
    """An option, or an argument, of a command.

    Attributes:
        names: ``--out`` and what else it is called; of an argument its name in capitals.
        value: what kind of value it takes, "" of a switch.
        text: what it is for.
        default: what is taken where it is not given, "" where that is nothing.
        is_option: whether it is an option.
        is_required: whether it must be given.

    """

    names: tuple[str, ...]
    value: str
    text: str
    default: str
    is_option: bool
    is_required: bool


@dataclass(frozen=True)
class Command:
    """One command: its name after ``genie``, its help text and its parameters."""

    name: str
    text: str
    parameters: tuple[Parameter, ...]


def commands() -> Iterator[Command]:
    """Yield every command, in the order in which ``genie --help`` lists them."""
    group: Any = typer.main.get_command(build_app())
    context = typer.Context(group, info_name="genie")
    for name, command in group.commands.items():
        inner = typer.Context(command, info_name=name, parent=context)
        parameters = tuple(_parameter(one) for one in command.get_params(inner) if one.name != "help")
        yield Command(name, command.help or "", parameters)


def _parameter(found: Any) -> Parameter:
    is_option = found.param_type_name == "option"
    names = (*found.opts, *found.secondary_opts) if is_option else ((found.metavar or found.name).upper(),)
    takes_value = is_option and not getattr(found, "is_flag", False)
    return Parameter(
        names=names,
        value=_value(found) if takes_value else "",
        text=found.help or "",
        default=_default(found),
        is_option=is_option,
        is_required=bool(found.required),
    )


def _value(found: Any) -> str:
    """Return what stands for an option's value: what the command says, else its choices, else its type."""
    if found.metavar:
        return str(found.metavar)
    kind = found.type_descriptor.annotation
    while get_origin(kind) in (list, tuple, Union, UnionType):
        kind = next(part for part in get_args(kind) if part is not NoneType)
    if get_origin(kind) is Literal:
        return "|".join(map(str, get_args(kind)))
    if isinstance(kind, type) and issubclass(kind, Enum):
        return "|".join(str(choice.value) for choice in kind)
    return {str: "TEXT", Path: "PATH", int: "INTEGER", float: "NUMBER"}.get(kind, "VALUE")


def _default(found: Any) -> str:
    if isinstance(found.show_default, str):
        return found.show_default
    if found.default is None or found.default is False or found.default == () or found.default == []:
        return ""
    return str(getattr(found.default, "value", found.default))


def page() -> str:
    """Return the page as Markdown."""
    parts = [
        "# Command line\n\nMade from the commands: what `genie COMMAND --help` says. Exit codes: 0 done, 1 what was "
        "asked about is not so (`genie inspect`), 2 something that you can put right, 130 stopped with Ctrl-C.\n"
    ]
    parts += [_section(command) for command in commands()]
    return "\n".join(parts)


def _section(command: Command) -> str:
    arguments = [one.names[0] if one.is_required else f"[{one.names[0]}]" for one in _positional(command)]
    usage = " ".join(["genie", command.name, *arguments, "[OPTIONS]"])
    lines = [f"## genie {command.name}\n", f"    {usage}\n", f"{_prose(command.text)}\n"]
    if command.parameters:
        lines += ["| | | |", "| --- | --- | --- |"]
        lines += [_row(one) for one in (*_positional(command), *(p for p in command.parameters if p.is_option))]
    return "\n".join([*lines, ""])


def _positional(command: Command) -> list[Parameter]:
    return [one for one in command.parameters if not one.is_option]


def _row(one: Parameter) -> str:
    names = ", ".join(f"`{name}`" for name in one.names)
    value = f"`{one.value}`" if one.value else ""
    default = f" Default: {one.default}." if one.default else ""
    required = " Required." if one.is_required and one.is_option else ""
    cells = (names, value, f"{_prose(one.text)}{required}{default}")
    return "| " + " | ".join(cell.replace("|", "\\|") for cell in cells) + " |"


def _prose(text: str) -> str:
    """Return a help text as paragraphs; ``[default: X]`` becomes a sentence."""
    flowing = re.sub(r"(?<!\n)\n(?!\n)", " ", text.strip())
    return re.sub(r"\s*\[default: (.*?)\]$", r" Default: \1.", flowing).replace("[", "\\[")


__all__ = ["Command", "Parameter", "commands", "page"]
