"""Access to the page: for those who know its secret address, and only from pages that it served itself."""

from __future__ import annotations

import ipaddress
import secrets
from collections.abc import Mapping
from urllib.parse import urlsplit

from genie_core.errors import GenieError

_HEADERS = {
    "Cache-Control": "no-store",
    "Content-Security-Policy": (
        "default-src 'none'; script-src 'self'; style-src 'self'; img-src 'self' data:; connect-src 'self'; "
        "form-action 'none'; base-uri 'none'; frame-ancestors 'none'"
    ),
    "Referrer-Policy": "no-referrer",  # the address holds the secret
    "X-Content-Type-Options": "nosniff",
}


def new_secret() -> str:
    """Return the part of the page's address that other users of the machine cannot guess."""
    return secrets.token_urlsafe(12)


def response_headers() -> Mapping[str, str]:
    """Return the headers of every answer: the browser may run, show and send only what is the page's own."""
    return _HEADERS


def same_origin(origin: str | None, host: str | None) -> bool:
    """Return whether a WebSocket was opened by one of our pages.

    Browsers let any page open a WebSocket to any address and name that page in ``Origin``, so it has to be checked.
    """
    if not origin or not host:
        return False
    parts = urlsplit(origin)
    return parts.scheme in ("http", "https") and parts.netloc.lower() == host.lower()


def allowed_hosts(host: str) -> list[str]:
    """Return the values of ``Host`` that a page on `host` answers to, without port: no name that somebody rebinds."""
    return ["127.0.0.1", "localhost", "[::1]"] if is_loopback(host) else ["*"]


def is_loopback(host: str) -> bool:
    """Return whether `host` is this machine only."""
    if host == "localhost":
        return True
    try:
        return ipaddress.ip_address(host).is_loopback
    except ValueError:
        return False


def check_bind(host: str, insecure: bool) -> None:
    """Raise GenieError if others could read what is played, and the user has not said that they may."""
    if not insecure and not is_loopback(host):
        raise GenieError(
            f"--host: got {host}, expected loopback: the page is not encrypted; reach it through `ssh -L`, or allow it "
            "with --insecure"
        )


__all__ = ["allowed_hosts", "check_bind", "is_loopback", "new_secret", "response_headers", "same_origin"]
