"""What `genie check` said lies on the recordings of a labelled file, and never on those of another."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import pytest

pytest.importorskip("rerun", reason="looking at recordings is an extra")

from genie_core.data import LabelledFile
from genie_core.errors import DatasetError
from genie_view.checked import read_check
from genie_view.labels_view import LabelledViews, labels_recording
from genie_view.recording import write_recordings
from tests.factories.data import make_robomimic
from tests.factories.labelled import label_file
from tests.support.recordings import column, verify

pytestmark = pytest.mark.usefixtures("strict")


@pytest.fixture
def labelled(tmp_path: Path) -> LabelledFile:
    return label_file(make_robomimic(tmp_path / "lift.hdf5", episodes=2, frames=12))


def report(labelled: LabelledFile, **other: Any) -> str:
    rows = [{"episode": name, "frames": 12, "delete": name == "demo_1", "cuts": None} for name in labelled.episodes]
    decided = [{"name": "moving_transitions", "value": 12.0}, {"name": "cut_share", "value": 0.02}]
    said = {"bundle_id": labelled.model.bundle_id, "verdict": "fit with care", "decided_by": decided, "episodes": rows}
    return json.dumps(said | {"metrics": {}} | other)


def test_the_verdict_and_an_episodes_row_are_its_recordings_properties(labelled: LabelledFile, tmp_path: Path) -> None:
    (tmp_path / "check.json").write_text(report(labelled))
    checked = read_check(tmp_path / "check.json", labelled)
    views = LabelledViews(labelled, checked=checked).of(labelled.episodes)
    path = tmp_path / "x.rrd"
    write_recordings(path, [labels_recording(view) for view in views])
    verify(path)
    doomed = {}
    for index in range(2):  # in no particular order

        def of(name: str, entity: str = "/__properties/check", index: int = index) -> object:
            (value,) = column(path, entity, name, index=index).values()
            return value[0]

        assert of("verdict") == "fit with care"
        assert of("decided_by") == "moving_transitions 12, cut_share 0.02"
        assert "| check: verdict | fit with care |" in str(of("TextDocument:text", "/provenance"))
        doomed[of("RecordingInfo:name", "/__properties")] = of("delete")
    assert doomed == {"demo_0": False, "demo_1": True}
    assert "cuts" not in views[0].checked


@pytest.mark.parametrize(
    ("text", "said"),
    [
        ("", "got no report of a check"),
        ("[]", "got no report of a check"),
        ("{}", "bundle_id"),
        ("[" * 100_000, "got no report of a check"),
    ],
)
def test_what_is_no_report_is_refused(labelled: LabelledFile, tmp_path: Path, text: str, said: str) -> None:
    (tmp_path / "check.json").write_text(text)
    with pytest.raises(DatasetError, match=said):
        read_check(tmp_path / "check.json", labelled)


def test_the_check_of_other_labels_is_refused(labelled: LabelledFile, tmp_path: Path) -> None:
    for other in ({"bundle_id": "cd" * 32}, {"episodes": [{"episode": "demo_0", "frames": 12}]}):
        (tmp_path / "check.json").write_text(report(labelled, **other))
        with pytest.raises(DatasetError, match="got the check of other labels"):
            read_check(tmp_path / "check.json", labelled)
    with pytest.raises(DatasetError, match="cannot be read"):
        read_check(tmp_path / "absent.json", labelled)
