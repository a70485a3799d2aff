"""Errors that only a server raises; `interceptors.error_status` maps them to status codes."""

from __future__ import annotations

from genie_core.errors import GenieError, ModelError


class UnknownModelError(ModelError):
    """A request names a model that the server does not have."""


class ModelLoadingError(ModelError):
    """A request names a model that is being loaded; it can be retried soon."""


class BusyError(GenieError):
    """The server has no room for more work.

    Attributes:
        retry_after_s: estimate of when it will have some, seconds.
        cause: the setting that limits, for the metrics.

    """

    def __init__(self, message: str, retry_after_s: float, cause: str = "busy") -> None:
        self.retry_after_s, self.cause = retry_after_s, cause
        super().__init__(message)


class IdleError(GenieError):
    """A client kept a stream open without sending anything for longer than the server allows."""


class UnknownCallerError(GenieError):
    """A call lacks the authentication that the server requires."""


class ForbiddenError(GenieError):
    """A call needs a scope that its caller's token does not have."""


class DrainingError(GenieError):
    """The server is shutting down and takes no new calls."""


__all__ = [
    "BusyError",
    "DrainingError",
    "ForbiddenError",
    "IdleError",
    "ModelLoadingError",
    "UnknownCallerError",
    "UnknownModelError",
]
