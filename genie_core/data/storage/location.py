"""Locations of robot video: local paths, and URLs that fsspec knows (s3://, gs://, hf://, http://, memory:// ...).

Readers open files only through `local_file`, which fetches a remote one into a bounded cache, whole and once (see
`file_cache`). Listing and lookup use fsspec itself; its errors become DatasetError here.
"""

from __future__ import annotations

import os
import re
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from functools import cached_property
from pathlib import Path, PurePosixPath
from typing import Any
from urllib.parse import unquote, urlsplit

from genie_core.errors import DatasetError, reason_of

LOCAL_SCHEMES = ("file", "local")

_PACKAGES = {
    "abfs": "adlfs",
    "az": "adlfs",
    "gcs": "gcsfs",
    "gs": "gcsfs",
    "hf": "huggingface_hub",
    "http": "aiohttp",
    "https": "aiohttp",
    "s3": "s3fs",
    "s3a": "s3fs",
    "sftp": "paramiko",
    "ssh": "paramiko",
}
"""Package to install for a URL scheme that fsspec alone does not read."""

_GONE = (404, 410)
"""Status codes with which a web server says that a file does not exist."""


@dataclass(frozen=True, order=True)
class RemotePath:
    """A file or folder behind a URL, with the parts of `pathlib.Path` that readers need. Creating one reads nothing.

    Methods that access the store raise DatasetError, naming the URL, if it cannot be reached.

    Attributes:
        url: with its scheme, without a trailing slash.

    """

    url: str

    def __str__(self) -> str:
        return self.url

    def __truediv__(self, name: str | PurePosixPath) -> RemotePath:
        return RemotePath(f"{self.url}/{name}")

    @property
    def name(self) -> str:
        """Last part of the URL; of a web address, without the query."""
        url = urlsplit(self.url)._replace(query="", fragment="").geturl() if self._is_web else self.url
        return self._plain(url.rstrip("/").rpartition("/")[2])

    @property
    def suffix(self) -> str:
        """End of `name` from its last dot, dot included."""
        return PurePosixPath(self.name).suffix

    @property
    def stem(self) -> str:
        """`name` without its suffix."""
        return PurePosixPath(self.name).stem

    @property
    def parents(self) -> tuple[RemotePath, ...]:
        """Folders around it, nearest first, up to the store's root."""
        depth = max(0, self.url.count("/") - 2)
        return tuple(RemotePath(self.url.rsplit("/", up)[0]) for up in range(1, depth + 1))

    @property
    def parent(self) -> RemotePath:
        """Folder around it."""
        return self.parents[0] if self.parents else self

    def resolve(self) -> RemotePath:
        """Return itself: a URL is absolute."""
        return self

    def is_relative_to(self, folder: SourcePath) -> bool:
        """Return whether it is `folder` or lies in it."""
        return isinstance(folder, RemotePath) and f"{self.url}/".startswith(f"{folder.url}/")

    def relative_to(self, folder: SourcePath) -> PurePosixPath:
        """Return its path within `folder`. Raises ValueError if it does not lie there."""
        if not self.is_relative_to(folder):
            raise ValueError(f"{self.url} does not lie in {folder}")
        return PurePosixPath(self._plain(self.url[len(str(folder)) + 1 :]))

    def exists(self) -> bool:
        """Return whether there is a file or folder."""
        with self.reported():
            return bool(self.system.exists(self.key))

    def is_file(self) -> bool:
        """Return whether there is a file."""
        if self._is_web:
            return self._kind() is not None and not self.is_dir()
        return self._kind() == "file"

    def is_dir(self) -> bool:
        """Return whether there is a folder; on the web, a page of links whose name does not look like a file's."""
        if self._is_web and re.search(r"[A-Za-z]", self.suffix):
            return False  # asking would fetch the file
        if self._is_web:
            with self.reported():
                return bool(self.system.isdir(self.key))
        return self._kind() == "directory"

    def files(self) -> list[RemotePath]:
        """Return all files below this folder, recursively, sorted."""
        with self.reported():
            return sorted(self._of(key) for key in self.system.find(self.key))

    def glob(self, pattern: str) -> Iterator[RemotePath]:
        """Yield the files and folders below this folder that match, in no particular order."""
        with self.reported():
            keys = self.system.glob(f"{self.key.rstrip('/')}/{pattern}")
        return (self._of(key) for key in keys)

    def read_bytes(self) -> bytes:
        """Return the contents of the file. Raises FileNotFoundError if there is none."""
        with self.reported(missing=True):
            data: bytes = self.system.cat_file(self.key)
            return data

    def read_text(self, encoding: str = "utf-8") -> str:
        """Return the contents of the file as text. Raises FileNotFoundError if there is none."""
        return self.read_bytes().decode(encoding)

    def forget(self) -> None:
        """Clear what this process has cached of the store's listings, so that later changes are seen."""
        from genie_core.data.storage.file_cache import remote_stamp

        with self.reported():
            self.system.invalidate_cache()
        remote_stamp.cache_clear()

    def info(self) -> dict[str, Any]:
        """Return the store's record of the file: ``size`` and, if known, a version or time. Asks anew each time."""
        with self.reported():
            self.system.invalidate_cache(self.system._parent(self.key))
            found: dict[str, Any] = self.system.info(self.key)
            return found

    @cached_property
    def system(self) -> Any:
        """Return the fsspec file system. Raises DatasetError if its package is not installed."""
        return self._opened[0]

    @property
    def key(self) -> str:
        """Return the file's name in `system`."""
        return str(self._opened[1])

    def __getstate__(self) -> dict[str, Any]:
        return {"url": self.url}  # connections of a file system must not leave their process

    @cached_property
    def _opened(self) -> tuple[Any, str]:
        import fsspec

        with self.reported():
            system, key = fsspec.core.url_to_fs(self.url)
            return system, key

    def _kind(self) -> str | None:
        """Return ``file`` or ``directory`` (on the web always ``file``); None if there is neither.

        The store's own `isfile` and `isdir` are not used: they return False for every failure, refused access included.
        """
        try:
            with self.reported(missing=True):
                return str(self.system.info(self.key)["type"])
        except FileNotFoundError as error:
            cause = error.__cause__
            if self._is_web and cause is not None and getattr(cause, "status", None) not in _GONE:
                # fsspec raises this also for a server that refuses or does not answer
                raise DatasetError(f"{self.url}: cannot be read: {type(cause).__name__}: {cause}") from cause
            return None

    @property
    def _is_web(self) -> bool:
        return self.url.startswith(("http://", "https://"))

    def _plain(self, part: str) -> str:
        """Decode a part of a URL to a name: only web addresses have percent-encoded characters."""
        return unquote(part) if self._is_web else part

    def _of(self, key: str) -> RemotePath:
        """Return the file that the store calls `key`, spelled as this folder is."""
        here = self.key.rstrip("/")
        if key.startswith(f"{here}/"):
            return RemotePath(f"{self.url}{key[len(here) :].rstrip('/')}")
        return RemotePath(self.system.unstrip_protocol(key).rstrip("/"))

    @contextmanager
    def reported(self, *, missing: bool = False) -> Iterator[None]:
        """Turn errors of fsspec and its back ends into DatasetError; a missing file only unless `missing`."""
        try:
            yield
        except FileNotFoundError as error:
            if missing:
                raise
            raise DatasetError(f"{self.url}: no such file or folder") from error
        except ImportError as error:
            scheme = self.url.partition("://")[0]
            package = _PACKAGES.get(scheme)
            advice = f"`pip install {package}`" if package else str(error)
            raise DatasetError(f"{self.url}: reading {scheme}:// needs {advice}") from error
        except DatasetError:
            raise
        except Exception as error:  # every back end has its own errors
            raise DatasetError(f"{self.url}: cannot be read: {reason_of(error)}") from error


