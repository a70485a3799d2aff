"""Checks of the settings against the machine before the server starts: all problems are reported at once.

Whether a setting has a value that it may have is `settings`' matter; here is whether what it names can be used.
"""

from __future__ import annotations

import ipaddress
import os
import socket
from collections.abc import Callable, Iterable, Iterator
from pathlib import Path

from genie_core.errors import GenieError
from genie_core.models.bundle import meant_as_bundle, torch_device
from genie_service.bundle_folders import no_bundle
from genie_service.certificates import server_credentials
from genie_service.settings import Settings
from genie_service.tokens import TokenFile


def startup_problems(settings: Settings, *, shares_port: bool = False) -> list[str]:
    """Return every problem of files, addresses and device that the settings name.

    With `shares_port` other workers may listen already: the supervisor has checked the addresses.
    """
    checks: tuple[Callable[[Settings], object], ...] = (
        _exposure,
        lambda s: None if s.tls is None else server_credentials(s.tls),
        lambda s: None if s.tokens is None else TokenFile(s.tokens),
        _models,
        lambda s: torch_device(s.device),
        lambda s: _written(s.audit_log, "audit_log"),
        lambda s: _profile(s.profile),
        *(() if shares_port else (_addresses,)),
    )
    return list(_problems(settings, checks))


def is_loopback(host: str) -> bool:
    """Return whether an address or name can be reached from this machine alone."""
    try:
        return ipaddress.ip_address(host).is_loopback
    except ValueError:
        return host == "localhost"


def _problems(settings: Settings, checks: Iterable[Callable[[Settings], object]]) -> Iterator[str]:
    for check in checks:
        try:
            check(settings)
        except GenieError as error:
            yield str(error)


def _exposure(settings: Settings) -> None:
    if settings.tls is None and not settings.insecure and not is_loopback(settings.host):
        raise GenieError(
            f"refusing to listen on {settings.host} without TLS: give --tls-certificate and --tls-key, or --insecure "
            "where the network is trusted or something in front encrypts"
        )


def _models(settings: Settings) -> None:
    """Check that there is a bundle; broken ones are the registry's business, which lists their problems."""
    if isinstance(settings.models, str):
        return  # fetched when everything else is right
    folder = settings.models.absolute()
    try:
        there = meant_as_bundle(folder) or any(meant_as_bundle(path) for path in folder.iterdir())
    except OSError:
        there = False
    if not there:
        raise GenieError(no_bundle(folder))


def _written(file: Path | None, field: str) -> None:
    if file is None:
        return
    if file.is_dir():
        raise GenieError(f"{field}: {file} is a folder, expected a file to append to")
    if not (os.access(file, os.W_OK) if file.exists() else os.access(file.parent, os.W_OK | os.X_OK)):
        raise GenieError(f"{field}: {file} cannot be written")


def _profile(folder: Path | None) -> None:
    if folder is not None and folder.exists() and not folder.is_dir():
        raise GenieError(f"profile: {folder} is a file, expected a folder")


def _addresses(settings: Settings) -> None:
    """Try each address; the server itself takes them a moment later."""
    problems = []
    wanted = {"host, port": (settings.host, settings.port)}
    if settings.metrics is not None:
        wanted["metrics_address"] = settings.metrics
    for field, (host, port) in wanted.items():
        problem = _why_not(host, port)
        if problem is not None:
            problems.append(f"{field}: {problem}")
    given = [address for address in wanted.values() if address[1]]
    if len(set(given)) < len(given):
        own = f"{settings.host}:{settings.port}"
        problems.append(f"metrics_address: got the server's own address {own}, expected another")
    if problems:
        raise GenieError("\n".join(problems))


def _why_not(host: str, port: int) -> str | None:
    """Return why an address cannot be listened on; None if it can."""
    try:
        found = socket.getaddrinfo(host, port, type=socket.SOCK_STREAM, flags=socket.AI_PASSIVE)
    except OSError as error:
        return f"{host} is no address of this machine: {error.strerror or error}"
    family, kind, protocol, _, address = found[0]
    with socket.socket(family, kind, protocol) as probe:
        if os.name == "posix":
            probe.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
        try:
            probe.bind(address)
        except OSError as error:
            hint = " is the port in use?" if port else ""
            return f"cannot listen on {host}:{port}:{hint} ({error.strerror})"
    return None


__all__ = ["is_loopback", "startup_problems"]
