"""Real certificates, made for a test: an authority, the server's certificate and those of clients, as files."""

from __future__ import annotations

from pathlib import Path

import trustme

from genie_client import Tls
from genie_service.certificates import TlsFiles


class Authority:
    """An authority of its own, whose files are in `folder`."""

    def __init__(self, folder: Path) -> None:
        folder.mkdir(parents=True, exist_ok=True)
        self._folder = folder
        self._authority = trustme.CA()
        self.ca = folder / "ca.pem"
        self._authority.cert_pem.write_to_path(self.ca)

    def server(self, *names: str) -> TlsFiles:
        """The server's certificate and key, for `names` or loopback; written over those of before."""
        made = self._authority.issue_cert(*(names or ("127.0.0.1", "localhost")))
        return TlsFiles(*self._write("server", made))

    def client(self, name: str) -> Tls:
        """What a client called `name` needs, which trusts this authority and shows a certificate of it."""
        made = self._authority.issue_cert(f"{name}@example.org", common_name=name)
        return Tls(self.ca, *self._write(name, made))

    def _write(self, name: str, made: trustme.LeafCert) -> tuple[Path, Path]:
        chain, key = self._folder / f"{name}.pem", self._folder / f"{name}.key"
        chain.write_bytes(b"".join(blob.bytes() for blob in made.cert_chain_pems))
        made.private_key_pem.write_to_path(key)
        return chain, key