SourcePath = Path | RemotePath
"""Location of input. Output is always a local `Path`."""


def source_path(place: str | SourcePath) -> SourcePath:
    """Return the path that `place` stands for: a URL if it has a scheme, otherwise a local path.

    ``file://`` is a local path. Raises DatasetError if a URL is nothing but a scheme.
    """
    if not isinstance(place, str):
        return place
    scheme, separator, rest = place.partition("://")
    if not separator:
        return Path(place)
    if scheme in LOCAL_SCHEMES:
        return Path(unquote(rest))
    if not rest.strip("/"):
        raise DatasetError(f"{place}: got a URL without a bucket, host or folder, expected one")
    return RemotePath(place.rstrip("/"))


def absolute(path: SourcePath) -> SourcePath:
    """Return where `path` is from anywhere, with its links as they are: a link may have a name that its target lacks.

    ``..`` is resolved where that leads to the same place.
    """
    if isinstance(path, RemotePath):
        return path
    plain = Path(os.path.normpath(path.absolute()))
    return plain if plain.resolve() == path.resolve() else path.absolute()


def files_below(folder: Path, broken: list[Path] | None = None) -> list[Path]:
    """Return all files below a folder, sorted; folders behind links too, but none twice, as where links go in circles.

    Where a folder can be reached in two ways, the one without links counts, else the first by name. Links that lead
    nowhere are added to `broken`.
    """
    found: list[Path] = []
    walked = {Path(os.path.realpath(folder))}
    linked: list[Path] = []
    folders = [folder]
    while folders or linked:
        here = folders.pop() if folders else linked.pop(0)
        for path in sorted(here.iterdir()) if os.access(here, os.R_OK | os.X_OK) else []:
            if path.is_file():
                found.append(path)
            elif not path.is_dir():
                if broken is not None and path.is_symlink():
                    broken.append(path)
            elif path.is_symlink():
                linked.append(path)
            elif (real := Path(os.path.realpath(path))) not in walked:
                walked.add(real)
                folders.append(path)
        while linked and not folders:
            real = Path(os.path.realpath(linked[0]))
            if real not in walked:
                walked.add(real)
                break
            linked.pop(0)
    return sorted(found)


def path_within(file: SourcePath, folder: SourcePath) -> PurePosixPath:
    """Return the path of `file` within `folder`. Raises ValueError if it does not lie there."""
    if isinstance(file, RemotePath):
        return file.relative_to(folder)
    return PurePosixPath(file.relative_to(str(folder)).as_posix())


def lies_within(file: SourcePath, folder: SourcePath) -> bool:
    """Return whether `file` is `folder` or lies in it."""
    if isinstance(file, RemotePath):
        return file.is_relative_to(folder)
    return isinstance(folder, Path) and file.is_relative_to(folder)


def local_file(path: SourcePath) -> Path:
    """Return a local file with the contents of `path`: itself, or a copy in the cache. Open it at once.

    Raises:
        DatasetError: `path` is remote and missing or cannot be reached, or the cache cannot be written.

    """
    if isinstance(path, Path):
        return path
    from genie_core.data.storage.file_cache import cached_copy

    return cached_copy(path)


__all__ = [
    "RemotePath",
    "SourcePath",
    "absolute",
    "files_below",
    "lies_within",
    "local_file",
    "path_within",
    "source_path",
]
