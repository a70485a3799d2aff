"""Check of the installed Rerun's version. Imports no Rerun, so that it is quick."""

from __future__ import annotations

from importlib.metadata import PackageNotFoundError, version

from genie_core.errors import GenieError

OLDEST = "0.32.1"
"""First version with state timelines; the lower bound of the extra `view`."""

_INSTALL = "pip install 'genie-latent[view]'"


def require_rerun() -> None:
    """Raise GenieError, saying what to install, if Rerun is missing or too old."""
    try:
        found = version("rerun-sdk")
    except PackageNotFoundError:
        raise GenieError(f"recordings need Rerun: {_INSTALL}") from None
    if _numbers(found) < _numbers(OLDEST):
        raise GenieError(
            f"recordings need Rerun: got rerun-sdk {found}, expected {OLDEST} or newer: {_INSTALL}, in an environment "
            "of its own if another package holds the older one; `genie view --sheet X.png` needs no Rerun"
        )


def _numbers(version: str) -> tuple[int, ...]:
    """Return the numbers of a release, without what an alpha or a candidate adds."""
    return tuple(int(part) for part in version.split("+")[0].split(".")[:3] if part.isdigit())


__all__ = ["OLDEST", "require_rerun"]
