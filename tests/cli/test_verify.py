"""`genie verify` as users run it: what it says, and its exit codes."""

from __future__ import annotations

import json
from pathlib import Path

import h5py
import pytest

from genie_cli import main
from tests.factories.data import make_robomimic
from tests.factories.labelled import label_file


def verify(capsys: pytest.CaptureFixture[str], *words: str | Path) -> tuple[int, str]:
    with pytest.raises(SystemExit) as ended:
        main(["verify", *map(str, words)])
    said = capsys.readouterr()
    return int(ended.value.code or 0), said.out + said.err


def test_a_good_file_a_changed_one_and_none(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    path = label_file(make_robomimic(tmp_path / "a.hdf5", episodes=2, size=8)).path
    code, said = verify(capsys, path)
    assert code == 0
    assert "good: 2 episodes, 2 checksums agree" in said
    assert "note: bundle fake abababababab is not at hand" in said
    with h5py.File(path, "a") as file:
        file["data/demo_1/latent_actions/code"][0] += 1
    code, said = verify(capsys, path)
    assert code == 1
    assert f"{path}: demo_1: the labels are not what was written: their SHA-256 differs; to mend: label again" in said
    code, said = verify(capsys, path, "--json")
    assert code == 1
    assert json.loads(said)["problems"][0]["where"] == f"{path}: demo_1"
    code, said = verify(capsys, tmp_path / "nothing.hdf5")
    assert code == 2
    assert said.startswith("error: ")
