"""TLS of the server: certificate and key from files, reread whenever they change, and client certificates."""

from __future__ import annotations

import logging
import ssl
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import grpc

from genie_core.errors import GenieError

_log = logging.getLogger(__name__)


@dataclass(frozen=True)
class TlsFiles:
    """Files of the server's TLS, all PEM.

    Attributes:
        certificate: the server's certificate, followed by its chain.
        key: its private key.
        client_ca: authorities that client certificates must descend from; None: no client certificates.

    """

    certificate: Path
    key: Path
    client_ca: Path | None = None


def server_credentials(files: TlsFiles) -> grpc.ServerCredentials:
    """Return credentials that follow the files: a renewed certificate is used from the next connection on.

    Raises GenieError if the files cannot be used now. Later, the previous ones stay in use, and the log says so.
    """
    source = _Source(files)
    credentials: grpc.ServerCredentials = grpc.dynamic_ssl_server_credentials(
        source.first, source.changed, require_client_authentication=files.client_ca is not None
    )
    return credentials


class _Source:
    def __init__(self, files: TlsFiles) -> None:
        self._files = files
        self._stamp = _stamp(files)
        self.first = _configuration(files)

    def changed(self) -> Any:
        """Return the new configuration; None if unchanged. gRPC calls it before every handshake, on its threads."""
        stamp = _stamp(self._files)
        if stamp == self._stamp:
            return None
        self._stamp = stamp
        try:
            configuration = _configuration(self._files)
        except GenieError as error:
            _log.error("TLS stays as it was: %s", error)
            return None
        _log.info("TLS read again from %s", self._files.certificate)
        return configuration


def _configuration(files: TlsFiles) -> Any:
    certificate, key = _read(files.certificate), _read(files.key)
    context = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
    try:
        context.load_cert_chain(files.certificate, files.key)
    except (ssl.SSLError, OSError) as error:
        raise GenieError(f"{files.certificate}, {files.key}: expected a certificate and its key: {error}") from None
    authorities = None
    if files.client_ca is not None:
        authorities = _read(files.client_ca)
        try:
            context.load_verify_locations(cadata=authorities.decode())
        except (ssl.SSLError, UnicodeDecodeError) as error:
            raise GenieError(f"{files.client_ca}: expected certificates, got none that can be read: {error}") from None
    return grpc.ssl_server_certificate_configuration([(key, certificate)], root_certificates=authorities)


def _read(file: Path) -> bytes:
    try:
        return file.read_bytes()
    except OSError as error:
        raise GenieError(f"{file}: {error.strerror}") from None


def _stamp(files: TlsFiles) -> list[tuple[int, int, int] | None]:
    stamps: list[tuple[int, int, int] | None] = []
    for file in (files.certificate, files.key, files.client_ca):
        try:
            found = None if file is None else file.stat()
        except OSError:
            found = None
        stamps.append(None if found is None else (found.st_ino, found.st_size, found.st_mtime_ns))
    return stamps


__all__ = ["TlsFiles", "server_credentials"]
