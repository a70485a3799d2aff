"""ModelService: lists, loads and unloads models, and returns statistics of the server and its device."""

from __future__ import annotations

import asyncio
from dataclasses import dataclass

from genie_api.v1 import models_pb2, models_pb2_grpc
from genie_core import __version__
from genie_core.data.code_meanings import read_meanings
from genie_core.data.frames.palette import code_palette
from genie_core.errors import ModelError, RequestError
from genie_core.inference.confidence import read_calibration
from genie_core.models.bundle import BundleInfo
from genie_core.models.config import ModelConfig, label_feature_dim
from genie_service.alignments import Alignments, FoundAlignment
from genie_service.audit import audited
from genie_service.budget import Budget
from genie_service.calls import current_call
from genie_service.counting import CallCounts
from genie_service.engine import Engine
from genie_service.interceptors.admission import Admission
from genie_service.interceptors.wrapping import Context
from genie_service.paths import without_path
from genie_service.registry import ModelRegistry, ModelStatus, State
from genie_service.servicers.alignment_messages import alignment_message
from genie_service.servicers.names import model_name, resource_name
from genie_service.shares import Shares

DEFAULT_PAGE = 100
MAX_PAGE = 1000

_STATES = {
    State.UNLOADED: models_pb2.MODEL_STATE_UNLOADED,
    State.LOADING: models_pb2.MODEL_STATE_LOADING,
    State.READY: models_pb2.MODEL_STATE_READY,
    State.FAILED: models_pb2.MODEL_STATE_FAILED,
}


@dataclass(frozen=True)
class Room:
    """Room on the server, and the calls that were refused for lack of it."""

    admission: Admission
    plays: Shares
    budget: Budget
    calls: CallCounts


class ModelServicer(models_pb2_grpc.ModelServiceServicer):
    """Serves the registry."""

    def __init__(
        self,
        registry: ModelRegistry,
        alignments: Alignments,
        engine: Engine,
        room: Room,
        max_pixels: int,
        *,
        fixed: bool = False,
    ) -> None:
        """Serve them, and tell of those that move frames of any size that they may have `max_pixels`.

        `fixed`: this is one of several processes, whose models cannot be changed in one alone.
        """
        self._fixed = fixed
        self._registry = registry
        self._alignments = alignments
        self._engine = engine
        self._room = room
        self._max_pixels = max_pixels

    async def ListModels(
        self, request: models_pb2.ListModelsRequest, context: Context
    ) -> models_pb2.ListModelsResponse:
        """Return one page of models, ordered by name. A page token is the name of the previous page's last model."""
        if request.page_size > MAX_PAGE:
            raise RequestError(
                "page_size", f"got {request.page_size}, expected at most {MAX_PAGE}, or 0 for {DEFAULT_PAGE}"
            )
        size = request.page_size or DEFAULT_PAGE
        rest = [status for status in await self._registry.statuses() if status.name > request.page_token]
        page = rest[:size]
        return models_pb2.ListModelsResponse(
            models=[await self._message(status, brief=True) for status in page],
            next_page_token=page[-1].name if len(rest) > size else "",
        )

    async def GetModel(self, request: models_pb2.GetModelRequest, context: Context) -> models_pb2.GetModelResponse:
        """Return one model."""
        status = await self._registry.status(model_name(request.name, "name"))
        return models_pb2.GetModelResponse(model=await self._message(status))

    async def LoadModel(self, request: models_pb2.LoadModelRequest, context: Context) -> models_pb2.LoadModelResponse:
        """Load a model; returns when it is ready."""
        name = model_name(request.name, "name", required=True)
        self._check_not_fixed()
        with audited("LoadModel", name):
            status = await self._registry.load(name)
        return models_pb2.LoadModelResponse(model=await self._message(status))

    async def UnloadModel(
        self, request: models_pb2.UnloadModelRequest, context: Context
    ) -> models_pb2.UnloadModelResponse:
        """Unload a model; returns when the calls that use it are done. Unloading the default needs a known admin."""
        name = model_name(request.name, "name", required=True)
        self._check_not_fixed()
        with audited("UnloadModel", name):
            await self._check_may_go(name)
            status = await self._registry.unload(name)
        return models_pb2.UnloadModelResponse(model=await self._message(status))

    def _check_not_fixed(self) -> None:
        if self._fixed:
            raise ModelError(
                "this server is several processes (--workers), which load their models when they start: change the "
                "models folder and send SIGHUP, which replaces the processes one by one"
            )

    async def _check_may_go(self, name: str) -> None:
        if (await self._registry.status(name)).is_default and not current_call().identity.proven:
            raise ModelError(
                f"model {name!r} is the server's default, which requests that name none rely on, and stays loaded; to "
                "serve another, start the server with --default-model; or unload it with a token for admin"
            )

    async def GetStatistics(
        self, request: models_pb2.GetStatisticsRequest, context: Context
    ) -> models_pb2.GetStatisticsResponse:
        """Return the server's and its device's current state and totals."""
        found, room = self._engine.statistics(), self._room
        places = room.admission.places
        return models_pb2.GetStatisticsResponse(
            lanes=found.lanes,
            busy_lanes=found.busy_lanes,
            waiting=found.waiting,
            dropped=found.dropped,
            refused=found.refused,
            uptime_s=found.uptime_s,
            operations=[
                models_pb2.OperationStatistics(name=name, pieces=o.pieces, batches=o.batches, device_s=o.device_s)
                for name, o in sorted(found.operations.items())
            ],
            version=__version__,
            draining=room.admission.closed,
            calls=places.used,
            waiting_calls=places.waiting,
            max_calls=places.total,
            play_streams=room.plays.used,
            max_play_streams=room.plays.total,
            memory_bytes=room.budget.used,
            memory_budget_bytes=room.budget.total,
            refusals=[
                models_pb2.RefusalStatistics(cause=cause, calls=number)
                for cause, number in sorted(room.calls.refused.items())
            ],
        )

    async def _message(self, status: ModelStatus, *, brief: bool = False) -> models_pb2.Model:
        found = [] if status.info is None else await self._alignments.find(status.info)
        message = _model_message(status, found, brief)
        if status.info is not None and _moves_any_size(status.info.config):
            message.max_simulated_pixels = self._max_pixels
        if status.info is not None and not brief:
            message.MergeFrom(await asyncio.to_thread(_meanings_message, status.info))
        return message


