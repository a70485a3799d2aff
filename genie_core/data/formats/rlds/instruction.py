"""Language instruction of an RLDS episode, found among its features. Reads no file.

Its feature has no standard name: those known here occur in the datasets of Open X-Embodiment. Embeddings of the
instruction are numbers, and skipped.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping

from genie_core.data.formats.rlds.example import Values
from genie_core.data.formats.rlds.features import FLAT, STEPS, step_count

_NAMES = ("language_instruction", "natural_language_instruction", "instruction")
_MORE_WORDS = ("language_instruction_2", "language_instruction_3")
"""Paraphrases of the same instruction, as DROID has them."""

_PLACES = (STEPS, STEPS + "observation/", "", "episode_metadata/")

INSTRUCTIONS = tuple(place + name for place in _PLACES for name in (*_NAMES, *_MORE_WORDS))
"""Names of features by level (step, its observation, episode); the first one that holds words counts."""

_NUMBERED = STEPS + "observation/instruction"
"""Language Table stores the bytes of the text as numbers, equally many in each step, padded with zeros."""


def find_instruction(values: Mapping[str, Values]) -> str | None:
    """Return the instruction of an episode, stripped of white space; None if there is none.

    If it differs between steps, the first one that is not empty counts. Text is UTF-8; invalid bytes become U+FFFD.
    """
    count = step_count(values)
    held = ((name, values.get(name, values.get(name + FLAT, ()))) for name in INSTRUCTIONS)
    texts = (_words(text) for name, feature in held for text in _texts(name, feature, count))
    return next(filter(None, texts), None)


def _texts(name: str, held: Values, count: int | None) -> Iterator[bytes]:
    """Yield the texts of one feature in step order; nothing if it holds anything else."""
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
