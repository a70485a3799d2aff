"""Reads a client's stream: one message ahead of the work, and within the server's time limits."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncGenerator, AsyncIterator
from typing import TypeVar

from google.protobuf.message import Message

from genie_service.patience import Silence

T = TypeVar("T")

_SETTING = "idle_seconds"


async def next_or_none(source: AsyncIterator[T], silence: Silence, idle_seconds: float) -> T | None:
    """Return the next item of `source`, None at its end. Raises IdleError after `idle_seconds` of silence."""
    pending = asyncio.ensure_future(_next(source))
    try:
        return await silence.wait(pending, idle_seconds, _SETTING)
    finally:
        pending.cancel()
        await asyncio.gather(pending, return_exceptions=True)
        del pending  # as in `read_ahead`


async def read_ahead(source: AsyncGenerator[T], silence: Silence, idle_seconds: float) -> AsyncGenerator[T]:
    """Yield the items of `source`, each fetched while the previous one is processed.

    Only one is fetched ahead, so that memory stays bounded and a slow server slows its client down. Raises what
    `source` raises, and IdleError if the consumer has waited for a silent client for `idle_seconds`. Closing it
    (`contextlib.aclosing`) closes `source`.
    """
    pending = asyncio.ensure_future(_next(source))
    try:
        while (item := await silence.wait(pending, idle_seconds, _SETTING)) is not None:
            pending = asyncio.ensure_future(_next(source))
            yield item
    finally:
        pending.cancel()
        await asyncio.gather(pending, return_exceptions=True)
        await source.aclose()
        del pending  # it may hold what was raised, which holds this frame: the messages would never be freed


def part_of(message: Message) -> str:
    """Return which of its `part` oneof a stream's message holds, for an error text."""
    part = message.WhichOneof("part")
    return f"`{part}`" if part else "nothing"


async def _next(source: AsyncIterator[T]) -> T | None:
    return await anext(source, None)


__all__ = ["next_or_none", "part_of", "read_ahead"]
