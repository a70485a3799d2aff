"""One hosted bundle folder: in which state it is, and its model while that is in memory, lent, or on its way out."""

from __future__ import annotations

import asyncio
import enum
from pathlib import Path

from genie_core.models.bundle import BundleInfo
from genie_service.bundle_folders import Stamp, stamp_of
from genie_service.loaded_model import LoadedModel


class State(enum.Enum):
    """State of a model."""

    UNLOADED = "unloaded"
    LOADING = "loading"
    READY = "ready"
    FAILED = "failed"


class Entry:
    """One bundle folder: state, description, and the model while it is in memory. `stamp` changes with its files."""

    def __init__(self, name: str, path: Path) -> None:
        self.name = name
        self.path = path
        self.stamp: Stamp | None = None
        self.state = State.UNLOADED
        self.message = ""
        self.info: BundleInfo | None = None
        self.loading: asyncio.Task[str] | None = None
        self.loaded: LoadedModel | None = None
        self._retiring: asyncio.Task[None] | None = None
        self._retired: tuple[LoadedModel, Stamp | None] | None = None

    @property
    def in_memory(self) -> bool:
        """Whether the model is loaded or being loaded."""
        return self.loaded is not None or self.loading is not None

    @property
    def is_leaving(self) -> bool:
        """Whether a model that was taken out of use is still used."""
        return self.loaded is None and self._retired is not None

    @property
    def bundle_id(self) -> str:
        """Identity of the loaded bundle; empty if none is."""
        return "" if self.loaded is None else self.loaded.bundle.bundle_id

    def files_changed(self) -> bool:
        """Return whether the files are others than those that were loaded; False if they are gone."""
        now = self.stamp_now()
        return now is not None and now != self.stamp

    def stamp_now(self) -> Stamp | None:
        """Return the stamp of the files as they are; None if they are gone."""
        try:
            return stamp_of(self.path)
        except OSError:
            return None

    def describe(self, stamp: Stamp, info: BundleInfo | None, problem: str) -> None:
        """Update the description, unless the model has been loaded meanwhile."""
        if not self.in_memory:
            self.stamp, self.info, self.message = stamp, info, problem
            self.state = State.FAILED if info is None else State.UNLOADED

    def retire(self) -> None:
        """Take the loaded model out of use; it is freed once nobody uses it, whether or not anybody waits for that."""
        if self.loaded is not None:
            self._retiring = asyncio.create_task(self._free(self.loaded))
            self._retired, self.loaded = (self.loaded, self.stamp), None

    def take_back(self, stamp: Stamp | None) -> bool:
        """Put the model that was taken out of use back, if calls still use it and its files are as they were."""
        if self.in_memory or self._retired is None or self._retiring is None or self._retired[1] != stamp:
            return False
        self.loaded, self.stamp = self._retired
        self.info, self._retired = self.loaded.bundle.info, None
        self._retiring.cancel()
        return True

    async def retired(self) -> None:
        """Return when a model that was taken out of use has been freed, or put back."""
        if self._retiring is not None:
            await asyncio.wait([self._retiring])

    async def _free(self, model: LoadedModel) -> None:
        await model.unused()
        if self._retired is not None and self._retired[0] is model:
            self._retired = None


__all__ = ["Entry", "State"]
