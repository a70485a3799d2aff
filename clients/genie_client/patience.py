"""Retry policy: when to retry what the server could not accept, and when to give up. Callers do the waiting."""

from __future__ import annotations

import random
import time
from dataclasses import dataclass

from genie_client.errors import ServerBusyError, ServerError, ServerUnavailableError

BULK_PATIENCE_S = 600.0
"""Default for labelling a dataset: restarting a server or repairing a network takes less."""

CALL_PATIENCE_S = 10.0
"""Default for one labelling stream that a program waits for."""

MOST_LOST = 20
"""Number of losses of an accepted episode after which it is not retried: it may be what crashes the server."""

_FIRST_S = 0.5
_LONGEST_S = 15.0
"""Shortest and longest of the doubling waits, unless the server gives a hint."""


@dataclass(frozen=True)
class Patience:
    """How long to wait for a server, in total and between tries.

    Attributes:
        seconds: time without any progress after which to give up; 0: do not retry.
        passing: errors that may not recur when retried.

    """

    seconds: float
    passing: tuple[type[ServerError], ...] = (ServerBusyError, ServerUnavailableError)

    def next_wait_s(self, error: Exception, failures: int, waited_s: float, draw: float) -> float | None:
        """Return seconds until the next try; None: give up.

        The waits double from try to try. A part of each is random, so that the clients of a server that returns do not
        all arrive at once; none is shorter than the server's hint.

        Args:
            error: error of the last try.
            failures: number of tries so far, all of which failed; 1 or more.
            waited_s: seconds since the last progress.
            draw: a random number in [0, 1).

        """
        if not isinstance(error, ServerError) or not isinstance(error, self.passing):
            return None
        backoff_s = min(_LONGEST_S, _FIRST_S * 2.0 ** min(failures - 1, 10))
        least_s, left_s = error.retry_after_s or 0.0, self.seconds - waited_s
        if left_s <= 0 or least_s > left_s:
            return None
        return min(max(least_s, backoff_s / 2) + draw * backoff_s / 2, left_s)


class Tries:
    """Tries of one call, all of which failed so far, from now on.

    Attributes:
        failures: their number.

    """

    def __init__(self, patience: Patience) -> None:
        self.failures = 0
        self._patience = patience
        self._began = time.monotonic()

    @property
    def waited_s(self) -> float:
        """Seconds since the first try began."""
        return time.monotonic() - self._began

    def wait_s(self, error: Exception) -> float | None:
        """Count a try that ended with `error`; return the seconds until the next, or None: give up."""
        self.failures += 1
        return self._patience.next_wait_s(error, self.failures, self.waited_s, random.random())


@dataclass(frozen=True)
class Waiting:
    """What a run is currently waiting for.

    Attributes:
        error: why it cannot continue.
        seconds: how long it has been waiting.
        patience_s: after how many seconds it gives up.

    """

    error: Exception
    seconds: float
    patience_s: float

    def __str__(self) -> str:
        reason = self.error.reason if isinstance(self.error, ServerError) else str(self.error)
        return f"waiting for the server: {reason} ({self.seconds:.0f} of {self.patience_s:g} s)"


__all__ = ["BULK_PATIENCE_S", "CALL_PATIENCE_S", "MOST_LOST", "Patience", "Tries", "Waiting"]
