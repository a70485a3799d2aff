"""Words of errors."""

from __future__ import annotations

import json

import pytest

from genie_core.errors import reason_of


class EndOfFile(Exception):  # noqa: N818 - as some libraries name theirs
    """A library's own."""


@pytest.mark.parametrize(
    ("error", "said"),
    [
        (ValueError("of  two\nlines"), "of two lines"),
        (KeyError("shape"), "'shape' is missing"),
        (EndOfFile(), "end of file"),
        (MemoryError(), "memory"),
        (json.JSONDecodeError("Expecting value", "", 0), "Expecting value: line 1 column 1 (char 0)"),
    ],
)
def test_a_library_s_error_is_told_in_words(error: BaseException, said: str) -> None:
    assert reason_of(error) == said
