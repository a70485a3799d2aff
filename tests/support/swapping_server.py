"""A server in this process, of gRPC's own, whose model is replaced between a client's question for it and its call."""

from __future__ import annotations

from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from contextlib import contextmanager
from typing import Any

import grpc
import numpy as np

from genie_api.v1 import models_pb2, models_pb2_grpc, simulation_pb2, simulation_pb2_grpc
from genie_client.messages import frames_message
from genie_core.data import Frames


class Swapping(models_pb2_grpc.ModelServiceServicer, simulation_pb2_grpc.SimulationServiceServicer):
    """A server whose model is replaced `swaps` times, each time after it was asked for and before the call arrives.

    A frame's brightness is the bundle's number; `acted` has the actions of every call of Play.
    """

    def __init__(self) -> None:
        self.swaps = self.bundle = self.asked = 0
        self.acted: list[list[int]] = []

    def GetModel(self, request: Any, context: grpc.ServicerContext) -> models_pb2.GetModelResponse:
        self.asked += 1
        model = models_pb2.Model(
            name="models/one",
            bundle_id=self._identity(),
            frame_height=8,
            frame_width=8,
            num_codes=8,
            precision="float32",
        )
        return models_pb2.GetModelResponse(model=model)

    def _identity(self) -> str:
        return f"{self.bundle:02x}".ljust(64, "e")

    def _swap(self) -> tuple[str, Frames]:
        if self.swaps:
            self.swaps, self.bundle = self.swaps - 1, self.bundle + 1
        return self._identity(), np.full((1, 8, 8, 3), self.bundle, np.uint8)

    def Rollout(self, request: Any, context: grpc.ServicerContext) -> Iterator[simulation_pb2.RolloutResponse]:
        bundle_id, frames = self._swap()
        for i, _ in enumerate(request.actions.codes):
            yield simulation_pb2.RolloutResponse(
                index=i, frame=frames_message(frames), bundle_id="" if i else bundle_id
            )

    def Branch(self, request: Any, context: grpc.ServicerContext) -> Iterator[simulation_pb2.BranchResponse]:
        bundle_id, frames = self._swap()
        several = frames_message(np.concatenate([frames] * len(request.branches)))
        for i, _ in enumerate(request.branches[0].codes):
            yield simulation_pb2.BranchResponse(index=i, frames=several, bundle_id="" if i else bundle_id)

    def Play(self, requests: Iterator[Any], context: grpc.ServicerContext) -> Iterator[simulation_pb2.PlayResponse]:
        assert next(requests).HasField("start")
        bundle_id, frames = self._swap()
        self.acted.append(acted := [])
        for i, request in enumerate(requests):
            acted.append(request.action)
            yield simulation_pb2.PlayResponse(index=i, frame=frames_message(frames), bundle_id="" if i else bundle_id)

    @contextmanager
    def listening(self) -> Iterator[str]:
        """Yield the address that it serves at."""
        server = grpc.server(ThreadPoolExecutor(16))
        models_pb2_grpc.add_ModelServiceServicer_to_server(self, server)
        simulation_pb2_grpc.add_SimulationServiceServicer_to_server(self, server)
        port = server.add_insecure_port("127.0.0.1:0")
        server.start()
        try:
            yield f"127.0.0.1:{port}"
        finally:
            server.stop(None).wait()
