"""Meeting a server that has not been started, or is not ready, and which of its failures pass."""

from __future__ import annotations

import time
from collections.abc import Callable

from genie_client.client import Client
from genie_client.errors import ServerBusyError, ServerError, ServerTimeoutError, ServerUnavailableError
from genie_client.patience import Patience, Tries, Waiting
from genie_client.records import ModelInfo

PASSING = (ServerBusyError, ServerUnavailableError, ServerTimeoutError)
"""No deadline is set here: a timeout means that the server has not heard from us for long."""


def meet(client: Client, model: str | None, patience_s: float, wait: Callable[[Waiting | None], None]) -> ModelInfo:
    """Ask for the model, waiting up to `patience_s` seconds for a server that has not been started or is not ready.

    Raises what `Client.model` raises. `wait` is called with what is waited for, as in `BulkRun`.
    """
    tries = Tries(Patience(patience_s, PASSING))
    while True:
        try:
            info = client.model(model)
        except ServerError as error:
            wait_s = tries.wait_s(error)
            if wait_s is None:
                if patience_s and isinstance(error, PASSING):
                    error.add_note(f"waited {tries.waited_s:.0f} s for it (--patience {patience_s:g})")
                raise
            wait(Waiting(error, tries.waited_s, patience_s))
            time.sleep(wait_s)
            continue
        if tries.failures:
            wait(None)
        return info


__all__ = ["PASSING", "meet"]
