"""Registry of the hosted models: lists, loads, lends and unloads them.

A model is a bundle folder; its name is the folder's. The models folder is read again whenever models are listed or a
name is unknown, so that a bundle copied in later can be loaded without a restart.
"""

from __future__ import annotations

import asyncio
import enum
import logging
from collections.abc import AsyncIterator, Awaitable, Callable, Iterable
from contextlib import asynccontextmanager, suppress
from dataclasses import dataclass
from pathlib import Path

from genie_core.bundles import DEFAULT, models_dir
from genie_core.data import Computation, Precision
from genie_core.errors import GenieError, ModelError
from genie_core.models.bundle import (
    ALIGNMENTS,
    CARD,
    CONFIG,
    BundleInfo,
    load_bundle,
    meant_as_bundle,
    read_bundle_info,
)
from genie_core.models.computation import computation_on
from genie_service.engine import Engine
from genie_service.errors import ModelLoadingError, UnknownModelError
from genie_service.fair_queue import Operation
from genie_service.loaded_model import LoadedModel
from genie_service.paths import without_path

_log = logging.getLogger(__name__)

_NAMES_LISTED = 20
"""Largest number of model names listed in an error."""


class State(enum.Enum):
    """State of a model."""

    UNLOADED = "unloaded"
    LOADING = "loading"
    READY = "ready"
    FAILED = "failed"


@dataclass(frozen=True)
class Compute:
    """How models compute: torch device, precision, and largest number of pieces of work in a batch."""

    device: str = "cpu"
    precision: Precision = "float32"
    largest_batch: int = 1


@dataclass(frozen=True)
class ModelStatus:
    """Status of a model. If its bundle cannot be read, `info` is None and `message` says why."""

    name: str
    state: State
    message: str
    info: BundleInfo | None
    is_default: bool
    computation: Computation


