"""Errors that only a server can meet. Which status code each becomes is decided in `interceptors.error_status`."""

from __future__ import annotations

from genie_core.errors import GenieError, ModelError


class UnknownModelError(ModelError):
    """A request names a model that the server does not have."""


class ModelLoadingError(ModelError):
    """A request names a model that is being loaded: it may be sent again soon."""


class BusyError(GenieError):
    """The server has all the work that it can hold. `retry_after_s` is its estimate of when it will have room."""

    def __init__(self, message: str, retry_after_s: float) -> None:
        self.retry_after_s = retry_after_s
        super().__init__(message)


class IdleError(GenieError):
    """A client kept a stream open and sent nothing for longer than the server allows."""


class UnknownCallerError(GenieError):
    """A call does not show whose it is, on a server that asks."""


class ForbiddenError(GenieError):
    """A call wants something that its caller's token is not for."""


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
