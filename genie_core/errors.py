"""The small family of errors that Genie raises for its users.

Each is raised where the fact is known, says what came and what was wanted, and is turned into an exit code by the
command line and into a status code by the service, in one place each.
"""


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


__all__ = ["DatasetError", "GenieError", "ModelError", "RequestError"]
