"""Mapping of exceptions to gRPC statuses, the only one, with google.rpc details that programs can read."""

from __future__ import annotations

import logging
from collections.abc import AsyncIterator, Sequence
from contextlib import asynccontextmanager

import grpc
from google.protobuf.message import Message
from google.rpc import error_details_pb2, status_pb2
from grpc import aio

from genie_core.errors import DatasetError, GenieError, ModelError, RequestError
from genie_service.calls import REQUEST_ID, current_call
from genie_service.errors import (
    BusyError,
    DrainingError,
    ForbiddenError,
    IdleError,
    ModelLoadingError,
    UnknownCallerError,
    UnknownModelError,
)
from genie_service.interceptors.wrapping import AroundCall, Context

_log = logging.getLogger(__name__)

DETAILS_KEY = "grpc-status-details-bin"
"""Trailing metadata in which gRPC clients look for a google.rpc.Status."""

PUSHBACK_KEY = "grpc-retry-pushback-ms"
"""Trailing metadata that gRPC's own retries obey."""

Metadata = tuple[tuple[str, str | bytes], ...]

_LONGEST_TEXT = 1000
"""Bytes. Statuses travel in HTTP/2 headers, 8 KiB in all, with the text three times; texts quote clients' input."""

_CODES: tuple[tuple[type[GenieError], grpc.StatusCode], ...] = (
    (RequestError, grpc.StatusCode.INVALID_ARGUMENT),
    (DatasetError, grpc.StatusCode.INVALID_ARGUMENT),
    (UnknownModelError, grpc.StatusCode.NOT_FOUND),
    (ModelLoadingError, grpc.StatusCode.UNAVAILABLE),
    (ModelError, grpc.StatusCode.FAILED_PRECONDITION),
    (BusyError, grpc.StatusCode.RESOURCE_EXHAUSTED),
    (IdleError, grpc.StatusCode.DEADLINE_EXCEEDED),
    (DrainingError, grpc.StatusCode.UNAVAILABLE),
    (UnknownCallerError, grpc.StatusCode.UNAUTHENTICATED),
    (ForbiddenError, grpc.StatusCode.PERMISSION_DENIED),
    (GenieError, grpc.StatusCode.FAILED_PRECONDITION),
)
"""Status of each class of error; the first class that matches decides."""


_REFUSALS: Sequence[tuple[type[GenieError], str]] = (
    (ModelLoadingError, "model_loading"),
    (IdleError, "idle_seconds"),
    (DrainingError, "draining"),
    (UnknownCallerError, "unauthenticated"),
    (ForbiddenError, "forbidden"),
)
"""Why a call was refused, apart from a lack of room."""


class ErrorStatus(AroundCall):
    """Ends a call whose handler raised with a status. Unforeseen errors become INTERNAL: logged in full, told by id.

    The exception ends here. `context.abort` would keep it, with the frames that it went through and thus the request,
    in a cycle that lasts until the garbage collector's oldest generation runs, which few calls trigger.
    """

    @asynccontextmanager
    async def around(self, method: str, context: Context) -> AsyncIterator[None]:
        """End the call with the status of the exception."""
        try:
            yield
        except aio.BaseError:  # gRPC's own: the call was aborted, or its client has gone
            raise
        except GenieError as error:
            current_call().refusal = refusal_of(error)
            _end(context, code_of(error), _text(error), _hints(error), _metadata(error))
        except Exception:
            call_id = current_call().id
            _log.exception("unexpected error in %s, id=%s", method, call_id)
            text = f"unexpected error in the server; its log has the cause under id {call_id}"
            _end(context, grpc.StatusCode.INTERNAL, text)


def code_of(error: GenieError) -> grpc.StatusCode:
    """Return the status code of an error."""
    return next(code for kind, code in _CODES if isinstance(error, kind))


def refusal_of(error: GenieError) -> str:
    """Return why a call was refused, by the name of a setting or in one word; empty for the caller's mistakes."""
    if isinstance(error, BusyError):
        return error.cause
    return next((cause for kind, cause in _REFUSALS if isinstance(error, kind)), "")


def _hints(error: GenieError) -> Sequence[Message]:
    if isinstance(error, RequestError):
        violation = error_details_pb2.BadRequest.FieldViolation(field=error.field, description=_text(error))
        return [error_details_pb2.BadRequest(field_violations=[violation])]
    if isinstance(error, BusyError):
        hint = error_details_pb2.RetryInfo()
        hint.retry_delay.FromMilliseconds(_retry_ms(error))
        return [hint]
    return []


def _text(error: GenieError) -> str:
    text = str(error).encode(errors="replace")
    return text.decode() if len(text) <= _LONGEST_TEXT else f"{text[:_LONGEST_TEXT].decode(errors='ignore')} ..."


def _metadata(error: GenieError) -> Metadata:
    return ((PUSHBACK_KEY, str(_retry_ms(error))),) if isinstance(error, BusyError) else ()


def _retry_ms(error: BusyError) -> int:
    return round(error.retry_after_s * 1000)


def _end(
    context: Context, code: grpc.StatusCode, text: str, hints: Sequence[Message] = (), metadata: Metadata = ()
) -> None:
    number: int = code.value[0]
    status = status_pb2.Status(code=number, message=text)
    for detail in (*hints, error_details_pb2.RequestInfo(request_id=current_call().id)):
        status.details.add().Pack(detail)
    context.set_code(code)
    context.set_details(text)
    request_id = (REQUEST_ID, current_call().id)
    context.set_trailing_metadata((*metadata, request_id, (DETAILS_KEY, status.SerializeToString())))


__all__ = ["DETAILS_KEY", "PUSHBACK_KEY", "ErrorStatus", "code_of", "refusal_of"]
