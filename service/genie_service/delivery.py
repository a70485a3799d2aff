"""Hands a lane's result to the coroutine that awaits it on the event loop, keeping neither alive."""

from __future__ import annotations

import asyncio
from collections.abc import Callable
from contextlib import suppress
from typing import Any

from genie_service.fair_queue import Piece


def delivery(
    loop: asyncio.AbstractEventLoop, future: asyncio.Future[Any]
) -> Callable[[Piece, Any, BaseException | None], None]:
    """Return a function that hands a piece's result to whoever awaits `future`, without holding the piece."""

    def deliver(_: Piece, result: Any, error: BaseException | None) -> None:
        with suppress(RuntimeError):  # the loop is closed: nobody is waiting
            loop.call_soon_threadsafe(_settle, future, result, error)

    return deliver


def delivered(_: Piece, __: Any, ___: BaseException | None) -> None:
    """Placeholder for a delivery that has been made."""


def _settle(future: asyncio.Future[Any], result: Any, error: BaseException | None) -> None:
    if future.done():  # cancelled
        return
    if error is None:
        future.set_result(result)
    else:
        future.set_exception(error)


__all__ = ["delivered", "delivery"]