class ModelRegistry:
    """Loads, lends and unloads models. Created by `open`; used from one event loop."""

    def __init__(self, folder: Path, compute: Compute, engine: Engine, *, follow_links: bool = False) -> None:
        self._folder = folder.absolute()
        self._follow_links = follow_links
        self._compute = compute
        self._computation = computation_on(compute.device, compute.precision)
        self._engine = engine
        self._entries: dict[str, _Entry] = {}
        self._nameless: set[str] = set()
        self._scanning = asyncio.Lock()
        self._observers: list[Callable[[], Awaitable[None]]] = []
        self.default = ""

    @classmethod
    async def open(
        cls, folder: Path, default: str | None, compute: Compute, engine: Engine, *, follow_links: bool = False
    ) -> ModelRegistry:
        """Read `folder` (bundle folders, or one bundle) without loading anything.

        `default` names the model used when a request names none; it may be None if there is only one, and for the
        shipped bundles. Bundles that are links, or contain links, are listed but not used unless `follow_links`, since
        they may lead out of the folder.

        Raises ModelError if there is no bundle, or the default is missing or ambiguous.
        """
        registry = cls(folder, compute, engine, follow_links=follow_links)
        await registry._scan()
        registry.default = registry._choose_default(default)
        return registry

    def on_change(self, observer: Callable[[], Awaitable[None]]) -> None:
        """Await `observer()` whenever a model's state has changed."""
        self._observers.append(observer)

    async def statuses(self) -> list[ModelStatus]:
        """Return the status of every model, ordered by name."""
        await self._scan()
        return [self._status(entry) for _, entry in sorted(self._entries.items())]

    async def status(self, name: str) -> ModelStatus:
        """Return the status of one model; "" is the default. Raises UnknownModelError."""
        return self._status(await self._find(name))

    @property
    def is_default_ready(self) -> bool:
        """Return whether requests that name no model can be served."""
        entry = self._entries.get(self.default)
        return entry is not None and entry.loaded is not None

    @asynccontextmanager
    async def lease(self, name: str) -> AsyncIterator[LoadedModel]:
        """Yield a loaded model, which stays in memory while the context lasts; "" is the default.

        Raises UnknownModelError, ModelLoadingError, or ModelError if it is not loaded.
        """
        entry = await self._find(name)
        if entry.loaded is None:
            raise _not_ready(entry)
        with entry.loaded.in_use() as model:
            yield model

    async def load(self, name: str) -> ModelStatus:
        """Load a model and warm it up; returns at once if loaded. Raises UnknownModelError, ModelError on failure."""
        entry = await self._find(name)
        if entry.loaded is None:
            if entry.loading is None:
                entry.loading = asyncio.create_task(self._load(entry))
            # Loading continues if this caller gives up: others may wait for it.
            await asyncio.shield(entry.loading)
        if entry.loaded is None:
            raise _not_ready(entry)
        return self._status(entry)

    async def unload(self, name: str) -> ModelStatus:
        """Take a model out of use at once, and free it when the calls in progress are done.

        Returns after that; if the caller gives up earlier, the model is freed all the same. Raises UnknownModelError.
        """
        entry = await self._find(name)
        if entry.loading is not None:
            await asyncio.wait([entry.loading])
        if entry.loaded is not None:
            entry.retire()
            await self._set_state(entry, State.UNLOADED)
        await entry.retired()
        return self._status(entry)

    async def _load(self, entry: _Entry) -> None:
        """Load a model, or record why it cannot be loaded."""
        await self._set_state(entry, State.LOADING)
        try:
            await entry.retired()  # never two copies of a model in memory
            await asyncio.to_thread(self._check_links, entry.path)
            bundle = await asyncio.to_thread(load_bundle, entry.path, self._compute.device, self._compute.precision)
            model = LoadedModel(entry.name, bundle)
            await self._prepare(model)
        except Exception as error:
            known = isinstance(error, GenieError)
            if not known:
                _log.exception("unexpected error while loading model %s", entry.name)
            entry.loading = None
            text = str(error) if known else _unexpected(error)
            await self._set_state(entry, State.FAILED, without_path(text, entry.path))
        else:
            entry.loaded, entry.info, entry.loading = model, bundle.info, None
            await self._set_state(entry, State.READY)

    async def _prepare(self, model: LoadedModel) -> None:
        def prepare(_: list[None]) -> list[None]:
            model.prepare(self._compute.largest_batch, self._engine.threads)
            return [None]

        def warm(_: list[None]) -> list[None]:
            model.warm()
            return [None]

        job = self._engine.job()
        await job.run(Operation(f"{model.name}/prepare", prepare), None)
        await job.run_all(Operation(f"{model.name}/warm", warm), [None] * self._engine.lanes)
        shapes = {name: (found.sizes, found.in_threads) for name, found in model.shapes.items()}
        _log.info(
            "model %s: batches of these sizes change no bit (and if lone work uses all threads): %s",
            model.name,
            shapes,
        )

    async def _set_state(self, entry: _Entry, state: State, message: str = "") -> None:
        entry.state, entry.message = state, message
        level = logging.WARNING if state is State.FAILED else logging.INFO
        _log.log(level, "model %s is %s%s", entry.name, state.value, message and f": {message}")
        for observer in self._observers:
            await observer()

    async def _find(self, name: str) -> _Entry:
        name = name or self.default
        if name not in self._entries:
            await self._scan()
        if name not in self._entries:
            raise UnknownModelError(f"there is no model {name!r}; there are: {_listed(self._entries)}")
        return self._entries[name]

    async def _scan(self) -> None:
        """Update the entries from folders that are new, changed or gone; loaded models are left alone."""
        async with self._scanning:
            found = await asyncio.to_thread(_bundle_folders, self._folder)
            self._note_nameless(found)
            for name in [n for n, e in self._entries.items() if n not in found and not e.in_memory]:
                del self._entries[name]
            for name, (path, stamp) in found.items():
                entry = self._entries.get(name) or _Entry(name, path)
                if entry.stamp != stamp and not entry.in_memory:
                    info, problem = await asyncio.to_thread(self._read_info, path)
                    entry.describe(stamp, info, without_path(problem, path))
                    self._entries[name] = entry
                    if problem:
                        _log.warning("model %s cannot be used: %s", name, problem)

    def _read_info(self, path: Path) -> tuple[BundleInfo | None, str]:
        """Return a bundle's description, or None and the problem: a broken bundle never affects the others."""
        try:
            self._check_links(path)
            return read_bundle_info(path), ""
        except ModelError as error:
            return None, str(error)
        except Exception as error:
            _log.exception("unexpected error while reading bundle %s", path.name)
            return None, _unexpected(error)

    def _check_links(self, path: Path) -> None:
        """Raise ModelError if a bundle in the folder is a link or contains one, unless links are followed."""
        if self._follow_links:
            return
        inside = [path / CONFIG, path / CARD, *path.glob("*.safetensors"), path / ALIGNMENTS]
        inside += (path / ALIGNMENTS).glob("*")
        for part in ([] if path == self._folder else [path]) + inside:
            if part.is_symlink():
                raise ModelError(f"{part} is a link, which may lead anywhere: copy what it leads to, or --follow-links")

    def _note_nameless(self, found: dict[str, tuple[Path, _Stamp]]) -> None:
        """Skip names that no message can carry, with one warning each."""
        for name in [name for name in found if not _can_be_named(name)]:
            del found[name]
            if name not in self._nameless:
                _log.warning("bundle %r is left out: its folder's name is not printable UTF-8", name)
                self._nameless.add(name)

    def _choose_default(self, named: str | None) -> str:
        if not self._entries:
            raise ModelError(f"{self._folder} holds no bundle (a folder with config.json and weights), nor is it one")
        if named is None and len(self._entries) == 1:
            return next(iter(self._entries))
        if named is None and self._folder == models_dir():
            return DEFAULT
        if named is None:
            raise ModelError(f"name the default model with --default-model; there are: {_listed(self._entries)}")
        if named not in self._entries:
            raise ModelError(f"there is no default model {named!r}; there are: {_listed(self._entries)}")
        return named

    def _status(self, entry: _Entry) -> ModelStatus:
        return ModelStatus(
            entry.name, entry.state, entry.message, entry.info, entry.name == self.default, self._computation
        )


