"""Assembles the server: engine, registry, services, interceptors, health and reflection behind one port.

`process` handles the process around it: signals, standard input and output.
"""

from __future__ import annotations

import asyncio
import logging
from collections.abc import Callable
from contextlib import suppress

import grpc
import torch
from grpc import aio
from grpc_health.v1 import health
from grpc_reflection.v1alpha import reflection

from genie_api.v1 import (
    frames_pb2,
    labelling_pb2,
    labelling_pb2_grpc,
    models_pb2,
    models_pb2_grpc,
    simulation_pb2,
    simulation_pb2_grpc,
)
from genie_core.errors import GenieError
from genie_core.models.fetch import local_models
from genie_service.alignments import Alignments
from genie_service.budget import Budget
from genie_service.certificates import server_credentials
from genie_service.decoding import DecodingBacklog
from genie_service.engine import Engine
from genie_service.exposition import Exposition
from genie_service.health import Health
from genie_service.interceptors.access_log import AccessLog
from genie_service.interceptors.admission import MAX_OTHER_CALLS, Admission
from genie_service.interceptors.authentication import Authentication
from genie_service.interceptors.error_status import ErrorStatus
from genie_service.interceptors.tracing import Tracing
from genie_service.interceptors.transfer import Transfer, TransferLimits
from genie_service.metrics import Metrics
from genie_service.patience import Waiters
from genie_service.profiling import Profiler
from genie_service.rates import FrameRates
from genie_service.registry import Compute, ModelRegistry, State
from genie_service.servicers.frame_reading import FrameReading
from genie_service.servicers.labelling import LabellingServicer
from genie_service.servicers.models import ModelServicer, Room
from genie_service.servicers.simulation import SimulationServicer
from genie_service.servicers.simulation_requests import SimulationLimits
from genie_service.settings import MIB, Settings
from genie_service.shares import Shares, Unit
from genie_service.startup import is_loopback, startup_problems
from genie_service.tokens import TokenFile
from genie_service.workers import Workers

_log = logging.getLogger(__name__)

LABELLING = labelling_pb2.DESCRIPTOR.services_by_name["LabellingService"].full_name
SIMULATION = simulation_pb2.DESCRIPTOR.services_by_name["SimulationService"].full_name
MODELS = models_pb2.DESCRIPTOR.services_by_name["ModelService"].full_name

OPEN_INFERENCE = "inference.GRPCInferenceService"
"""The protocol's own name of its service."""

_CLOSING_S = 0.5
"""Seconds for last messages to leave once no call is under way; then health watchers are cut off."""

_LEAVING_S = 0.3
"""Seconds in which calls that were on their way over an old connection still begin."""

_KEEPALIVE_MS = 10_000
_KEEPALIVE_TIMEOUT_MS = 10_000
"""A client that vanished silently is detected after the two together, and its resources are released."""

_SPARE_CALLS = 256
"""Calls that gRPC accepts beyond those that may be under way, to tell them that there is no room."""

_MARGIN = 1024
"""Elements of a repeated field accepted beyond the limit, so that an error can say how many there were."""

_LARGE = frozenset(
    {
        f"/{LABELLING}/LabelClip",
        f"/{SIMULATION}/Rollout",
        f"/{SIMULATION}/Branch",
        f"/{OPEN_INFERENCE}/ModelInfer",
    }
)
"""Methods whose one request holds frames."""


