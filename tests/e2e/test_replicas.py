"""One client and several replicas of a server, as behind a headless service."""

from __future__ import annotations

from pathlib import Path

from genie_client import Client
from tests.factories.bundles import make_nano_bundle
from tests.support.service_server import serving


def test_calls_to_replicas_take_turns_and_outlive_one(tmp_path: Path) -> None:
    for name in ("first", "second"):
        make_nano_bundle(tmp_path / name / name)
    with serving(tmp_path / "first") as first:
        with serving(tmp_path / "second") as second:
            address = f"ipv4:{first.server.address},{second.server.address}"
            client = Client(address)
            seen = {client.models()[0].name for _ in range(20)}
            assert seen == {"first", "second"}
        assert {client.models()[0].name for _ in range(5)} == {"first"}
        client.close()
    with serving(tmp_path / "first") as first, Client(first.server.address) as client:
        assert client.models()[0].name == "first"
