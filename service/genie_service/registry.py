"""Registry of the hosted models: lists, loads, lends and unloads them.

A model is a bundle folder; its name is the folder's. The models folder is read again whenever models are listed or a
name is unknown, so that a bundle copied in later can be loaded without a restart. A bundle whose files were replaced is
loaded beside the old one, which the calls that use it keep until they end.
"""

from __future__ import annotations

import asyncio
import logging
from collections.abc import AsyncIterator, Awaitable, Callable, Iterable
from contextlib import asynccontextmanager
from dataclasses import dataclass
from pathlib import Path

from genie_core.bundles import DEFAULT, models_dir
from genie_core.data import Computation, Precision
from genie_core.errors import GenieError, ModelError
from genie_core.models.bundle import (
    ALIGNMENTS,
    CARD,
    CONFIG,
    Bundle,
    BundleInfo,
    load_bundle,
    read_bundle_info,
)
from genie_core.models.computation import computation_on
from genie_service.bundle_folders import Stamp, bundle_folders, can_be_named, no_bundle, stamp_of
from genie_service.engine import Engine
from genie_service.errors import ModelLoadingError, UnknownModelError
from genie_service.fair_queue import Operation
from genie_service.hosted import Entry, State
from genie_service.loaded_model import LoadedModel
from genie_service.paths import without_path

_log = logging.getLogger(__name__)

_NAMES_LISTED = 20
"""Largest number of model names listed in an error."""


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
        self._entries: dict[str, Entry] = {}
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

    def known(self) -> list[ModelStatus]:
        """Return the status of every model as last seen, in no order, without reading the folder; from any thread."""
        return [self._status(entry) for entry in list(self._entries.values())]

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
        """Load a model and warm it up; returns at once if it is loaded and its files are as they were.

        If they are not, the new bundle takes the old one's place once it is ready, and no call notices: those in
        progress end with the old one. One that was unloaded while calls still use it is taken back. Raises
        UnknownModelError; ModelError on failure, and then an old one stays.
        """
        entry = await self._find(name)
        if entry.is_leaving and entry.take_back(await asyncio.to_thread(entry.stamp_now)):
            await self._set_state(entry, State.READY)
        if entry.loading is None and (entry.loaded is None or await asyncio.to_thread(entry.files_changed)):
            entry.loading = entry.loading or asyncio.create_task(self._load(entry))
        problem = ""
        if entry.loading is not None:
            # Loading continues if this caller gives up: others may wait for it.
            problem = await asyncio.shield(entry.loading)
        if entry.loaded is None:
            raise _not_ready(entry)
        if problem:
            raise ModelError(f"model {entry.name!r} stays as it was, its new files cannot be used: {problem}")
        return self._status(entry)

    async def unload(self, name: str) -> ModelStatus:
        """Take a model out of use at once, and free it when the calls in progress are done.

        Returns after that, or when a load has taken it back; if the caller gives up earlier, the model is freed all the
        same. Raises UnknownModelError.
        """
        entry = await self._find(name)
        if entry.loading is not None:
            await asyncio.wait([entry.loading])
        if entry.loaded is not None:
            entry.retire()
            await self._set_state(entry, State.UNLOADED)
        await entry.retired()
        return self._status(entry)

    async def _load(self, entry: Entry) -> str:
        """Load a model, or record and return why it cannot be loaded. One that is loaded serves until then."""
        if entry.loaded is None:
            await self._set_state(entry, State.LOADING)
        try:
            await entry.retired()  # never a third copy in memory, nor a second one where nobody waits for the first
            stamp, bundle = await asyncio.to_thread(self._read_bundle, entry.path, entry.bundle_id)
            model = None if bundle is None else LoadedModel(entry.name, bundle)
            if model is not None:
                await self._prepare(model)
        except Exception as error:
            known = isinstance(error, GenieError)
            if not known:
                _log.exception("unexpected error while loading model %s", entry.name)
            entry.loading = None
            text = without_path(str(error) if known else _unexpected(error), entry.path)
            await self._set_state(entry, State.FAILED if entry.loaded is None else State.READY, text)
            return text
        if model is not None and bundle is not None:
            if entry.loaded is not None:
                _log.info("model %s: bundle %.12s replaces %.12s", entry.name, bundle.bundle_id, entry.bundle_id)
            entry.retire()
            entry.loaded, entry.info = model, bundle.info
        entry.stamp, entry.loading = stamp, None
        await self._set_state(entry, State.READY)
        return ""

    def _read_bundle(self, path: Path, loaded_id: str) -> tuple[Stamp, Bundle | None]:
        """Return a bundle and the stamp of its files; no bundle if it is the one that is loaded.

        Raises ModelError if it cannot be used, or its files change meanwhile: parts of two bundles would mix.
        """
        self._check_links(path)
        try:
            stamp = stamp_of(path)
            if loaded_id and read_bundle_info(path).bundle_id == loaded_id:
                return stamp, None
            bundle = load_bundle(path, self._compute.device, self._compute.precision)
            changed = stamp_of(path) != stamp
        except OSError as error:
            raise ModelError(f"{path} cannot be read: {error.strerror}") from error
        if changed:
            raise ModelError(f"{path} changed while it was read: load it again when it is complete")
        return stamp, bundle

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

    async def _set_state(self, entry: Entry, state: State, message: str = "") -> None:
        entry.state, entry.message = state, message
        level = logging.WARNING if state is State.FAILED else logging.INFO
        _log.log(level, "model %s is %s%s", entry.name, state.value, message and f": {message}")
        for observer in self._observers:
            await observer()

    async def _find(self, name: str) -> Entry:
        name = name or self.default
        if name not in self._entries:
            await self._scan()
        if name not in self._entries:
            raise UnknownModelError(f"there is no model {name!r}; there are: {_listed(self._entries)}")
        return self._entries[name]

    async def _scan(self) -> None:
        """Update the entries from folders that are new, changed or gone; loaded models are left alone."""
        async with self._scanning:
            found = await asyncio.to_thread(bundle_folders, self._folder)
            self._note_nameless(found)
            for name in [n for n, e in self._entries.items() if n not in found and not e.in_memory]:
                del self._entries[name]
            for name, (path, stamp) in found.items():
                entry = self._entries.get(name) or Entry(name, path)
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

    def _note_nameless(self, found: dict[str, tuple[Path, Stamp]]) -> None:
        """Skip names that no message can carry, with one warning each."""
        for name in [name for name in found if not can_be_named(name)]:
            del found[name]
            if name not in self._nameless:
                _log.warning("bundle %r is left out: its folder's name is not printable UTF-8", name)
                self._nameless.add(name)

    def _choose_default(self, named: str | None) -> str:
        if not self._entries:
            raise ModelError(no_bundle(self._folder))
        if named is None and len(self._entries) == 1:
            return next(iter(self._entries))
        if named is None and self._folder == models_dir():
            return DEFAULT
        if named is None:
            raise ModelError(f"name the default model with --default-model; there are: {_listed(self._entries)}")
        if named not in self._entries:
            raise ModelError(f"there is no default model {named!r}; there are: {_listed(self._entries)}")
        return named

    def _status(self, entry: Entry) -> ModelStatus:
        return ModelStatus(
            entry.name, entry.state, entry.message, entry.info, entry.name == self.default, self._computation
        )


def _unexpected(error: Exception) -> str:
    return f"unexpected {type(error).__name__}, of which the server's log has more"


def _not_ready(entry: Entry) -> ModelError:
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