class _Entry:
    """One bundle folder. `stamp` changes when its files do."""

    def __init__(self, name: str, path: Path) -> None:
        self.name = name
        self.path = path
        self.stamp: _Stamp | None = None
        self.state = State.UNLOADED
        self.message = ""
        self.info: BundleInfo | None = None
        self.loading: asyncio.Task[None] | None = None
        self.loaded: LoadedModel | None = None
        self._retiring: asyncio.Task[None] | None = None

    @property
    def in_memory(self) -> bool:
        """Whether the model is loaded or being loaded."""
        return self.loaded is not None or self.loading is not None

    def describe(self, stamp: _Stamp, info: BundleInfo | None, problem: str) -> None:
        """Update the description, unless the model has been loaded meanwhile."""
        if not self.in_memory:
            self.stamp, self.info, self.message = stamp, info, problem
            self.state = State.FAILED if info is None else State.UNLOADED

    def retire(self) -> None:
        """Take the loaded model out of use; it is freed once nobody uses it, whether or not anybody waits for that."""
        if self.loaded is not None:
            self._retiring = asyncio.create_task(self.loaded.unused())
            self.loaded = None

    async def retired(self) -> None:
        """Return when a model that was taken out of use has been freed."""
        if self._retiring is not None:
            await asyncio.shield(self._retiring)


_Stamp = tuple[tuple[str, int, int], ...]


def _bundle_folders(folder: Path) -> dict[str, tuple[Path, _Stamp]]:
    """Map name to path and stamp (name, size and time of each file) for every bundle in `folder`, or `folder` itself.

    Bundles that disappear meanwhile are left out.
    """
    try:
        paths = [folder] if meant_as_bundle(folder) else list(folder.iterdir())
    except OSError as error:
        _log.warning("the models folder cannot be read: %s", error)
        return {}
    found = {}
    for path in paths:
        with suppress(OSError):
            if path == folder or (not path.name.startswith(".") and meant_as_bundle(path)):
                found[path.name] = (path, _stamp(path))
    return found


def _can_be_named(name: str) -> bool:
    try:
        name.encode()
    except UnicodeEncodeError:  # bytes that are not UTF-8
        return False
    return name.isprintable()


def _stamp(path: Path) -> _Stamp:
    stats = [(file.name, file.stat()) for file in sorted(path.iterdir()) if file.is_file()]
    return tuple((name, stat.st_size, stat.st_mtime_ns) for name, stat in stats)


def _unexpected(error: Exception) -> str:
    return f"unexpected {type(error).__name__}, of which the server's log has more"


def _not_ready(entry: _Entry) -> ModelError:
    if entry.state is State.LOADING:
        return ModelLoadingError(f"model {entry.name!r} is being loaded")
    if entry.state is State.FAILED:
        return ModelError(f"model {entry.name!r} could not be loaded: {entry.message}")
    return ModelError(f"model {entry.name!r} is not loaded; LoadModel loads it")


def _listed(names: Iterable[str]) -> str:
    ordered = sorted(names)
    more = len(ordered) - _NAMES_LISTED
    return ", ".join(ordered[:_NAMES_LISTED]) + (f" and {more} more" if more > 0 else "")


__all__ = ["Compute", "ModelRegistry", "ModelStatus", "State"]
