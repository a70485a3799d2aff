"""The options that every command that reads data shares."""

from __future__ import annotations

from typing import Annotated

import pytest
import typer
from typer.testing import CliRunner

from genie_cli.reading_options import reads_data, said_words
from genie_core.data import ReadOptions
from genie_core.errors import DatasetError


def run(*words: str, short: bool = True) -> ReadOptions:
    """What a command decorated with `reads_data` is given."""
    came: list[ReadOptions] = []

    @reads_data(short=short)
    def command(
        data: str, reading: ReadOptions, out: Annotated[str | None, typer.Option(help="Somewhere.")] = None
    ) -> None:
        """Do something."""
        assert (data, out) == ("x", "y")
        came.append(reading)

    app = typer.Typer()
    app.command()(command)
    result = CliRunner().invoke(app, ["x", "--out", "y", *words])
    if result.exception is not None:
        raise result.exception
    return came[0]


def test_nothing_said_is_nothing_known() -> None:
    assert run() == ReadOptions()


def test_everything_can_be_said() -> None:
    words = "--camera top --fps 12.5 --colour bgr --flip --frames a/*/b --actions a/*/c --channels first --rotate 90"
    assert run(*words.split()) == ReadOptions("top", 12.5, "bgr", True, "a/*/b", "a/*/c", "first", "90")
    assert run("--no-flip").flip is False
    assert run(*said_words(run(*words.split()))) == run(*words.split())
    assert said_words(run("--no-flip", "--fps", "5")) == ["--fps", "5", "--no-flip"]


def test_a_command_with_options_of_the_same_name_has_the_long_names_only() -> None:
    assert run("--frames-path", "a", short=False) == ReadOptions(frames_path="a")
    with pytest.raises(SystemExit):
        run("--frames", "a", short=False)


@pytest.mark.parametrize("words", [("--fps", "0"), ("--fps", "nan")])
def test_what_cannot_be_is_refused(words: tuple[str, ...]) -> None:
    with pytest.raises(DatasetError, match="expected a number of frames a second above 0"):
        run(*words)


def test_colours_are_two() -> None:
    with pytest.raises(SystemExit):
        run("--colour", "grey")
