"""Worker threads of the device, supervised: one that fails outside of its work recovers and continues.

The engine defines a turn, and fails lost work.
"""

from __future__ import annotations

import logging
import threading
from collections.abc import Callable

_log = logging.getLogger(__name__)

MOST_FAILURES = 3
"""Number of consecutive failures after which a lane gives up."""


class LaneError(Exception):
    """Work was lost, or cannot be accepted, because of a defect of the server; the caller is not to blame."""


class Lanes:
    """Threads that call `turn` repeatedly until it returns False."""

    def __init__(
        self, number: int, turn: Callable[[], bool], recover: Callable[[], None], give_up: Callable[[], None]
    ) -> None:
        """Start the threads.

        Args:
            number: number of threads.
            turn: does one unit of work; returns False if there will be no more.
            recover: called in the lane's thread after its turn has raised: fails the work that was lost.
            give_up: called in the lane's thread after it has failed `MOST_FAILURES` times in a row, or `recover` has
                failed: no more work will be done, and all callers must be notified.

        """
        self._turn, self._recover, self._give_up = turn, recover, give_up
        self._threads = [
            threading.Thread(target=self._live, name=f"genie-lane-{i}", daemon=True) for i in range(number)
        ]
        for thread in self._threads:
            thread.start()

    @property
    def alive(self) -> int:
        """Number of lanes that have not ended."""
        return sum(thread.is_alive() for thread in self._threads)

    def join(self) -> None:
        """Return when every lane has ended."""
        for thread in self._threads:
            thread.join()

    def _live(self) -> None:
        failures = 0
        while True:
            try:
                if not self._turn():
                    return
                failures = 0
            except BaseException:
                failures += 1
                _log.critical("%s failed outside of its work", threading.current_thread().name, exc_info=True)
                if failures >= MOST_FAILURES or not self._recovered():
                    _log.critical("%s cannot go on: the server ends", threading.current_thread().name)
                    self._give_up()
                    return

    def _recovered(self) -> bool:
        try:
            self._recover()
        except BaseException:
            _log.critical("%s could not recover", threading.current_thread().name, exc_info=True)
            return False
        return True


__all__ = ["MOST_FAILURES", "LaneError", "Lanes"]
