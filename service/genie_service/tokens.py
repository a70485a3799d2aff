"""Tokens: the server stores their hashes, and the scopes of each.

A token is 256 random bits, so one SHA-256 of it is enough: it cannot be guessed, and is shown once, when it is made.
"""

from __future__ import annotations

import datetime
import hashlib
import hmac
import logging
import os
import secrets
import stat
import tomllib
from collections.abc import Iterable
from dataclasses import dataclass
from enum import StrEnum
from pathlib import Path
from typing import Any

from pydantic import BaseModel, ConfigDict, Field, ValidationError, field_validator

from genie_core.data.storage.atomic import new_file
from genie_core.errors import GenieError, problems_of

_log = logging.getLogger(__name__)

_MARK = "genie_"
"""Prefix of every token, so that scanners for leaked secrets recognise one."""


class Scope(StrEnum):
    """Permissions of a token. Listing models, health and statistics only need a known caller."""

    LABEL = "label"
    SIMULATE = "simulate"
    ADMIN = "admin"


@dataclass(frozen=True)
class Identity:
    """Identity of a caller.

    Attributes:
        name: of the token, or of the client's certificate; empty if unknown.
        scopes: permissions.
        proven: whether a token or a certificate proves the name.

    """

    name: str = ""
    scopes: frozenset[Scope] = frozenset(Scope)
    proven: bool = False

    def may(self, scope: Scope) -> bool:
        """Return whether the caller has `scope`."""
        return scope in self.scopes


ANYBODY = Identity()
"""Identity of every caller on a server without authentication."""


class TokenEntry(BaseModel):
    """Record of one token in the file."""

    model_config = ConfigDict(frozen=True, extra="forbid")

    name: str = Field(min_length=1, max_length=100)
    sha256: str = Field(pattern="^[0-9a-f]{64}$")
    scopes: frozenset[Scope] = Field(min_length=1)
    expires: datetime.date | None = None

    @field_validator("name")
    @classmethod
    def _printable(cls, name: str) -> str:
        if not name.isprintable():
            raise ValueError("a name must be printable")
        return name

    def holds(self, today: datetime.date) -> bool:
        """Return whether it has not expired: its last day is `expires`."""
        return self.expires is None or today <= self.expires


class _File(BaseModel):
    model_config = ConfigDict(frozen=True, extra="forbid")

    token: list[TokenEntry] = Field(default_factory=list)


class TokenFile:
    """Tokens in a file, reread whenever it changes. If that fails, the previous ones stay in force."""

    def __init__(self, path: Path) -> None:
        """Read the file. Raises GenieError if it cannot be used."""
        self._path = path
        self._stamp = _stamp(path)
        self._entries = read_tokens(path)

    def identify(self, token: str) -> Identity | None:
        """Return the identity of a token; None if unknown. Takes the same time for every wrong one."""
        self._follow()
        digest = hash_token(token)
        found = None
        for entry in self._entries:
            if hmac.compare_digest(entry.sha256, digest):
                found = entry
        if found is None or not found.holds(datetime.datetime.now(datetime.UTC).date()):
            return None
        return Identity(found.name, found.scopes, proven=True)

    def _follow(self) -> None:
        stamp = _stamp(self._path)
        if stamp == self._stamp:
            return
        self._stamp = stamp
        try:
            self._entries = read_tokens(self._path)
        except GenieError as error:
            _log.error("the tokens of before stay in force: %s", error)
        else:
            _log.info("%d tokens read from %s", len(self._entries), self._path)


def make_token() -> str:
    """Return a new token."""
    return _MARK + secrets.token_urlsafe(32)


def hash_token(token: str) -> str:
    """Return the hash of a token that the server stores: 64 hexadecimal digits."""
    return hashlib.sha256(token.encode(errors="surrogateescape")).hexdigest()


def read_tokens(path: Path) -> list[TokenEntry]:
    """Return the tokens of a file. Raises GenieError if it cannot be read, is wrong, or others may change it."""
    try:
        mode, content = path.stat().st_mode, path.read_text(encoding="utf-8")
        file = _File.model_validate(tomllib.loads(content))
    except OSError as error:
        raise GenieError(f"tokens file {path}: {error.strerror}") from None
    except (UnicodeDecodeError, tomllib.TOMLDecodeError) as error:
        raise GenieError(f"tokens file {path}: {error}") from None
    except ValidationError as error:
        raise GenieError(f"tokens file {path}: {problems_of(error)}") from None
    if os.name == "posix" and mode & (stat.S_IWGRP | stat.S_IWOTH):
        raise GenieError(f"tokens file {path}: others may change it: chmod 600 {path}")
    names = [entry.name for entry in file.token]
    twice = sorted({name for name in names if names.count(name) > 1})
    if twice:
        raise GenieError(f"tokens file {path}: more than one token is named {', '.join(twice)}")
    return file.token


def add_token(path: Path, name: str, scopes: Iterable[Scope], expires: datetime.date | None = None) -> str:
    """Make a token, note its hash in the file and return it. Raises GenieError where the name is taken."""
    token = make_token()
    try:
        entry = TokenEntry(name=name, sha256=hash_token(token), scopes=frozenset(scopes), expires=expires)
    except ValidationError as error:
        raise GenieError(problems_of(error)) from None
    others = read_tokens(path) if path.exists() else []
    if name in {other.name for other in others}:
        raise GenieError(f"{path} has a token named {name} already: choose another name, or delete that one")
    _write(path, [*others, entry])
    return token


def _write(path: Path, entries: list[TokenEntry]) -> None:
    content = "# Who may use the server. Tokens are not here, only their hashes; `genie token` makes them.\n"
    for entry in entries:
        content += f'\n[[token]]\nname = {_quoted(entry.name)}\nsha256 = "{entry.sha256}"\n'
        content += f"scopes = [{', '.join(_quoted(scope) for scope in sorted(entry.scopes))}]\n"
        content += "" if entry.expires is None else f"expires = {entry.expires.isoformat()}\n"
    try:
        with new_file(path) as temporary, open(temporary, "w", encoding="utf-8", opener=_private) as file:
            file.write(content)
    except OSError as error:
        raise GenieError(f"tokens file {path}: {error.strerror}") from None


def _private(path: str, flags: int) -> int:
    return os.open(path, flags, 0o600)


def _quoted(text: str) -> str:
    return '"' + text.replace("\\", "\\\\").replace('"', '\\"') + '"'


def _stamp(path: Path) -> Any:
    try:
        found = path.stat()
    except OSError:
        return None
    return found.st_ino, found.st_size, found.st_mtime_ns


__all__ = [
    "ANYBODY",
    "Identity",
    "Scope",
    "TokenEntry",
    "TokenFile",
    "add_token",
    "hash_token",
    "make_token",
    "read_tokens",
]
