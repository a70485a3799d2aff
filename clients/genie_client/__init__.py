"""Genie's Python client: label robot video with latent actions, and simulate what actions would have done.

``Client`` and ``AsyncClient`` talk to a server; nothing here imports torch.
"""

from genie_client.aio import AsyncClient, AsyncLabelStream, AsyncPlaySession
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
    Alignment,
    EpisodeLabels,
    LabelSummary,
    ModelInfo,
    OperationStatistics,
    Provenance,
    ServerStatistics,
    Timing,
)
from genie_client.streams import LabelStream, PlaySession
from genie_core.data import Labels
from genie_core.errors import DatasetError, GenieError, ModelError, RequestError

__all__ = [
    "Alignment",
    "AsyncClient",
    "AsyncLabelStream",
    "AsyncPlaySession",
    "Client",
    "DatasetError",
    "EpisodeLabels",
    "GenieError",
    "LabelStream",
    "LabelSummary",
    "Labels",
    "ModelError",
    "ModelInfo",
    "OperationStatistics",
    "PlaySession",
    "Provenance",
    "RequestError",
    "ServerAccessError",
    "ServerBusyError",
    "ServerError",
    "ServerStatistics",
    "ServerTimeoutError",
    "ServerUnavailableError",
    "Timing",
    "Tls",
]
