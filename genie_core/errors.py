"""The small family of errors that Genie raises for its users.

Each is raised where the fact is known and says what was passed and what is expected. The command line turns it into an
exit code and the service into a status code, in one place each.
"""

from __future__ import annotations

import re
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from pydantic import ValidationError


class GenieError(Exception):
    """Base of all errors meant for the user: the text is the whole message."""


class DatasetError(GenieError):
    """A dataset, episode or file cannot be read or written as asked."""


class SourceGoneError(DatasetError):
    """What was read or labelled once is not where it was any more."""


class ModelError(GenieError):
    """A bundle, checkpoint or model configuration cannot be used as asked."""


class RequestError(GenieError):
    """An argument of a request is wrong. `field` names it as the caller spelled it, e.g. ``frames.dtype``."""

    def __init__(self, field: str, message: str) -> None:
        self.field = field
        super().__init__(f"{field}: {message}")


def problems_of(error: ValidationError, most: int = 5) -> str:
    """Describe the first `most` problems that pydantic found: ``features.top.shape: Input should be ...``."""
    problems = error.errors(include_url=False)
    said = [f"{'.'.join(map(str, problem['loc']))}: {problem['msg']}".removeprefix(": ") for problem in problems[:most]]
    return "; ".join(said) + (f"; and {len(problems) - most} more" if len(problems) > most else "")


def reason_of(error: BaseException) -> str:
    """Say why a library failed, in words: what its error says, on one line, without the name of Python's class.

    An error without a text is described by the name of its class.
    """
    text = " ".join(str(error).split())
    if isinstance(error, KeyError):
        return f"{text} is missing"
    words = re.findall(r"[A-Z]+(?![a-z])|[A-Z]?[a-z]+", type(error).__name__.removesuffix("Error"))
    return text or " ".join(words).lower() or "no reason given"


__all__ = ["DatasetError", "GenieError", "ModelError", "RequestError", "SourceGoneError", "problems_of", "reason_of"]
