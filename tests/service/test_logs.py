"""The log: what is read is all there; what is not read holds nobody up."""

from __future__ import annotations

import importlib
import logging
import os
import stat
import time
from collections.abc import Iterator
from pathlib import Path

import pytest

from genie_service.logs import QueueingHandler, log_to_file, without_clients_that_left


@pytest.fixture
def pipe() -> Iterator[tuple[int, int]]:
    ends = os.pipe()
    yield ends
    for end in ends:
        os.close(end)


def _record(text: str) -> logging.LogRecord:
    return logging.LogRecord("test", logging.INFO, "", 0, text, None, None)


def test_lines_come_in_order(pipe: tuple[int, int]) -> None:
    reading, writing = pipe
    handler = QueueingHandler(writing)
    for number in range(100):
        handler.emit(_record(f"line {number}"))
    handler.close()
    assert os.read(reading, 65536).decode().splitlines() == [f"line {number}" for number in range(100)]


def test_a_reader_that_does_not_read_holds_nobody_up_and_learns_what_it_missed(pipe: tuple[int, int]) -> None:
    reading, writing = pipe
    handler = QueueingHandler(writing, most=200)
    began = time.monotonic()
    for _ in range(1000):
        handler.emit(_record("x" * 999))
    handler.close()
    assert time.monotonic() - began < 30
    dropped = handler.dropped
    assert dropped > 600  # a pipe holds 64 lines, the queue 200
    os.set_blocking(reading, False)
    read = b""
    while not read.endswith(b"in time\n"):
        try:
            read += os.read(reading, 65536)
        except BlockingIOError:
            time.sleep(0.001)
    lines = read.decode().splitlines()
    assert lines[-1] == f"{dropped} log lines dropped: nobody read them in time"
    assert len(lines) - 1 + dropped == 1000


def test_a_reader_that_has_gone_is_no_error() -> None:
    reading, writing = os.pipe()
    os.close(reading)
    handler = QueueingHandler(writing)
    handler.emit(_record("to nobody"))
    handler.close()
    os.close(writing)
    assert handler.dropped == 0


def test_a_client_that_has_left_is_no_error_of_the_server(pipe: tuple[int, int]) -> None:
    read, write = pipe
    handler, cygrpc = QueueingHandler(write), importlib.import_module("grpc._cython.cygrpc")
    handler.addFilter(without_clients_that_left)
    try:
        raise cygrpc.ExecuteBatchError("Failed")
    except cygrpc.ExecuteBatchError as error:
        gone = error
    for name, error in (("grpc._cython.cygrpc", gone), ("grpc._cython.cygrpc", ValueError("ours")), ("genie", gone)):
        record = logging.LogRecord(name, logging.ERROR, "", 0, "%s failed", (name,), (type(error), error, None))
        if handler.filter(record):
            handler.emit(record)
    handler.close()
    lines = os.read(read, 4096).decode().splitlines()
    assert [line for line in lines if line.endswith("failed")] == ["grpc._cython.cygrpc failed", "genie failed"]
    assert "ValueError: ours" in lines


def test_a_log_in_a_file_is_added_to_and_read_by_its_owner_alone(tmp_path: Path) -> None:
    file = tmp_path / "audit.log"
    log = logging.getLogger("tests.audit")
    for text in ("first", "second"):
        handler = log_to_file(file, "tests.audit")
        try:
            log.info(text)
        finally:
            log.removeHandler(handler)
            handler.close()
    assert stat.S_IMODE(file.stat().st_mode) == 0o600
    assert [line.split("tests.audit ")[1] for line in file.read_text().splitlines()] == ["first", "second"]
