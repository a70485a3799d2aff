"""`genie check` as users run it: what it says, what it writes, and its exit codes."""

from __future__ import annotations

import json
from pathlib import Path

import pyarrow.parquet as pq
import pytest

from genie_cli import main
from tests.factories.bundles import make_motion_bundle
from tests.factories.data import make_robomimic
from tests.factories.labelled import label_file
from tests.factories.squares import make_squares


def check(capsys: pytest.CaptureFixture[str], *words: str | Path) -> tuple[int, str]:
    with pytest.raises(SystemExit) as ended:
        main(["check", *map(str, words)])
    said = capsys.readouterr()
    return int(ended.value.code or 0), said.out + said.err


def test_a_file_of_one_code(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    path = label_file(make_robomimic(tmp_path / "a.hdf5", episodes=2, size=8, frames=30), code=3).path
    rows = tmp_path / "rows.parquet"
    code, said = check(capsys, path, "--parquet", rows)
    assert code == 1
    assert "verdict: do not use" in said
    assert "not measured: pictures: the bundle is not at hand: give it with --bundle" in said
    assert "next: " in said
    assert "top_code_share_moving 1 (care at 0.6 and above, do not use at 0.8 and above): " in said
    table = pq.read_table(rows).to_pylist()
    assert [(row["episode"], row["top_code"], row["labelled"]) for row in table] == [
        ("demo_0", 3, 29),
        ("demo_1", 3, 29),
    ]
    code, said = check(capsys, path, "--json", "--labels-only")
    assert code == 1
    assert json.loads(said)["verdict"] == "do not use"
    code, said = check(capsys, path, "--parquet", rows)
    assert code == 2
    assert "exists: choose another name for --parquet" in said


def test_data_without_labels_are_labelled_first_with_the_bundle_that_is_named(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    data, bundle = make_squares(tmp_path / "a.hdf5", episodes=2), make_motion_bundle(tmp_path / "mine")
    code, said = check(capsys, bundle, data, "--step", "1", "--json")
    found = json.loads(said)
    assert code == (1 if found["verdict"] == "do not use" else 0)
    assert (found["path"], found["bundle"], len(found["episodes"])) == (str(data), "motion", 2)
    assert found["metrics"]["relabelled_same"]["value"] == 1


@pytest.mark.parametrize(
    ("words", "said"),
    [
        (["--labels-only"], "DATA is to be labelled: leave it out"),
        (["--mask"], "label the data first"),
        (["--camera", "nose"], "nose"),
    ],
)
def test_what_does_not_go_with_data_is_refused(
    tmp_path: Path, capsys: pytest.CaptureFixture[str], words: list[str], said: str
) -> None:
    code, output = check(capsys, make_robomimic(tmp_path / "a.hdf5", episodes=1, size=8), *words)
    assert code == 2
    assert said in output


def test_options_of_data_are_refused_for_a_file_with_labels(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    path = label_file(make_robomimic(tmp_path / "a.hdf5", episodes=1, size=8, frames=30), code=3).path
    code, said = check(capsys, path, "--fps", "10")
    assert code == 2
    assert "carries labels already" in said
