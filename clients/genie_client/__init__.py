"""Genie's Python client: label robot video with latent actions, and simulate what actions would have done.

``Client`` and ``AsyncClient`` talk to a server; nothing here imports torch.
"""

from genie_client.aio import AsyncClient
from genie_client.aio_streams import AsyncLabelStream, AsyncPlaySession
from genie_client.client import Client
from genie_client.connection import Tls
from genie_client.errors import (
    ServerAccessError,
    ServerBusyError,
    ServerError,
    ServerTimeoutError,
    ServerUnavailableError,
)
from genie_client.records import (
    EpisodeLabels,
    HostedAlignment,
    HostedCodeMeaning,
    LabelProvenance,
    LabelSummary,
    ModelInfo,
    OperationStatistics,
    OutOfRangeWarning,
    ServerStatistics,
    SimulatedFrame,
    Timing,
    trusted_frames,
)
from genie_client.streams import LabelStream, PlaySession
from genie_core.data import Labels
from genie_core.errors import DatasetError, GenieError, ModelError, RequestError

__all__ = [
    "AsyncClient",
    "AsyncLabelStream",
    "AsyncPlaySession",
    "Client",
    "DatasetError",
    "EpisodeLabels",
    "GenieError",
    "HostedAlignment",
    "HostedCodeMeaning",
    "LabelProvenance",
    "LabelStream",
    "LabelSummary",
    "Labels",
    "ModelError",
    "ModelInfo",
    "OperationStatistics",
    "OutOfRangeWarning",
    "PlaySession",
    "RequestError",
    "ServerAccessError",
    "ServerBusyError",
    "ServerError",
    "ServerStatistics",
    "ServerTimeoutError",
    "ServerUnavailableError",
    "SimulatedFrame",
    "Timing",
    "Tls",
    "trusted_frames",
]
