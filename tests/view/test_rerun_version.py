"""An old Rerun, or none, is named before any work begins; the oldest allowed writes whole recordings."""

from __future__ import annotations

import os
import subprocess
import sys
import tomllib
from importlib.metadata import PackageNotFoundError
from pathlib import Path

import pytest
from packaging.requirements import Requirement

from genie_cli import app
from genie_core.errors import GenieError
from genie_view import rerun_version
from genie_view.rerun_version import OLDEST, require_rerun
from tests.factories.data import make_robomimic
from tests.factories.labelled import label_file

PROJECT = Path(__file__).resolve().parents[2] / "pyproject.toml"


def installed(monkeypatch: pytest.MonkeyPatch, version: str | None) -> None:
    def look_up(name: str) -> str:
        assert name == "rerun-sdk"
        if version is None:
            raise PackageNotFoundError(name)
        return version

    monkeypatch.setattr(rerun_version, "version", look_up)


@pytest.mark.parametrize("version", [OLDEST, "0.33.0", "0.41.0", "0.42.0-alpha.1+dev", "1.0.0"])
def test_new_enough_is_accepted(monkeypatch: pytest.MonkeyPatch, version: str) -> None:
    installed(monkeypatch, version)
    require_rerun()


@pytest.mark.parametrize(("version", "said"), [("0.26.2", "got rerun-sdk 0.26.2, expected"), (None, "pip install")])
def test_an_old_one_and_none_are_named(monkeypatch: pytest.MonkeyPatch, version: str | None, said: str) -> None:
    installed(monkeypatch, version)
    with pytest.raises(GenieError, match=said):
        require_rerun()


def test_the_extra_asks_for_what_the_check_asks_for() -> None:
    extra = tomllib.loads(PROJECT.read_text(encoding="utf-8"))["project"]["optional-dependencies"]["view"]
    (rerun,) = map(Requirement, extra)
    assert OLDEST in [part.version for part in rerun.specifier if part.operator == ">="]


@pytest.mark.parametrize(
    "words",
    [
        ["view", "absent.hdf5"],
        ["simulate", "--prompt", "absent.png", "--actions", "3", "--out", "x.mp4", "--save", "x.rrd"],
    ],
)
def test_commands_say_so_before_they_read_or_compute(
    monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str], words: list[str]
) -> None:
    installed(monkeypatch, "0.26.2")
    with pytest.raises(SystemExit) as ended:
        app.main(words)
    assert ended.value.code == 2
    assert "got rerun-sdk 0.26.2" in capsys.readouterr().err


def test_a_sheet_needs_no_rerun(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    installed(monkeypatch, None)
    labelled = label_file(make_robomimic(tmp_path / "lift.hdf5"))
    with pytest.raises(SystemExit) as ended:
        app.main(["view", str(labelled.path), "--sheet", str(tmp_path / "x.png")])
    assert ended.value.code == 0
    assert (tmp_path / "x.png").exists()


def test_the_installed_rerun_writes_a_recording_that_it_verifies(tmp_path: Path) -> None:
    pytest.importorskip("rerun", reason="recordings are an extra")
    labelled = label_file(make_robomimic(tmp_path / "lift.hdf5"))
    with pytest.raises(SystemExit) as ended:
        app.main(["view", str(labelled.path), "--save", str(tmp_path / "x.rrd")])
    assert ended.value.code == 0
    verify = [sys.executable, "-m", "rerun", "rrd", "verify", str(tmp_path / "x.rrd")]
    subprocess.run(verify, env={**os.environ, "RERUN_ANALYTICS": "0"}, check=True)
