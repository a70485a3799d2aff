"""The small family of errors that Genie raises for its users.

Each is raised where the fact is known, says what came and what was wanted, and is turned into an exit code by the
command line and into a status code by the service, in one place each.
"""

from __future__ import annotations

from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from pydantic import ValidationError


class GenieError(Exception):
    """Base of every error that is the user's to read: its text is the whole message."""


class DatasetError(GenieError):
    """A dataset, episode or file cannot be read or written as asked."""


class ModelError(GenieError):
    """A bundle, checkpoint or model configuration cannot be used as asked."""


class RequestError(GenieError):
    """A request's argument is wrong. `field` names the argument as the caller spelled it, e.g. ``frames.dtype``."""

    def __init__(self, field: str, message: str) -> None:
        self.field = field
        super().__init__(f"{field}: {message}")


def problems_of(error: ValidationError, most: int = 5) -> str:
    """What pydantic found wrong, for the user: ``features.top.shape: Input should be ...``, at most so many of them."""
    problems = error.errors(include_url=False)
    said = [f"{'.'.join(map(str, problem['loc']))}: {problem['msg']}".removeprefix(": ") for problem in problems[:most]]
    return "; ".join(said) + (f"; and {len(problems) - most} more" if len(problems) > most else "")


__all__ = ["DatasetError", "GenieError", "ModelError", "RequestError", "problems_of"]
