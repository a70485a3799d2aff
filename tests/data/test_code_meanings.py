"""The palette beside a bundle: it comes back as it was, and one of another bundle is never taken for it."""

from __future__ import annotations

from pathlib import Path

import pytest

from genie_core.data.code_meanings import FILE, MOST_BYTES, read_meanings, write_meanings
from genie_core.errors import ModelError
from tests.factories.meanings import BUNDLE, make_meanings


def test_it_comes_back_as_it_was(tmp_path: Path) -> None:
    assert read_meanings(tmp_path, BUNDLE, 2) is None
    assert write_meanings(tmp_path, make_meanings()) == tmp_path / FILE
    found = read_meanings(tmp_path, BUNDLE, 2)
    assert found == make_meanings()
    assert found is not None
    assert found.words == ["+x 2.4 cm"] * 2


@pytest.mark.parametrize(
    ("text", "said"),
    [
        (make_meanings(bundle_id="cd" * 32).model_dump_json(), "of bundle cdcdcdcdcdcd .nano., expected that of abab"),
        (make_meanings(codes=3).model_dump_json(), "got 3 codes, expected 2"),
        ("{}", "got no palette: bundle_id"),
        ("[" * 100_000, "got no palette"),
        (make_meanings().model_dump_json().replace('"picture":"', '"picture":"!', 1), "got no palette"),
        (" " * (MOST_BYTES + 1), "got more than 8 MiB"),
    ],
)
def test_what_is_no_palette_of_the_bundle_is_refused(tmp_path: Path, text: str, said: str) -> None:
    (tmp_path / FILE).write_text(text)
    with pytest.raises(ModelError, match=said):
        read_meanings(tmp_path, BUNDLE, 2)
