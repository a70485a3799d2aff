"""Settings: where they come from, in which order, and what is said when they are wrong."""

from __future__ import annotations

from pathlib import Path

import pytest
from pydantic import ValidationError

from genie_core.bundles import models_dir
from genie_core.errors import GenieError
from genie_service.settings import load_settings


@pytest.fixture(autouse=True)
def _empty_folder(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(tmp_path)


def test_defaults_are_safe() -> None:
    settings = load_settings({})
    assert settings.host == "127.0.0.1"
    assert settings.models == models_dir()
    assert settings.frame_limits.max_side == 4096


def test_a_flag_beats_the_environment_and_that_the_file(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    (tmp_path / "genie.toml").write_text("[serve]\nport = 1\ndevice = 'file'\nmax_calls = 3\n[other]\nx = 1\n")
    monkeypatch.setenv("GENIE_PORT", "2")
    monkeypatch.setenv("GENIE_DEVICE", "environment")
    settings = load_settings({"port": 4})
    assert (settings.port, settings.device, settings.max_calls) == (4, "environment", 3)


def test_the_file_may_be_named_by_flag_or_environment(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    (tmp_path / "a.toml").write_text("[serve]\nport = 1\n")
    (tmp_path / "b.toml").write_text("[serve]\nport = 2\n")
    monkeypatch.setenv("GENIE_CONFIG", str(tmp_path / "a.toml"))
    assert load_settings({}).port == 1
    assert load_settings({"config": tmp_path / "b.toml"}).port == 2


def test_settings_are_immutable() -> None:
    with pytest.raises(ValidationError, match="frozen"):
        load_settings({}).port = 1  # type: ignore[misc]


@pytest.mark.parametrize(
    ("flags", "words"),
    [
        ({"port": 70000}, ["--port", "GENIE_PORT", "65535", "70000"]),
        ({"preload": "some"}, ["preload", "'all'", "'some'"]),
        ({"drain_seconds": -1}, ["--drain-seconds", "-1"]),
        ({"host": ""}, ["--host"]),
        ({"port": "many", "max_calls": 0}, ["--port", "--max-calls"]),
    ],
)
def test_a_wrong_value_is_named_with_the_places_where_it_can_be_set(flags: dict[str, object], words: list[str]) -> None:
    with pytest.raises(GenieError) as caught:
        load_settings(flags)
    for word in words:
        assert word in str(caught.value)


def test_a_wrong_value_in_the_environment_is_named(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("GENIE_MAX_CALLS", "none")
    with pytest.raises(GenieError, match="GENIE_MAX_CALLS"):
        load_settings({})


@pytest.mark.parametrize(
    ("content", "words"),
    [
        ("[serve]\nprot = 1\n", "prot"),
        ("serve = 3\n", "must be a table"),
        ("[serve\n", "genie.toml"),
    ],
)
def test_a_wrong_file_is_refused(tmp_path: Path, content: str, words: str) -> None:
    (tmp_path / "genie.toml").write_text(content)
    with pytest.raises(GenieError, match=words):
        load_settings({})


def test_a_named_file_must_exist(tmp_path: Path) -> None:
    with pytest.raises(GenieError, match=r"absent\.toml"):
        load_settings({"config": tmp_path / "absent.toml"})
