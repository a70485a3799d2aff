"""Bundles behind URLs: fetched whole, checked by SHA-256, kept in a cache, and used from there without the network.

A URL is that of a bundle or of a folder of bundles: ``s3://bucket/models``, ``gs://...``, ``hf://owner/name@REVISION``.
A fragment pins the contents, ``s3://bucket/tiny#3f2a...``: 12 or more digits of the bundle's id. What is pinned, by id
or by a whole commit of ``hf://``, is never asked for again once it is here.
"""

from __future__ import annotations

import hashlib
import logging
import re
import shutil
from collections.abc import Iterable
from contextlib import suppress
from dataclasses import dataclass
from pathlib import Path, PurePosixPath
from typing import Any

from pydantic import BaseModel, ConfigDict, ValidationError

from genie_core.data.code_meanings import FILE as MEANINGS
from genie_core.data.storage.atomic import new_folder, write_text
from genie_core.data.storage.file_cache import cache_folder, cache_limit, fresh_stamp
from genie_core.data.storage.location import RemotePath, source_path
from genie_core.data.storage.lock import waiting_lock
from genie_core.errors import DatasetError, ModelError
from genie_core.models.bundle import ALIGNMENTS, CARD, CONFIDENCE, CONFIG, bundle_id

_log = logging.getLogger(__name__)

SUMS = "SHA256SUMS"
"""File beside a bundle's others, as ``sha256sum`` writes it, that they are checked against."""

_MANIFEST, _LATEST = "manifest.json", "latest"
_PARTS = (CONFIG, CARD, SUMS, MEANINGS, CONFIDENCE)
"""Files of a bundle, and beside it, that are fetched with its weights and alignments."""

_MOST_FILES = 4096
_KEPT = 3
"""Number of versions kept of one URL."""

_PIN = re.compile(r"(?P<url>.+)#(?P<pin>[0-9a-f]{12,64})")
_COMMIT = re.compile(r"hf://[^#]*@[0-9a-f]{40}(/.*)?")


class _File(BaseModel):
    model_config = ConfigDict(frozen=True)

    name: str
    size: int
    sha256: str


class _Manifest(BaseModel):
    """What was fetched; written last, into the folder that holds it."""

    model_config = ConfigDict(frozen=True)

    url: str
    bundle_id: str
    """Of the bundle, if the URL is one's."""
    files: list[_File]


@dataclass(frozen=True)
class _Wanted:
    """A file of the store: its path below the URL, and its version there."""

    path: RemotePath
    name: str
    size: int
    version: str


def local_models(place: Path | str) -> Path:
    """Return the local folder of what `place` names: itself, or the copy of a URL, fetched if need be.

    Raises ModelError if the store cannot be reached and nothing is cached, or what comes is not what was asked for.
    """
    remote = source_path(str(place)) if isinstance(place, str) else place
    if isinstance(remote, Path):
        return remote
    pinned = _PIN.fullmatch(str(place))
    url, pin = (pinned["url"], pinned["pin"]) if pinned else (str(place), "")
    try:
        return _Copies(RemotePath(url.rstrip("/")), pin).folder()
    except DatasetError as error:
        raise ModelError(f"models: {error}") from error
    except OSError as error:
        raise ModelError(f"models: {place} cannot be copied: {error.strerror or error}") from error


