"""Authentication and authorization: by a bearer token, or by the certificate of the connection.

Only health checks are open to everybody, since probes have no secrets.
"""

from __future__ import annotations

from collections.abc import AsyncIterator, Mapping
from contextlib import asynccontextmanager

from genie_service.audit import audit_refusal
from genie_service.calls import current_call
from genie_service.errors import ForbiddenError, UnknownCallerError
from genie_service.interceptors.wrapping import AroundCall, Context
from genie_service.tokens import ANYBODY, Identity, Scope, TokenFile

_HEALTH = "/grpc.health.v1.Health/"

_SCHEME = "bearer "

_NEEDED: Mapping[str, Scope] = {
    "/genie_api.v1.LabellingService/": Scope.LABEL,
    "/inference.GRPCInferenceService/ModelInfer": Scope.LABEL,
    "/genie_api.v1.SimulationService/": Scope.SIMULATE,
    "/genie_api.v1.ModelService/LoadModel": Scope.ADMIN,
    "/genie_api.v1.ModelService/UnloadModel": Scope.ADMIN,
}
"""Prefixes of methods that need a scope; all others need any known caller."""


class Authentication(AroundCall):
    """Sets the identity of the current call, and refuses callers that are unknown or lack the scope."""

    def __init__(self, tokens: TokenFile | None) -> None:
        """`tokens`: callers that may use the server; None: anybody who can connect."""
        self._tokens = tokens

    @asynccontextmanager
    async def around(self, method: str, context: Context) -> AsyncIterator[None]:
        """Admit the call. Raises UnknownCallerError or ForbiddenError."""
        if not method.startswith(_HEALTH):
            call = current_call()
            try:
                call.identity = self._identify(context)
                _check(method, call.identity)
            except (UnknownCallerError, ForbiddenError) as error:
                audit_refusal(call, str(error))
                raise
        yield

    def _identify(self, context: Context) -> Identity:
        if self._tokens is None:
            return _of_certificate(context)
        given = [value for key, value in context.invocation_metadata() or () if key == "authorization"]
        if not given:
            raise UnknownCallerError(
                "the server asks for a token: set GENIE_CLIENT_TOKEN_FILE, or send `authorization: Bearer TOKEN`"
            )
        text = str(given[0])
        if len(given) > 1 or text[: len(_SCHEME)].lower() != _SCHEME:
            raise UnknownCallerError("authorization: expected one `Bearer TOKEN`")
        identity = self._tokens.identify(text[len(_SCHEME) :].strip())
        if identity is None:
            raise UnknownCallerError("authorization: the server knows no such token, or it has expired")
        return identity


def _check(method: str, identity: Identity) -> None:
    for beginning, scope in _NEEDED.items():
        if method.startswith(beginning) and not identity.may(scope):
            allowed = ", ".join(sorted(identity.scopes))
            raise ForbiddenError(f"token {identity.name!r} is for {allowed}; {method[1:]} needs {scope}")


def _of_certificate(context: Context) -> Identity:
    """Return the name in the certificate that the client has proven; ANYBODY if it has none."""
    name = next(iter(context.auth_context().get("x509_common_name", ())), b"").decode(errors="replace")
    return Identity(name, ANYBODY.scopes, proven=True) if name else ANYBODY


__all__ = ["Authentication"]
