"""Who may use the page of `genie play`."""

from __future__ import annotations

import pytest

from genie_core.errors import GenieError
from genie_play.guard import check_bind, is_loopback, new_secret, same_origin


@pytest.mark.parametrize(
    ("origin", "host", "ours"),
    [
        ("http://127.0.0.1:8474", "127.0.0.1:8474", True),
        ("http://localhost:8474", "localhost:8474", True),
        ("http://LOCALHOST:8474", "localhost:8474", True),
        ("http://evil.example", "127.0.0.1:8474", False),
        ("http://127.0.0.1:8475", "127.0.0.1:8474", False),
        ("http://127.0.0.1:8474.evil.example", "127.0.0.1:8474", False),
        ("http://evil.example/127.0.0.1:8474", "127.0.0.1:8474", False),
        ("file://127.0.0.1:8474", "127.0.0.1:8474", False),
        ("null", "127.0.0.1:8474", False),
        (None, "127.0.0.1:8474", False),
        ("http://127.0.0.1:8474", None, False),
    ],
)
def test_only_a_page_of_ours_opens_a_game(origin: str | None, host: str | None, ours: bool) -> None:
    assert same_origin(origin, host) is ours


def test_other_addresses_than_loopback_are_refused_unless_told() -> None:
    for host in ("127.0.0.1", "127.0.0.2", "localhost", "::1"):
        assert is_loopback(host)
        check_bind(host, insecure=False)
    for host in ("0.0.0.0", "192.168.1.2", "robot.lab", "::"):
        assert not is_loopback(host)
        check_bind(host, insecure=True)
        with pytest.raises(GenieError, match=r"--host: got .* expected loopback"):
            check_bind(host, insecure=False)


def test_no_two_secrets_are_the_same() -> None:
    assert len({new_secret() for _ in range(100)}) == 100