class _Copies:
    """The versions of one URL in the cache."""

    def __init__(self, source: RemotePath, pin: str) -> None:
        self._source, self._pin = source, pin
        self._name = source.name.partition("@")[0]
        self._root = cache_folder().with_name("models") / hashlib.sha256(source.url.encode()).hexdigest()[:16]

    def folder(self) -> Path:
        """Return the folder of the wanted version, whole and checked."""
        self._root.mkdir(parents=True, exist_ok=True)
        with waiting_lock(self._root / "lock"):
            if (self._pin or _COMMIT.fullmatch(self._source.url)) and (kept := self._kept()) is not None:
                return kept / self._name
            try:
                self._source.forget()
                wanted = self._wanted()
            except DatasetError as error:
                if (kept := self._kept()) is None:
                    raise
                _log.warning("%s: using the copy of an earlier time", error)
                return kept / self._name
            return self._version(wanted) / self._name

    def _kept(self) -> Path | None:
        """Return a whole version that fits the pin; without one, the latest."""
        versions = [path for path in self._root.iterdir() if (path / _MANIFEST).is_file()]
        if not self._pin:
            with suppress(OSError):
                versions = [self._root / (self._root / _LATEST).read_text().strip()]
        for version in versions:
            manifest = _read_manifest(version)
            if manifest is not None and manifest.bundle_id.startswith(self._pin) and self._is_whole(version, manifest):
                return version
        return None

    def _wanted(self) -> list[_Wanted]:
        """Return what there is in the store; raises DatasetError if that is no bundle, or too much."""
        found = []
        for path in self._source.files():
            name = path.relative_to(self._source)
            if _belongs(name):
                size, version = fresh_stamp(path)
                found.append(_Wanted(path, str(name), size, version))
        if not any(PurePosixPath(file.name).name == CONFIG for file in found):
            raise DatasetError(f"{self._source}: holds no bundle (a folder with {CONFIG} and weights), nor is it one")
        total = sum(file.size for file in found)
        if len(found) > _MOST_FILES or total > cache_limit():
            raise DatasetError(
                f"{self._source}: got {len(found)} files of {total} bytes, expected at most {_MOST_FILES} and "
                f"{cache_limit()} (GENIE_CACHE_GIB)"
            )
        return sorted(found, key=lambda file: file.name)

    def _version(self, wanted: list[_Wanted]) -> Path:
        stamp = "\n".join(f"{file.name} {file.size} {file.version}" for file in wanted)
        folder = self._root / hashlib.sha256(stamp.encode()).hexdigest()[:16]
        manifest = _read_manifest(folder)
        if manifest is None or not self._is_whole(folder, manifest):
            with new_folder(folder, replace=True) as staging:
                self._fetch(wanted, staging)
            manifest = _read_manifest(folder)
        if manifest is None or not manifest.bundle_id.startswith(self._pin):
            got = manifest.bundle_id if manifest is not None else ""
            raise DatasetError(f"{self._source}: got bundle {got or '(a folder of several)'}, expected {self._pin}")
        write_text(self._root / _LATEST, folder.name)
        self._forget_old(folder)
        return folder

    def _fetch(self, wanted: list[_Wanted], staging: Path) -> None:
        files, sums = [], _Sums()
        for file in wanted:
            target = staging / self._name / file.name
            target.parent.mkdir(parents=True, exist_ok=True)
            with file.path.reported():
                file.path.system.get_file(file.path.key, str(target))
            size, digest = target.stat().st_size, _sha256(target)
            if file.size and size != file.size:
                raise DatasetError(f"{file.path}: got {size} bytes, expected {file.size}: the transfer was cut off")
            said = _said_by_store(file.path)
            if said and said != digest:
                raise DatasetError(f"{file.path}: got SHA-256 {digest}, expected {said}, as its store says")
            if PurePosixPath(file.name).name == SUMS:
                sums.add(PurePosixPath(file.name).parent, target.read_text(encoding="utf-8", errors="replace"))
            files.append(_File(name=file.name, size=size, sha256=digest))
        sums.check(self._source, files)
        root = staging / self._name
        identity = bundle_id(root) if (root / CONFIG).is_file() else ""
        manifest = _Manifest(url=self._source.url, bundle_id=identity, files=files)
        (staging / _MANIFEST).write_text(manifest.model_dump_json(indent=2) + "\n", encoding="utf-8")

    def _is_whole(self, folder: Path, manifest: _Manifest) -> bool:
        """Return whether every file is as it was fetched; logs one that is not."""
        for file in manifest.files:
            path = folder / self._name / file.name
            try:
                whole = path.stat().st_size == file.size and _sha256(path) == file.sha256
            except OSError:
                whole = False
            if not whole:
                _log.warning("%s: the copy of %s in the cache is damaged, and is not used", self._source, file.name)
                return False
        return True

    def _forget_old(self, current: Path) -> None:
        others = [path for path in self._root.iterdir() if (path / _MANIFEST).is_file() and path != current]
        for path in sorted(others, key=lambda p: p.stat().st_mtime)[: max(0, len(others) + 1 - _KEPT)]:
            shutil.rmtree(path, ignore_errors=True)


class _Sums:
    """The checksums that the store's own `SUMS` files list."""

    def __init__(self) -> None:
        self._said: dict[str, str] = {}

    def add(self, folder: PurePosixPath, text: str) -> None:
        """Read one file's lines: ``DIGEST  NAME`` or ``DIGEST *NAME``."""
        for line in text.splitlines():
            digest, _, name = line.partition(" ")
            if re.fullmatch("[0-9a-fA-F]{64}", digest):
                self._said[str(folder / name.lstrip(" *").removeprefix("./"))] = digest.lower()

    def check(self, source: RemotePath, files: Iterable[_File]) -> None:
        """Raise DatasetError if a file is not what a checksum says."""
        for file in files:
            said = self._said.get(file.name)
            if said is not None and said != file.sha256:
                raise DatasetError(f"{source}/{file.name}: got SHA-256 {file.sha256}, expected {said} ({SUMS})")


def _belongs(name: PurePosixPath) -> bool:
    """Return whether a path below the URL belongs to a bundle there, or in a folder there."""
    if any(part.startswith(".") or not part.isprintable() or "\\" in part for part in name.parts):
        return False
    *folders, file = name.parts
    if folders and folders[-1] == ALIGNMENTS:
        return len(folders) <= 2
    return len(folders) <= 1 and (file in _PARTS or file.endswith(".safetensors"))


def _said_by_store(path: RemotePath) -> str:
    """Return the SHA-256 that the store states for a file, as Hugging Face does for large ones; "" if none."""
    lfs: Any = path.info().get("lfs")
    said = lfs.get("sha256") if isinstance(lfs, dict) else getattr(lfs, "sha256", None)
    return str(said or "")


def _read_manifest(folder: Path) -> _Manifest | None:
    try:
        return _Manifest.model_validate_json((folder / _MANIFEST).read_bytes())
    except (OSError, ValidationError):
        return None


def _sha256(path: Path) -> str:
    with path.open("rb") as file:
        return hashlib.file_digest(file, "sha256").hexdigest()


__all__ = ["SUMS", "local_models"]
