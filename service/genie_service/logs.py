"""Logging to standard error without blocking: neither the event loop nor a lane waits for a slow reader.

Lines are text for people, or JSON for machines, which has the request's id on every line that belongs to one.

Lines go through a bounded queue to a writer thread. If nobody reads, lines are dropped and counted, and the count is
written as soon as somebody reads again.
"""

from __future__ import annotations

import logging
import os
import sys
import threading
from collections import deque
from contextlib import suppress
from pathlib import Path
from typing import Literal

from pythonjsonlogger.json import JsonFormatter

from genie_core.errors import GenieError
from genie_service.calls import current_call

LogFormat = Literal["text", "json"]

_FORMAT = "%(asctime)s %(levelname)s %(name)s %(message)s"
_LAST_WORDS_S = 1.0
"""How long the process waits at exit for the last lines to be written, seconds."""


class QueueingHandler(logging.Handler):
    """Writes lines to a file descriptor in its own thread; at most `most` of them wait.

    It writes to the descriptor directly: a thread blocked inside `sys.stderr` would hold its lock, and the interpreter
    could not exit.
    """

    def __init__(self, descriptor: int, most: int = 4096) -> None:
        super().__init__()
        self._descriptor, self._most = descriptor, most
        self._lines: deque[str] = deque()
        self._dropped = 0
        self._ended = False
        self._changed = threading.Condition()
        self._writer = threading.Thread(target=self._write_lines, name="genie-log", daemon=True)
        self._writer.start()

    @property
    def dropped(self) -> int:
        """Number of lines dropped and not yet reported."""
        return self._dropped

    def emit(self, record: logging.LogRecord) -> None:
        """Queue one record as text, without keeping references to its arguments."""
        try:
            line = self.format(record)
        except Exception:
            line = f"{record.levelname} {record.name} a log line that cannot be formatted: {record.msg!r}"
        with self._changed:
            if len(self._lines) >= self._most:
                self._dropped += 1
            else:
                self._lines.append(line)
            self._changed.notify()

    def close(self) -> None:
        """Wait briefly for the last lines to be written, and accept no more."""
        with self._changed:
            self._ended = True
            self._changed.notify()
        self._writer.join(_LAST_WORDS_S)
        super().close()

    def _write_lines(self) -> None:
        while (line := self._next()) is not None:
            data = (line + "\n").encode(errors="backslashreplace")
            try:
                while data:
                    data = data[os.write(self._descriptor, data) :]
            except OSError:  # the reader has gone for good
                continue

    def _next(self) -> str | None:
        with self._changed:
            while not self._lines:
                if self._dropped:
                    dropped, self._dropped = self._dropped, 0
                    return f"{dropped} log lines dropped: nobody read them in time"
                if self._ended:
                    return None
                self._changed.wait()
            return self._lines.popleft()


def log_to_stderr(level: str, form: LogFormat = "text") -> QueueingHandler:
    """Log records from `level` on, including warnings and exceptions that end threads, to standard error."""
    handler = QueueingHandler(sys.stderr.fileno())
    _set_format(handler, form)
    handler.addFilter(without_clients_that_left)
    logging.basicConfig(level=level.upper(), handlers=[handler], force=True)
    logging.captureWarnings(True)
    threading.excepthook = _log_death
    return handler


def log_to_file(file: Path, name: str, form: LogFormat = "text") -> QueueingHandler:
    """Also append records of the log `name` to a file that only its owner can read.

    Raises GenieError if it cannot be written.
    """
    try:
        descriptor = os.open(file, os.O_WRONLY | os.O_CREAT | os.O_APPEND, 0o600)
    except OSError as error:
        raise GenieError(f"{file} cannot be written: {error.strerror}") from None
    handler = QueueingHandler(descriptor)
    _set_format(handler, form)
    log = logging.getLogger(name)
    log.addHandler(handler)
    log.setLevel(logging.INFO)  # independent of the level of the rest
    return handler


def _set_format(handler: logging.Handler, form: LogFormat) -> None:
    if form == "text":
        handler.setFormatter(logging.Formatter(_FORMAT))
        return
    renamed = {"levelname": "level", "name": "logger"}
    names = " ".join(f"%({name})s" for name in (*renamed, "message"))
    handler.setFormatter(JsonFormatter(names, rename_fields=renamed, timestamp="time"))
    handler.addFilter(_with_request_id)


def without_clients_that_left(record: logging.LogRecord) -> bool:
    """Drop what gRPC logs, as an error of twelve lines, of every client that is gone when an answer is sent.

    The access log has the call, and an alarm on errors is not for clients to ring.
    """
    failed = record.exc_info[0] if record.exc_info else None
    return not (record.name.startswith("grpc.") and failed is not None and failed.__name__ == "ExecuteBatchError")


def _with_request_id(record: logging.LogRecord) -> bool:
    with suppress(LookupError):  # not within a call
        record.request_id = current_call().id
    return True


def _log_death(died: threading.ExceptHookArgs) -> None:
    name = died.thread.name if died.thread is not None else "a thread"
    if died.exc_value is not None:
        logging.getLogger(__name__).critical("%s died", name, exc_info=died.exc_value)


__all__ = ["LogFormat", "QueueingHandler", "log_to_file", "log_to_stderr", "without_clients_that_left"]
