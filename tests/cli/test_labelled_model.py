"""The model that simulates what a labelled file says."""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path
from types import SimpleNamespace
from typing import Any, cast

import pytest

from genie_cli.labelled_model import check_model, model_of
from genie_core.errors import GenieError
from tests.factories.data import make_robomimic
from tests.factories.labelled import label_file


def test_labels_name_their_model_and_other_files_none(tmp_path: Path) -> None:
    data = make_robomimic(tmp_path / "a.hdf5", episodes=1, size=8)
    made = model_of(label_file(data).path)
    assert made is not None
    assert (made.name, made.bundle_id[:4]) == ("fake", "abab")
    assert made.shipped is None  # it cannot be had by its name
    assert replace(made, name="tiny").shipped == "tiny"
    (tmp_path / "a.png").touch()
    assert [model_of(path) for path in (data, tmp_path / "a.png", tmp_path / "a.npy", None)] == [None] * 4


def test_a_model_that_did_not_make_the_labels_is_refused(tmp_path: Path) -> None:
    made = model_of(label_file(make_robomimic(tmp_path / "a.hdf5", episodes=1, size=8)).path)
    assert made is not None
    own, other = (
        cast(Any, SimpleNamespace(name=n, bundle_id=i)) for n, i in (("own", made.bundle_id), ("other", "f" * 64))
    )
    check_model(made, own)
    with pytest.raises(GenieError, match=r"got other \(ffffffffffff\), expected the bundle that labelled .*fake"):
        check_model(made, other)
