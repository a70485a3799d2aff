"""Reading a client's stream: one message ahead of the work, and never for longer than the server's patience."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncGenerator, AsyncIterator
from typing import TypeVar

from google.protobuf.message import Message

from genie_service.errors import IdleError

T = TypeVar("T")


async def next_or_none(source: AsyncIterator[T], idle_seconds: float) -> T | None:
    """The next item of `source`, None at its end. Raises IdleError if nothing comes for `idle_seconds`."""
    return await _patiently(asyncio.ensure_future(_next(source)), idle_seconds)


async def read_ahead(source: AsyncGenerator[T], idle_seconds: float) -> AsyncGenerator[T]:
    """The items of `source`, each fetched while the one before is being worked on.

    Only one is fetched ahead, so that memory stays bounded and a slow server slows its client down. Raises what
    `source` raises, and IdleError if the consumer has waited for `idle_seconds`. Closing it (`contextlib.aclosing`)
    closes `source`.
    """
    pending = asyncio.ensure_future(_next(source))
    try:
        while (item := await _patiently(pending, idle_seconds)) is not None:
            pending = asyncio.ensure_future(_next(source))
            yield item
    finally:
        pending.cancel()
        await asyncio.gather(pending, return_exceptions=True)
        await source.aclose()
        del pending  # it may hold what was raised, which holds this frame: the messages would outlive the call


def part_of(message: Message) -> str:
    """Which of its `part` oneof a stream's message holds, in words for an error text."""
    part = message.WhichOneof("part")
    return f"`{part}`" if part else "nothing"


async def _next(source: AsyncIterator[T]) -> T | None:
    return await anext(source, None)


async def _patiently(pending: asyncio.Future[T | None], idle_seconds: float) -> T | None:
    try:
        async with asyncio.timeout(idle_seconds):
            return await pending
    except TimeoutError:
        raise IdleError(f"nothing came for {idle_seconds:g} s, the server's limit (idle_seconds)") from None
    finally:
        del pending  # as in `read_ahead`


__all__ = ["next_or_none", "part_of", "read_ahead"]
