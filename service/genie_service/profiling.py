"""``genie serve --profile DIR``: a torch profiler trace of the first batches, for Perfetto or chrome://tracing."""

from __future__ import annotations

import logging
import os
import threading
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

from torch._C._profiler import _ExperimentalConfig
from torch.profiler import profile, record_function

from genie_core.errors import GenieError

_log = logging.getLogger(__name__)

BATCHES = 200
"""Number of batches recorded; a longer trace is too large to view."""


class Profiler:
    """Records the first `BATCHES` batches of all lanes into a file in a folder; the engine's `Recorder`."""

    def __init__(self, folder: Path) -> None:
        """Prepare recording. Raises GenieError if the folder cannot be created."""
        try:
            folder.mkdir(parents=True, exist_ok=True)
        except OSError as error:
            raise GenieError(f"setting profile: {folder} cannot be made: {error.strerror}") from None
        self.path = folder / f"genie-{os.getpid()}.trace.json.gz"
        self._changed = threading.Condition()
        self._begun = self._running = 0
        self._over = False
        # Every lane has its own thread, which a profiler does not record by default.
        self._profile = profile(experimental_config=_ExperimentalConfig(profile_all_threads=True))

    @contextmanager
    def batch(self, name: str) -> Iterator[None]:
        """Record one batch, unless enough have been recorded."""
        if not self._begin():
            yield
            return
        try:
            with record_function(name):
                yield
        finally:
            self._end()

    def close(self) -> None:
        """Write the trace, unless already done."""
        with self._changed:
            if self._begun and not self._over:
                self._write()

    def _begin(self) -> bool:
        with self._changed:
            if self._over or self._begun >= BATCHES:
                return False
            if not self._begun:
                self._profile.start()
            self._begun += 1
            self._running += 1
            return True

    def _end(self) -> None:
        with self._changed:
            self._running -= 1
            if self._begun >= BATCHES and not self._running and not self._over:
                self._write()

    def _write(self) -> None:
        self._over = True
        self._profile.stop()
        self._profile.export_chrome_trace(str(self.path))
        _log.info("wrote a profile of %d batches to %s", self._begun, self.path)


__all__ = ["BATCHES", "Profiler"]
