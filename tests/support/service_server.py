"""A real server with real (untrained) models in this process, reached through real channels."""

from __future__ import annotations

import asyncio
import threading
from collections.abc import Coroutine, Iterator
from contextlib import ExitStack, contextmanager
from pathlib import Path
from typing import Any, TypeVar

import grpc

from genie_api.v1 import labelling_pb2_grpc, models_pb2_grpc, simulation_pb2_grpc
from genie_service.fair_queue import Operation
from genie_service.loaded_model import LoadedModel
from genie_service.server import GenieServer
from genie_service.settings import load_settings
from tests.support.waiting import WITHIN_S, wait_until

T = TypeVar("T")


class Running:
    """A server on its own event loop and thread; `run` runs a coroutine there."""

    def __init__(self, loop: asyncio.AbstractEventLoop, server: GenieServer) -> None:
        self.server = server
        self.loop = loop
        self.channel = grpc.insecure_channel(server.address)
        self.labelling = labelling_pb2_grpc.LabellingServiceStub(self.channel)
        self.simulation = simulation_pb2_grpc.SimulationServiceStub(self.channel)
        self.models = models_pb2_grpc.ModelServiceStub(self.channel)

    def run(self, coroutine: Coroutine[Any, Any, T]) -> T:
        return asyncio.run_coroutine_threadsafe(coroutine, self.loop).result(WITHIN_S)

    def wait_until_idle(self) -> None:
        """Return once the server is done with every call; its client has the answer a little before that."""
        wait_until(lambda: self.run(self._idle()), "the server is done with every call")

    async def _idle(self) -> bool:
        """Whether there is nothing under way: neither calls, nor work, nor tasks but gRPC's, which wait for calls."""
        names = (
            getattr(task.get_coro(), "__qualname__", "") for task in asyncio.all_tasks() - {asyncio.current_task()}
        )
        idle = self.server.calls_under_way == self.server.engine.pending == 0
        return idle and all(name.startswith("AioServer.") for name in names)

    @contextmanager
    def busy_device(self) -> Iterator[None]:
        """The device computes for as long as the block lasts."""
        release, engine = threading.Event(), self.server.engine

        def work(payloads: list[None]) -> list[None]:
            release.wait(300)
            return payloads

        busy = engine.run(Operation("busy", work), [None] * engine.lanes, "")
        future = asyncio.run_coroutine_threadsafe(busy, self.loop)
        try:
            wait_until(lambda: engine.statistics().busy_lanes == engine.lanes, "all lanes are busy")
            yield
        finally:
            release.set()
            future.result(WITHIN_S)

    @contextmanager
    def waiting_work(self, pieces: int) -> Iterator[None]:
        """Work of somebody else waits for the device at first; it is done when the device is free."""
        engine = self.server.engine
        before = engine.pending
        work = engine.run(Operation("waiting", lambda payloads: payloads), [None] * pieces, "somebody else")
        future = asyncio.run_coroutine_threadsafe(work, self.loop)
        try:
            wait_until(lambda: engine.pending >= before + pieces, "the work waits")
            yield
        finally:
            future.cancel()

    @contextmanager
    def other_clients(self, count: int) -> Iterator[list[labelling_pb2_grpc.LabellingServiceStub]]:
        """Clients with connections of their own."""
        with ExitStack() as stack:
            options = [("grpc.use_local_subchannel_pool", 1)]
            channels = [stack.enter_context(grpc.insecure_channel(self.server.address, options)) for _ in range(count)]
            yield [labelling_pb2_grpc.LabellingServiceStub(channel) for channel in channels]

    def model(self, name: str) -> LoadedModel:
        """A model that the server has loaded."""

        async def leased() -> LoadedModel:
            async with self.server.registry.lease(name) as model:
                return model

        return self.run(leased())


@contextmanager
def serving(models: Path, **flags: Any) -> Iterator[Running]:
    loop = asyncio.new_event_loop()
    thread = threading.Thread(target=loop.run_forever, daemon=True)
    thread.start()
    settings = load_settings({"models": models, "port": 0, **flags})
    server = asyncio.run_coroutine_threadsafe(GenieServer.start(settings), loop).result(WITHIN_S)
    running = Running(loop, server)
    running.run(server.preload())
    try:
        yield running
    finally:
        running.channel.close()
        running.run(server.drain(5))
        loop.call_soon_threadsafe(loop.stop)
        thread.join(WITHIN_S)
        loop.close()
