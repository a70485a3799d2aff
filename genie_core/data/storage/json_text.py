"""Untrusted JSON: one way to parse it, with one exception for whatever is wrong with it."""

from __future__ import annotations

import json
from typing import Any


def parse_json(text: str | bytes) -> Any:
    """Return the value of a JSON text.

    Raises ValueError if it is none, is not UTF-8, is nested too deeply, or has a number of more digits than Python
    converts.
    """
    try:
        return json.loads(text)
    except RecursionError:
        raise ValueError("brackets within brackets, too deep to be read") from None


__all__ = ["parse_json"]