class GenieServer:
    """A gRPC server that hosts models. Made by `start`; ends with `drain`.

    `broken` is set once nothing can be computed any more; health reports it, and the owner should end the server.
    """

    def __init__(
        self,
        settings: Settings,
        engine: Engine,
        registry: ModelRegistry,
        tokens: TokenFile | None = None,
        *,
        shares_port: bool = False,
    ) -> None:
        self._settings = settings
        self._shares_port = shares_port
        self.engine = engine
        self.registry = registry
        self._workers, self._unpackers = Workers(_worker_threads(settings)), Workers(1)
        self._waiters, self._players = Waiters(settings.pressure_seconds), Waiters(settings.pressure_seconds)
        unit = Unit("Play streams are open", "max_play_streams")
        self._plays = Shares(settings.max_play_streams, unit, make_room=self._players.make_room)
        self.budget = Budget(settings.memory_bytes, settings.max_message_mib * MIB, settings.pressure_seconds)
        self._admission = Admission(settings.max_calls, settings.max_wait_seconds, self._waiters)
        self.metrics = Metrics()
        self.metrics.watch(engine, registry, self.budget, self._admission, self._plays)
        self._exposition: Exposition | None = None
        self.broken = asyncio.Event()
        self._telling: asyncio.Future[None] | None = None
        self._leaving: asyncio.Future[None] | None = None
        self._health = Health((LABELLING, SIMULATION), (MODELS,), self._can_serve)
        self._server = aio.server(
            interceptors=(
                AccessLog(self.metrics.counts.calls),
                Tracing(),
                ErrorStatus(),
                Authentication(tokens),
                self._admission,
                Transfer(_transfer_limits(settings), self.budget, self._unpackers, self.engine.delivery_s),
            ),
            options=_channel_options(settings, shares_port),
            maximum_concurrent_rpcs=settings.max_calls + MAX_OTHER_CALLS + _SPARE_CALLS,
        )
        self.address = ""

    @classmethod
    async def start(cls, settings: Settings, *, shares_port: bool = False) -> GenieServer:
        """Read the models folder, then listen. No model is loaded yet, which health reports.

        With `shares_port` it is one of several processes on one port, and does not listen yet: call `listen` once it
        can serve, as the system gives it connections from then on.

        Raises GenieError with all that is wrong, one problem a line: of the models folder, addresses, the device, and
        the files of TLS and tokens.
        """
        problems = await asyncio.to_thread(startup_problems, settings, shares_port=shares_port)
        engine = _engine(settings)
        try:
            registry = await _registry(settings, engine, problems)
        except BaseException:
            engine.close()
            raise
        tokens = None if settings.tokens is None else TokenFile(settings.tokens)
        server = cls(settings, engine, registry, tokens, shares_port=shares_port)
        loop = asyncio.get_running_loop()
        engine.on_broken(lambda: _soon(loop, server._break))
        registry.on_change(server._health.update)
        registry.on_change(server._measure)
        if not shares_port:
            await server.listen()
        return server

    async def listen(self) -> None:
        """Accept calls from now on. Raises GenieError if the address cannot be taken."""
        tls = self._settings.tls
        try:
            await self._listen(None if tls is None else server_credentials(tls))
        except BaseException:
            self.engine.close()
            self._workers.close()
            raise

    @property
    def metrics_address(self) -> str:
        """Address of the metrics, ``host:port``; empty if they are not exposed."""
        return "" if self._exposition is None else self._exposition.address

    @property
    def calls_under_way(self) -> int:
        """Number of calls to Genie's own services under way."""
        return self._admission.under_way

    async def preload(self) -> list[str]:
        """Load the models that the settings name, the default one first; returns the names of those that are ready.

        Raises ModelError if the default model cannot be loaded. Others that fail stay FAILED, which is logged.
        """
        if self._settings.preload != "none":
            await self.registry.load(self.registry.default)
        if self._settings.preload == "all":
            for status in await self.registry.statuses():
                with suppress(GenieError):  # the registry has logged it
                    await self.registry.load(status.name)
        return [status.name for status in await self.registry.statuses() if status.state is State.READY]

    async def drain(self, seconds: float) -> int:
        """Take no new calls, let those under way finish for at most `seconds`, and stop; number of calls cut off.

        Calls that come too late, wait for a place, or are cut off end with UNAVAILABLE: they may be tried elsewhere.
        """
        if self._shares_port:  # new connections are for the others from now on, and clients are told to make some
            self._leaving = asyncio.ensure_future(self._server.stop(seconds + 2 * _CLOSING_S))
            await asyncio.sleep(_LEAVING_S)
        self._admission.close()
        await self._health.close()
        try:
            async with asyncio.timeout(seconds):
                await self._admission.idle()
        except TimeoutError:
            _log.warning("%d calls under way did not finish within %g s", self._admission.under_way, seconds)
        cut = self._admission.cut()
        with suppress(TimeoutError):
            async with asyncio.timeout(_CLOSING_S):
                await self._admission.idle()
        await self._server.stop(_CLOSING_S)
        if self._exposition is not None:
            await asyncio.to_thread(self._exposition.close)
        await asyncio.to_thread(self.engine.close)
        for workers in (self._workers, self._unpackers):
            await asyncio.to_thread(workers.close)
        return cut

    def _can_serve(self) -> bool:
        return self.registry.is_default_ready and not self.engine.broken

    def _break(self) -> None:
        self.broken.set()
        self._telling = asyncio.ensure_future(self._health.update())

    async def _measure(self) -> None:
        """Recompute the memory left for requests after a model was loaded or unloaded."""
        self.budget.measure()

    async def _listen(self, credentials: grpc.ServerCredentials | None) -> None:
        settings = self._settings
        self._add_services()
        await self._health.update()
        host = f"[{settings.host}]" if ":" in settings.host else settings.host
        try:
            address = f"{host}:{settings.port}"
            if credentials is None:
                port = self._server.add_insecure_port(address)
            else:
                port = self._server.add_secure_port(address, credentials)
        except RuntimeError:
            raise GenieError(f"cannot listen on {host}:{settings.port}: is the port in use?") from None
        if settings.metrics is not None:
            self._exposition = await asyncio.to_thread(Exposition, self.metrics.registry, *settings.metrics)
        await self._server.start()
        self.address = f"{host}:{port}"
        if self._exposition is not None:
            _log.info("metrics: http://%s/metrics", self.metrics_address)
            if not is_loopback(str(settings.metrics and settings.metrics[0])):
                _log.warning("metrics on %s: whoever reaches it can read them", self.metrics_address)
        if not is_loopback(settings.host):
            if credentials is None:
                _log.warning("listening on %s without TLS: all that is sent can be read on the way", self.address)
            if settings.tokens is None and settings.tls_client_ca is None:
                _log.warning("listening on %s without tokens: whoever reaches it can use it", self.address)

    def _add_services(self) -> None:
        settings, registry, engine = self._settings, self.registry, self.engine
        alignments = Alignments()
        rates = FrameRates(settings.max_frames_per_second)
        backlog = DecodingBacklog(_worker_threads(settings), settings.max_wait_seconds)
        reading = FrameReading(settings.frame_limits, self._workers, rates, backlog)
        counts = self.metrics.counts
        labelling = LabellingServicer(
            registry, alignments, engine, reading, settings.max_wait_seconds, settings.idle_seconds, counts
        )
        simulation = SimulationServicer(
            registry,
            alignments,
            engine,
            reading,
            _simulation_limits(settings),
            self._plays,
            self._players,
            settings.max_wait_seconds,
            settings.idle_seconds,
            counts.calls,
        )
        labelling_pb2_grpc.add_LabellingServiceServicer_to_server(labelling, self._server)
        simulation_pb2_grpc.add_SimulationServiceServicer_to_server(simulation, self._server)
        room = Room(self._admission, self._plays, self.budget, counts.calls)
        hosting = ModelServicer(
            registry, alignments, engine, room, settings.max_simulated_pixels, fixed=self._shares_port
        )
        models_pb2_grpc.add_ModelServiceServicer_to_server(hosting, self._server)
        self._health.add_to(self._server)
        names: tuple[str, ...] = (LABELLING, SIMULATION, MODELS, health.SERVICE_NAME, reflection.SERVICE_NAME)
        if settings.open_inference:
            self._add_open_inference(labelling)
            names = (*names, OPEN_INFERENCE)
        reflection.enable_server_reflection(names, self._server)

    def _add_open_inference(self, labelling: LabellingServicer) -> None:
        # Imported only here: a process that also has another project's copy of the protocol could not load ours.
        from genie_api.open_inference.inference_pb2_grpc import add_GRPCInferenceServiceServicer_to_server
        from genie_service.servicers.open_inference import OpenInferenceServicer

        servicer = OpenInferenceServicer(self.registry, labelling, self._can_serve)
        add_GRPCInferenceServiceServicer_to_server(servicer, self._server)


