"""Security of a connection: TLS, client certificate and token, and where they are configured.

What the caller does not pass comes from the environment, then from the user's file. No secret is ever an argument of a
command, since everybody on the machine can read the list of processes.
"""

from __future__ import annotations

import ipaddress
import os
import stat
import tomllib
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import grpc
from grpc import aio

from genie_client.channel import channel_options, check_address
from genie_client.outgoing import OutgoingChannel
from genie_core.errors import GenieError

PREFIX = "GENIE_CLIENT_"
"""Prefix of environment variables: TLS, CA, CERTIFICATE, KEY, TOKEN, TOKEN_FILE and CONFIG."""

_KEYS = ("tls", "ca", "certificate", "key", "token", "token_file")
_TRUE, _FALSE = ("1", "true", "yes", "on"), ("0", "false", "no", "off")


@dataclass(frozen=True)
class Tls:
    """An encrypted connection.

    Attributes:
        ca: file of the certificates (PEM) that the server's must descend from; None: those that gRPC ships.
        certificate: file of the client's certificate chain (PEM), if the server requires one.
        key: file of its private key (PEM).

    """

    ca: Path | None = None
    certificate: Path | None = None
    key: Path | None = None

    def __post_init__(self) -> None:
        if (self.certificate is None) != (self.key is None):
            raise GenieError("certificate, key: got one without the other, expected both or neither")


@dataclass(frozen=True)
class Security:
    """Security of the connection to one server. `token` is empty for none, and never printed."""

    tls: Tls | None
    token: str

    def __repr__(self) -> str:
        return f"Security(tls={self.tls!r}, token={'...' if self.token else 'none'})"


def security_for(address: str, tls: Tls | bool | None = None, token: str | None = None) -> Security:
    """Return the security of the connection to ``host:port``.

    Args:
        address: address of the server.
        tls: True for TLS with the usual certificate authorities; False for none; None: according to the environment or
            the user's file, by default none.
        token: "" for none; None: according to the environment or the file.

    Raises:
        GenieError: the settings cannot be used, or a token would be sent in clear text over a network.

    """
    found = _found(check_address(address))
    if tls is None:
        tls = _tls(found)
    if token is None:
        token = _token(found)
    security = Security(Tls() if tls is True else (tls or None), token)
    if security.token and security.tls is None and not _is_loopback(address):
        raise GenieError(
            f"a token for {address} would cross the network in clear text: set {PREFIX}TLS=1 or {PREFIX}CA=FILE, or "
            "pass tls=True"
        )
    return security


def open_channel(address: str, security: Security, own_connection: bool = False) -> grpc.Channel:
    """Return a channel for blocking calls; nothing is sent yet."""
    options = channel_options(address, own_connection)
    if security.tls is None:
        channel = grpc.insecure_channel(address, options=options)
    else:
        channel = grpc.secure_channel(address, _credentials(security.tls), options=options)
    return OutgoingChannel(channel, security.token)  # type: ignore[return-value]


def open_aio_channel(address: str, security: Security) -> aio.Channel:
    """Return a channel for asyncio."""
    if security.tls is None:
        channel = aio.insecure_channel(address, options=channel_options(address))
    else:
        channel = aio.secure_channel(address, _credentials(security.tls), options=channel_options(address))
    return OutgoingChannel(channel, security.token)  # type: ignore[return-value]


def _credentials(tls: Tls) -> grpc.ChannelCredentials:
    ca, certificate, key = (None if file is None else _read(file) for file in (tls.ca, tls.certificate, tls.key))
    return grpc.ssl_channel_credentials(ca, key, certificate)


def _found(address: str) -> dict[str, Any]:
    """Return the settings for a server from environment and file; the environment takes precedence."""
    variables = {key: os.environ.get(PREFIX + key.upper(), "") for key in _KEYS}
    said = {key: value for key, value in variables.items() if value}
    if "token" in said or "token_file" in said:  # the environment replaces both settings of the file
        return {**{k: v for k, v in _from_file(address).items() if not k.startswith("token")}, **said}
    return {**_from_file(address), **said}


def config_file() -> Path:
    """Return the user's file: GENIE_CLIENT_CONFIG, else genie/client.toml in the user's configuration folder."""
    named = os.environ.get(PREFIX + "CONFIG")
    if named:
        return Path(named)
    home = os.environ.get("XDG_CONFIG_HOME") or Path.home() / ".config"
    return Path(home) / "genie" / "client.toml"


def _from_file(address: str) -> dict[str, Any]:
    """Return the server's table in the user's file: ``[servers."host:port"]``."""
    file = config_file()
    if not file.is_file():
        if os.environ.get(PREFIX + "CONFIG"):
            raise GenieError(f"{PREFIX}CONFIG: got {file}, expected an existing file")
        return {}
    try:
        servers = tomllib.loads(_read(file).decode()).get("servers", {})
    except (UnicodeDecodeError, tomllib.TOMLDecodeError) as error:
        raise GenieError(f"{file}: {error}") from None
    table = servers.get(address, {}) if isinstance(servers, Mapping) else None
    if not isinstance(table, Mapping):
        raise GenieError(f'{file}: expected tables [servers."HOST:PORT"]')
    unknown = sorted(set(table) - set(_KEYS))
    if unknown:
        raise GenieError(f"{file}: {address}: got {', '.join(unknown)}, expected {', '.join(_KEYS)}")
    if "token" in table:
        _check_private(file)
    return dict(table)


def _tls(found: Mapping[str, Any]) -> Tls | None:
    ca, certificate, key = (_path(found, name) for name in ("ca", "certificate", "key"))
    wanted = found.get("tls")
    if isinstance(wanted, str):
        if wanted.lower() not in _TRUE + _FALSE:
            raise GenieError(f"{PREFIX}TLS: got {wanted!r}, expected 1 or 0")
        wanted = wanted.lower() in _TRUE
    if wanted is None:
        wanted = ca is not None or certificate is not None or key is not None
    return Tls(ca, certificate, key) if wanted else None


def _token(found: Mapping[str, Any]) -> str:
    file = _path(found, "token_file")
    if file is None:
        return str(found.get("token", "")).strip()
    _check_private(file)
    return _read(file).decode(errors="replace").strip()


def _path(found: Mapping[str, Any], name: str) -> Path | None:
    return Path(str(found[name])).expanduser() if found.get(name) else None


def _check_private(file: Path) -> None:
    """Raise GenieError if others can read a file with a secret. Windows has no such permission bits."""
    if os.name == "posix" and file.is_file() and file.stat().st_mode & (stat.S_IRWXG | stat.S_IRWXO):
        raise GenieError(f"{file} holds a token and others may read it: chmod 600 {file}")


def _read(file: Path) -> bytes:
    try:
        return file.read_bytes()
    except OSError as error:
        raise GenieError(f"{file}: {error.strerror}") from None


def _is_loopback(address: str) -> bool:
    if address.startswith("unix:"):
        return True
    host = address.rpartition(":")[0].rpartition("/")[2]
    for scheme in ("ipv4:", "ipv6:", "dns:"):
        host = host.removeprefix(scheme)
    host = host.strip("[]")
    try:
        return ipaddress.ip_address(host).is_loopback
    except ValueError:
        return host == "localhost"


__all__ = ["PREFIX", "Security", "Tls", "config_file", "open_aio_channel", "open_channel", "security_for"]
