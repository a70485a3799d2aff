"""Audit log: who changed what the server hosts, and who was refused. One line each, in a separate log."""

from __future__ import annotations

import json
import logging
from collections.abc import Iterator
from contextlib import contextmanager

from genie_core.errors import GenieError
from genie_service.calls import Call, current_call

AUDIT = "genie_service.audit"
"""Name of the log."""

_log = logging.getLogger(AUDIT)
_LONGEST = 200


@contextmanager
def audited(action: str, subject: str) -> Iterator[None]:
    """Record what the current call does to `subject`, and the outcome."""
    call, outcome = current_call(), "cancelled"
    try:
        yield
        outcome = "done"
    except GenieError as error:
        outcome = f"failed: {error}"
        raise
    except Exception as error:
        outcome = f"failed: {type(error).__name__}"
        raise
    finally:
        _note(logging.INFO, call, action, subject, outcome)


def audit_refusal(call: Call, reason: str) -> None:
    """Record that a call was refused because of its caller."""
    _note(logging.WARNING, call, "refused", call.method, reason)


def _note(level: int, call: Call, action: str, subject: str, outcome: str) -> None:
    who = _quoted(call.identity.name) if call.identity.proven else "anybody"
    text = "%s by=%s peer=%s id=%s subject=%s outcome=%s"
    values = (action, who, call.peer, call.id, _quoted(subject), _quoted(outcome))
    by = call.identity.name if call.identity.proven else ""
    facts = {
        "action": action,
        "by": by,
        "peer": call.peer,
        "subject": subject[:_LONGEST],
        "outcome": outcome[:_LONGEST],
    }
    _log.log(level, text, *values, extra=facts)


def _quoted(text: str) -> str:
    """Quote text chosen by clients onto one line, so that it cannot be mistaken for log structure."""
    return json.dumps(text[:_LONGEST])


__all__ = ["AUDIT", "audit_refusal", "audited"]