def _engine(settings: Settings) -> Engine:
    threads = settings.threads or torch.get_num_threads()
    return Engine(
        settings.max_wait_seconds,
        lanes=settings.lanes or (threads if settings.on_cpu else 1),
        threads=threads,
        wait_s=settings.batch_wait_ms / 1000,
        recorder=Profiler(settings.profile) if settings.profile is not None else None,
    )


def _channel_options(settings: Settings, shares_port: bool) -> list[tuple[str, int]]:
    largest = settings.max_message_mib * MIB
    # Without a time limit, a connection that is being replaced ends with its last call. gRPC varies the age by a tenth.
    age_ms = round(settings.max_connection_age_seconds * 1000)
    return [
        *([("grpc.max_connection_age_ms", max(1, age_ms))] if age_ms else []),
        ("grpc.max_receive_message_length", largest),
        ("grpc.max_send_message_length", largest),
        ("grpc.so_reuseport", int(shares_port)),  # else a second server on the port is an error, not a silent partner
        ("grpc.keepalive_time_ms", _KEEPALIVE_MS),
        ("grpc.keepalive_timeout_ms", _KEEPALIVE_TIMEOUT_MS),
        ("grpc.http2.ping_timeout_ms", _KEEPALIVE_TIMEOUT_MS),  # the one that counts
        ("grpc.http2.max_pings_without_data", 0),  # as many as it takes
        ("grpc.max_concurrent_streams", settings.max_calls + MAX_OTHER_CALLS),  # of one connection
    ]


