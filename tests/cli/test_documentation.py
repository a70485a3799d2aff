"""Every command and option is documented, and what the documents tell people to type can be typed."""

from __future__ import annotations

import re
import shlex
from collections.abc import Iterator
from dataclasses import dataclass
from functools import cache
from pathlib import Path
from typing import Any

import commands
import contract
import pytest
import typer

from genie_cli.app import build_app

ROOT = Path(__file__).resolve().parents[2]
PAGES = sorted([*ROOT.glob("*.md"), *ROOT.glob("docs/*.md"), *ROOT.glob("genie_core/bundles/*/card.md")])
OLD_OPTIONS = {"CHANGELOG.md"}
"""Pages that also tell of options as they once were called."""

_BLOCK = re.compile(r"^(?: {4}|\t)(?:\$ )?(?:[A-Z_]+=\S+ )*(genie .*)$|^(?:[A-Z_]+=\S+ )*(genie .*)$", re.MULTILINE)
_INLINE = re.compile(r"`(?:[A-Z_]+=\S+ )*(genie [^`]+)`")
_ENDS = re.compile(r"\s#|\s2?>|&&|;|\s\|\s|\s&$")


WRONG = ("genie lable x.hdf5", "genie label x.hdf5 --ouput y", "genie label x.hdf5 --jobs many", "genie simulate")


@dataclass(frozen=True)
class Line:
    """A command line that a page shows; whether it stands there to be typed as it is."""

    page: str
    text: str
    is_whole: bool

    @property
    def words(self) -> list[str]:
        return shlex.split(_ENDS.split(self.text)[0])[1:]


def lines() -> Iterator[Line]:
    for page in PAGES:
        text = page.read_text(encoding="utf-8").replace("\\\n", " ")
        for found in _BLOCK.finditer(text):
            yield Line(page.name, found[1] or found[2], is_whole=True)
        for found in _INLINE.finditer(text):
            yield Line(page.name, " ".join(found[1].split()), is_whole=False)


LINES = list(lines())


@cache
def known() -> dict[str, commands.Command]:
    return {command.name: command for command in commands.commands()}


def test_the_pages_show_command_lines() -> None:
    assert len([line for line in LINES if line.is_whole]) >= 20
    assert len(LINES) >= 60


def test_every_command_and_every_parameter_says_what_it_is_for() -> None:
    for command in known().values():
        assert command.text.strip(), f"genie {command.name}: no help text"
        for parameter in command.parameters:
            assert parameter.text.strip(), f"genie {command.name} {parameter.names[0]}: no help text"


def test_the_reference_has_every_command_and_every_option() -> None:
    page = commands.page()
    for command in known().values():
        section = page.split(f"## genie {command.name}\n")[1].split("\n## ")[0]
        for parameter in command.parameters:
            for name in parameter.names:
                assert f"`{name}`".replace("|", "\\|") in section


def test_the_reference_of_the_contract_has_every_method_message_and_field() -> None:
    page = contract.page()
    files = [file for file in contract.descriptors().file if file.package == contract.PACKAGE]
    assert sum(len(file.service) for file in files) >= 3
    for file in files:
        for service in file.service:
            for method in service.method:
                assert f"#### {service.name}.{method.name}\n" in page
        for message in file.message_type:
            section = page.split(f"### {message.name}\n")[1].split("\n### ")[0]
            assert len(section.strip().splitlines()[0]) > 5, f"{message.name}: no comment"
            for field in message.field:
                row = rf"`{field.name}` = {field.number} \| .+ \| \S.+ \|"
                assert re.search(row, section), f"{message.name}.{field.name}: no comment"


def described(line: Line) -> str:
    return f"{line.page}: {line.text[:60]}"


@pytest.mark.parametrize("line", LINES, ids=described)
def test_a_command_line_names_what_there_is(line: Line) -> None:
    """Its command, and each of its options; what stands in brackets, or after a bar, is an option too."""
    words = [part for word in line.words for part in word.strip("[]").split("|") if part]
    if not words or words[0] in {"COMMAND", "..."} or words[0].startswith("--"):
        return
    command = known().get(words[0])
    if command is None and line.page in OLD_OPTIONS:
        return
    assert command is not None, f"there is no `genie {words[0]}`"
    options = {name for parameter in command.parameters for name in parameter.names} | {"--help"}
    for word in words[1:]:
        name = word.strip("[](),.").split("=")[0]
        if re.fullmatch(r"--?[a-z][a-z0-9-]*", name) and line.page not in OLD_OPTIONS:
            assert name in options, f"genie {words[0]} has no option {name}"


_PLACEHOLDER = re.compile(r"[\[\]|]|\.\.\.|\b[A-Z]\b")
WHOLE = [line for line in LINES if line.is_whole and line.words and not _PLACEHOLDER.search(line.text)]


@pytest.mark.parametrize("line", WHOLE, ids=described)
def test_a_command_line_to_be_typed_parses(line: Line) -> None:
    name, *arguments = line.words
    group: Any = typer.main.get_command(build_app())
    if name.startswith("--"):
        return
    command = group.commands[name]
    context = command.make_context(name, arguments)
    assert context.command is command


@pytest.mark.parametrize("text", WRONG)
def test_a_wrong_command_line_would_be_found(text: str) -> None:
    line = Line("x.md", text, is_whole=True)
    with pytest.raises(Exception, match=r"lable|ouput|step|integer|prompt|actions"):  # noqa: PT012 - one of the two finds it
        test_a_command_line_names_what_there_is(line)
        test_a_command_line_to_be_typed_parses(line)
