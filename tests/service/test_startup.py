"""Start of a server: whatever is wrong with files, addresses and device is told at once, each in a line of its own."""

from __future__ import annotations

import asyncio
import socket
from pathlib import Path

import pytest

from genie_core.errors import GenieError
from genie_service.server import GenieServer
from genie_service.settings import SettingsError, load_settings
from genie_service.startup import startup_problems


@pytest.fixture(autouse=True)
def _empty_folder(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(tmp_path)


def test_everything_that_is_wrong_is_told_at_once(tmp_path: Path) -> None:
    (tmp_path / "key.pem").write_text("no key")
    with socket.create_server(("127.0.0.1", 0)) as taken:
        port = taken.getsockname()[1]
        settings = load_settings(
            {
                "models": tmp_path,
                "port": port,
                "metrics_address": f"127.0.0.1:{port}",
                "tls_certificate": tmp_path / "key.pem",
                "tls_key": tmp_path / "key.pem",
                "tokens": tmp_path / "tokens.toml",
                "audit_log": tmp_path / "absent" / "audit.log",
                "device": "cuda:99",
            }
        )
        with pytest.raises(GenieError) as caught:
            asyncio.run(GenieServer.start(settings))
    lines = str(caught.value).splitlines()
    for words in (
        "key.pem: expected a certificate and its key",
        f"tokens file {tmp_path / 'tokens.toml'}: No such file",
        f"{tmp_path} holds no bundle",
        "device 'cuda:99' cannot be used here",
        f"audit_log: {tmp_path / 'absent' / 'audit.log'} cannot be written",
        f"host, port: cannot listen on 127.0.0.1:{port}: is the port in use?",
        f"metrics_address: cannot listen on 127.0.0.1:{port}",
        f"metrics_address: got the server's own address 127.0.0.1:{port}",
    ):
        assert len([line for line in lines if words in line]) == 1, words
    assert len(lines) == 8


def test_nothing_is_wrong_with_the_defaults() -> None:
    assert startup_problems(load_settings({"port": 0})) == []


def test_wrong_values_do_not_hide_wrong_files(tmp_path: Path) -> None:
    with pytest.raises(SettingsError) as caught:
        load_settings({"port": 70000, "max_calls": 0, "models": tmp_path, "host": "0.0.0.0", "tls_key": "key.pem"})
    assert all(word in str(caught.value) for word in ("--port", "--max-calls", "go together"))
    assert caught.value.rest is not None
    problems = startup_problems(caught.value.rest)
    assert any("holds no bundle" in problem for problem in problems)
    assert any("refusing to listen on 0.0.0.0" in problem for problem in problems)


@pytest.mark.parametrize("address", ["nowhere", "localhost:", ":70000", "127.0.0.1:http", ""])
def test_an_address_of_metrics_that_is_none_is_named(address: str) -> None:
    with pytest.raises(GenieError, match=r"--metrics-address, GENIE_METRICS_ADDRESS .* expected HOST:PORT, or PORT"):
        load_settings({"metrics_address": address})


@pytest.mark.parametrize(
    ("address", "expected"),
    [("9464", ("127.0.0.1", 9464)), (":9464", ("127.0.0.1", 9464)), ("[::1]:0", ("::1", 0)), ("h:1", ("h", 1))],
)
def test_an_address_of_metrics_is_split(address: str, expected: tuple[str, int]) -> None:
    assert load_settings({"metrics_address": address}).metrics == expected