def _simulation_limits(settings: Settings) -> SimulationLimits:
    return SimulationLimits(
        max_actions=settings.max_actions,
        max_branches=settings.max_branches,
        max_pixels=settings.max_simulated_pixels,
        max_side=settings.max_frame_side,
        max_message_bytes=settings.max_message_mib * MIB,
    )


def _worker_threads(settings: Settings) -> int:
    return max(2, settings.threads or torch.get_num_threads())


def _transfer_limits(settings: Settings) -> TransferLimits:
    return TransferLimits(
        message_bytes=settings.max_message_mib * MIB,
        counts={
            frames_pb2.Frames.DESCRIPTOR.fields_by_name["images"].full_name: settings.max_frames + _MARGIN,
            simulation_pb2.BranchRequest.DESCRIPTOR.fields_by_name["branches"].full_name: settings.max_branches
            + _MARGIN,
            simulation_pb2.ActionSequence.DESCRIPTOR.fields_by_name["codes"].full_name: (
                settings.max_actions * settings.max_branches + _MARGIN
            ),
        },
        large=_LARGE,
        message_seconds=settings.message_seconds,
        write_seconds=settings.write_seconds,
        max_wait_s=settings.max_wait_seconds,
    )


def _soon(loop: asyncio.AbstractEventLoop, callback: Callable[[], None]) -> None:
    with suppress(RuntimeError):  # the loop is closed: nobody needs to know any more
        loop.call_soon_threadsafe(callback)


async def _registry(settings: Settings, engine: Engine, problems: list[str]) -> ModelRegistry:
    """Open the registry. Raises GenieError with `problems`, and what is wrong with the models folder too."""
    compute = Compute(settings.device, settings.precision, settings.largest_batch)
    try:
        if problems and isinstance(settings.models, str):
            raise GenieError("\n".join(problems))  # do not fetch what cannot be served
        folder = await asyncio.to_thread(local_models, settings.models)
        registry = await ModelRegistry.open(
            folder, settings.default_model, compute, engine, follow_links=settings.follow_links
        )
    except GenieError as error:
        raise GenieError("\n".join(dict.fromkeys([*problems, *str(error).split("\n")]))) from None
    if problems:
        raise GenieError("\n".join(problems))
    return registry


__all__ = ["LABELLING", "MODELS", "SIMULATION", "GenieServer"]
