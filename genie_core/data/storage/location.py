"""Where robot video lies: a local path, or a URL that fsspec knows (s3://, gs://, hf://, http://, memory:// ...).

Readers open files only through `local_file`, which brings a remote one into a bounded cache, whole and once (see
`file_cache`). Listing and looking up go through fsspec itself; its errors become DatasetError here.
"""

from __future__ import annotations

import re
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from functools import cached_property
from pathlib import Path, PurePosixPath
from typing import Any
from urllib.parse import unquote, urlsplit

from genie_core.errors import DatasetError

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
"""What to install for a kind of URL, where that is not fsspec alone."""

_GONE = (404, 410)
"""What a web server answers where there is nothing."""


@dataclass(frozen=True, order=True)
class RemotePath:
    """A file or folder behind a URL, with as much of `pathlib.Path` as readers need. Making one reads nothing.

    Every method that looks raises DatasetError, naming the URL, where the store cannot be reached.

    Attributes:
        url: with its scheme, without a slash at the end.

    """

    url: str

    def __str__(self) -> str:
        return self.url

    def __truediv__(self, name: str | PurePosixPath) -> RemotePath:
        return RemotePath(f"{self.url}/{name}")

    @property
    def name(self) -> str:
        """The last part of the URL, of one of the web without its query."""
        url = urlsplit(self.url)._replace(query="", fragment="").geturl() if self._is_web else self.url
        return self._plain(url.rstrip("/").rpartition("/")[2])

    @property
    def suffix(self) -> str:
        """What `name` ends in, with its dot."""
        return PurePosixPath(self.name).suffix

    @property
    def stem(self) -> str:
        """`name` without its suffix."""
        return PurePosixPath(self.name).stem

    @property
    def parents(self) -> tuple[RemotePath, ...]:
        """The folders around it, nearest first, up to the store's root."""
        depth = max(0, self.url.count("/") - 2)
        return tuple(RemotePath(self.url.rsplit("/", up)[0]) for up in range(1, depth + 1))

    @property
    def parent(self) -> RemotePath:
        """The folder around it."""
        return self.parents[0] if self.parents else self

    def resolve(self) -> RemotePath:
        """Itself: a URL is absolute."""
        return self

    def is_relative_to(self, folder: SourcePath) -> bool:
        """Whether it lies in `folder`, or is it."""
        return isinstance(folder, RemotePath) and f"{self.url}/".startswith(f"{folder.url}/")

    def relative_to(self, folder: SourcePath) -> PurePosixPath:
        """Its path within `folder`; raises ValueError where it does not lie there."""
        if not self.is_relative_to(folder):
            raise ValueError(f"{self.url} does not lie in {folder}")
        return PurePosixPath(self._plain(self.url[len(str(folder)) + 1 :]))

    def exists(self) -> bool:
        """Whether there is a file or folder."""
        with self.reported():
            return bool(self.system.exists(self.key))

    def is_file(self) -> bool:
        """Whether there is a file."""
        if self._is_web:
            return self._kind() is not None and not self.is_dir()
        return self._kind() == "file"

    def is_dir(self) -> bool:
        """Whether there is a folder; on the web a page of links whose name does not end as a file's does."""
        if self._is_web and re.search(r"[A-Za-z]", self.suffix):
            return False  # asking would fetch the file
        if self._is_web:
            with self.reported():
                return bool(self.system.isdir(self.key))
        return self._kind() == "directory"

    def files(self) -> list[RemotePath]:
        """All files below this folder, however deep, sorted."""
        with self.reported():
            return sorted(self._of(key) for key in self.system.find(self.key))

    def glob(self, pattern: str) -> Iterator[RemotePath]:
        """Files and folders below this folder that match, in no particular order."""
        with self.reported():
            keys = self.system.glob(f"{self.key.rstrip('/')}/{pattern}")
        return (self._of(key) for key in keys)

    def read_bytes(self) -> bytes:
        """What the file holds; raises FileNotFoundError where there is none."""
        with self.reported(missing=True):
            data: bytes = self.system.cat_file(self.key)
            return data

    def read_text(self, encoding: str = "utf-8") -> str:
        """What the file holds, as text; raises FileNotFoundError where there is none."""
        return self.read_bytes().decode(encoding)

    def forget(self) -> None:
        """Drop what this process remembers of the store, so that what has changed there is seen."""
        from genie_core.data.storage.file_cache import remote_stamp

        with self.reported():
            self.system.invalidate_cache()
        remote_stamp.cache_clear()

    def info(self) -> dict[str, Any]:
        """What the store says of the file: ``size``, and where it knows them a tag or a time. Asked anew each time."""
        with self.reported():
            self.system.invalidate_cache(self.system._parent(self.key))
            found: dict[str, Any] = self.system.info(self.key)
            return found

    @cached_property
    def system(self) -> Any:
        """The fsspec file system. Raises DatasetError where its package is not installed."""
        return self._opened[0]

    @property
    def key(self) -> str:
        """What `system` calls the file."""
        return str(self._opened[1])

    def __getstate__(self) -> dict[str, Any]:
        return {"url": self.url}  # a file system's connections stay in their process

    @cached_property
    def _opened(self) -> tuple[Any, str]:
        import fsspec

        with self.reported():
            system, key = fsspec.core.url_to_fs(self.url)
            return system, key

    def _kind(self) -> str | None:
        """``file`` or ``directory``, of the web always ``file``; None where there is neither.

        Not by the store's own `isfile` and `isdir`: they take whatever fails, refused access too, for a No.
        """
        try:
            with self.reported(missing=True):
                return str(self.system.info(self.key)["type"])
        except FileNotFoundError as error:
            cause = error.__cause__
            if self._is_web and cause is not None and getattr(cause, "status", None) not in _GONE:
                # fsspec says so of a server that refuses or does not answer, too
                raise DatasetError(f"{self.url}: cannot be read: {type(cause).__name__}: {cause}") from cause
            return None

    @property
    def _is_web(self) -> bool:
        return self.url.startswith(("http://", "https://"))

    def _plain(self, part: str) -> str:
        """Part of a URL as a name: only those of the web have characters that are written as numbers."""
        return unquote(part) if self._is_web else part

    def _of(self, key: str) -> RemotePath:
        """The file that the store calls `key`, spelled as this folder is."""
        here = self.key.rstrip("/")
        if key.startswith(f"{here}/"):
            return RemotePath(f"{self.url}{key[len(here) :].rstrip('/')}")
        return RemotePath(self.system.unstrip_protocol(key).rstrip("/"))

    @contextmanager
    def reported(self, *, missing: bool = False) -> Iterator[None]:
        """Turn what fsspec and its back ends raise into DatasetError; a missing file only unless `missing`."""
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
        except Exception as error:  # every back end has errors of its own
            raise DatasetError(f"{self.url}: cannot be read: {type(error).__name__}: {error}") from error


