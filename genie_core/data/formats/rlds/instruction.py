"""Finds what the robot was to do, in words, among the features of an RLDS episode. Reads no file.

There is no one name for it: these are the names of the datasets of Open X-Embodiment. Embeddings beside it are numbers,
and passed over.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping

from genie_core.data.formats.rlds.example import Values
from genie_core.data.formats.rlds.features import FLAT, STEPS, step_count

_NAMES = ("language_instruction", "natural_language_instruction", "instruction")
_MORE_WORDS = ("language_instruction_2", "language_instruction_3")
"""The same in other words, as DROID has it."""

_PLACES = (STEPS, STEPS + "observation/", "", "episode_metadata/")

INSTRUCTIONS = tuple(place + name for place in _PLACES for name in (*_NAMES, *_MORE_WORDS))
"""Names in a record, the first that holds words counts: of each step, of its observation, of the episode."""

_NUMBERED = STEPS + "observation/instruction"
"""Language Table has the bytes of a text as numbers, as many in each step, padded with zeros."""


def find_instruction(values: Mapping[str, Values]) -> str | None:
    """Return the instruction of an episode, without white space around it; None where there is none.

    Where it is not the same in every step the first that is not empty counts. Text is UTF-8, bytes that are not become
    U+FFFD.
    """
    count = step_count(values)
    held = ((name, values.get(name, values.get(name + FLAT, ()))) for name in INSTRUCTIONS)
    texts = (_words(text) for name, feature in held for text in _texts(name, feature, count))
    return next(filter(None, texts), None)


def _texts(name: str, held: Values, count: int | None) -> Iterator[bytes]:
    """The texts of one feature in the order of the steps; none where it holds anything else."""
    if not len(held):
        return
    if isinstance(held[0], bytes):
        yield from (text for text in held if isinstance(text, bytes))
    elif name == _NUMBERED and count and len(held) > count and not len(held) % count:
        numbers = [int(number) for number in held]
        if min(numbers) >= 0 and max(numbers) < 256:
            width = len(numbers) // count
            yield from (bytes(numbers[start : start + width]) for start in range(0, len(numbers), width))


def _words(text: bytes) -> str:
    return text.decode("utf-8", "replace").replace("\0", "").strip()


__all__ = ["INSTRUCTIONS", "find_instruction"]