def _model_message(status: ModelStatus, found: list[FoundAlignment], brief: bool) -> models_pb2.Model:
    message = models_pb2.Model(
        name=resource_name(status.name),
        state=_STATES[status.state],
        state_message=status.message,
        is_default=status.is_default,
        **status.computation.said(),
        alignments=[alignment_message(a.name, a.alignment_id, a.info, a.problem) for a in found],
    )
    if status.info is not None:
        message.MergeFrom(_info_message(status.info, brief))
    return message


def _moves_any_size(config: ModelConfig) -> bool:
    """Return whether frames of any size can be simulated by a call that does not say how many MaskGIT steps."""
    return config.moves_any_size and not (config.mends and config.maskgit_steps > 0)


def _is_calibrated(info: BundleInfo) -> bool:
    try:
        return read_calibration(info) is not None
    except ModelError:  # a simulation that asks for it is told what is wrong
        return False


def _info_message(info: BundleInfo, brief: bool) -> models_pb2.Model:
    config = info.config
    message = models_pb2.Model(
        bundle_id=info.bundle_id,
        frame_height=config.height,
        frame_width=config.width,
        model_fps=config.fps,
        num_codes=config.lam.quantizer.codes,
        latent_dim=config.lam.quantizer.dim,
        context_frames=config.context_frames,
        tokens_per_frame=config.tokens_per_frame if config.simulates or config.mends else 0,
        default_temperature=config.temperature,
        parameters=info.parameters,
        palette=code_palette(config.lam.quantizer.codes),
        usual_latent_norm=info.usual_norm or 0.0,
        latent_radius=info.latent_radius or 0.0,
        num_fine_codes=config.lam.fine_codes,
        feature_dim=label_feature_dim(config.lam) or 0,
        calibrated=_is_calibrated(info),
    )
    if not brief:
        message.codebook = info.codebook.astype("<f4", copy=False).tobytes()
        if info.fine_codebook is not None:
            message.fine_codebook = info.fine_codebook.astype("<f4", copy=False).tobytes()
        message.card = info.card
    return message


def _meanings_message(info: BundleInfo) -> models_pb2.Model:
    """Return what `genie palette` found about the codes; read anew, so that it can be used without a restart."""
    try:
        found = read_meanings(info.path, info.bundle_id, info.config.lam.quantizer.codes)
    except ModelError as error:
        return models_pb2.Model(code_meanings_problem=without_path(str(error), info.path))
    return models_pb2.Model(
        code_meanings=[
            models_pb2.CodeMeaning(
                words=one.words, robot=one.robot or "", share=one.share, round_trip=one.round_trip, picture=one.picture
            )
            for one in (() if found is None else found.codes)
        ]
    )


__all__ = ["ModelServicer"]