SourcePath = Path | RemotePath
"""Where input lies. Output is always a local `Path`."""


def source_path(place: str | SourcePath) -> SourcePath:
    """Return the path that a user means by `place`: a URL if it has a scheme, otherwise a local path.

    ``file://`` is a local path. Raises DatasetError where a URL is a scheme and nothing else.
    """
    if not isinstance(place, str):
        return place
    scheme, separator, rest = place.partition("://")
    if not separator:
        return Path(place)
    if scheme in LOCAL_SCHEMES:
        return Path(unquote(rest))
    if not rest.strip("/"):
        raise DatasetError(f"{place}: the URL names no bucket, host or folder")
    return RemotePath(place.rstrip("/"))


def path_within(file: SourcePath, folder: SourcePath) -> PurePosixPath:
    """Return the path of `file` within `folder`; raises ValueError where it does not lie there."""
    if isinstance(file, RemotePath):
        return file.relative_to(folder)
    return PurePosixPath(file.relative_to(str(folder)).as_posix())


def lies_within(file: SourcePath, folder: SourcePath) -> bool:
    """Whether `file` lies in `folder`, or is it."""
    if isinstance(file, RemotePath):
        return file.is_relative_to(folder)
    return isinstance(folder, Path) and file.is_relative_to(folder)


def local_file(path: SourcePath) -> Path:
    """Return a local file with the contents of `path`: itself, or a copy in the cache, to be opened at once.

    Raises:
        DatasetError: `path` is remote and missing, or cannot be reached, or the cache cannot be written.

    """
    if isinstance(path, Path):
        return path
    from genie_core.data.storage.file_cache import cached_copy

    return cached_copy(path)


__all__ = ["RemotePath", "SourcePath", "lies_within", "local_file", "path_within", "source_path"]
