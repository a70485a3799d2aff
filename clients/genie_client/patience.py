"""When to try again what the server could not take, and when to give up. Pure: trying and waiting is elsewhere."""

from __future__ import annotations

from dataclasses import dataclass

from genie_client.errors import ServerBusyError, ServerError, ServerUnavailableError

BULK_PATIENCE_S = 600.0
"""For labelling a dataset: a server is restarted, or a network mended, in less."""

CALL_PATIENCE_S = 10.0
"""For one labelling stream that a program waits for."""

MOST_LOST = 20
"""An episode that was accepted and then lost so often is not begun again: it may be what the server dies of."""

_FIRST_S = 0.5
_LONGEST_S = 15.0
"""What the doubling waits begin with and stop at, where the server gives no hint."""


@dataclass(frozen=True)
class Patience:
    """How long to wait for a server, in all and between two tries.

    Attributes:
        seconds: after so long without any progress, give up; 0: do not try again.
        passing: errors that may not come again when the same is tried again.

    """

    seconds: float
    passing: tuple[type[ServerError], ...] = (ServerBusyError, ServerUnavailableError)

    def next_wait_s(self, error: Exception, failures: int, waited_s: float, draw: float) -> float | None:
        """Seconds until the next try; None: give up.

        The waits double from try to try. A part of each is drawn, so that many clients of a server that comes back do
        not all come at once; none is shorter than the server's hint.

        Args:
            error: what the last try failed of.
            failures: tries so far, all of which failed; 1 or more.
            waited_s: seconds since anything last went on.
            draw: a random number in [0, 1).

        """
        if not isinstance(error, ServerError) or not isinstance(error, self.passing):
            return None
        backoff_s = min(_LONGEST_S, _FIRST_S * 2.0 ** min(failures - 1, 10))
        least_s, left_s = error.retry_after_s or 0.0, self.seconds - waited_s
        if left_s <= 0 or least_s > left_s:
            return None
        return min(max(least_s, backoff_s / 2) + draw * backoff_s / 2, left_s)


@dataclass(frozen=True)
class Waiting:
    """What a run waits for.

    Attributes:
        error: why it cannot go on.
        seconds: since when it has not.
        patience_s: after how many it gives up.

    """

    error: Exception
    seconds: float
    patience_s: float

    def __str__(self) -> str:
        reason = self.error.reason if isinstance(self.error, ServerError) else str(self.error)
        return f"waiting for the server: {reason} ({self.seconds:.0f} of {self.patience_s:g} s)"


__all__ = ["BULK_PATIENCE_S", "CALL_PATIENCE_S", "MOST_LOST", "Patience", "Waiting"]
