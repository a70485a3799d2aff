"""Messages that tests send, and reading what comes back."""

from __future__ import annotations

from collections.abc import Iterable, Iterator
from typing import Any

import grpc
import numpy as np
from google.rpc import error_details_pb2, status_pb2
from numpy.typing import NDArray

from genie_api.v1 import frames_pb2, labelling_pb2, simulation_pb2
from genie_core.data.labelled.labels import Labels

Episode = NDArray[np.uint8]


def video(frames: int, height: int = 40, width: int = 48, seed: int = 0) -> Episode:
    """(T, H, W, 3) of noise that moves."""
    return np.random.default_rng(seed).integers(0, 256, (frames, height, width, 3), np.uint8)


def raw(frames: Episode, **changes: Any) -> frames_pb2.Frames:
    count, height, width, channels = frames.shape
    fields: dict[str, Any] = {
        "encoding": frames_pb2.FRAME_ENCODING_RAW,
        "data_type": frames_pb2.DATA_TYPE_UINT8,
        "count": count,
        "height": height,
        "width": width,
        "channels": channels,
        "raw": frames.tobytes(),
    }
    return frames_pb2.Frames(**{**fields, **changes})


def episode(
    frames: Episode | Iterable[Episode], chunk: int = 7, **options: Any
) -> Iterator[labelling_pb2.LabelEpisodeRequest]:
    """The requests of one episode; `frames` may come in parts."""
    options = {"fps": 10.0, **options}
    yield labelling_pb2.LabelEpisodeRequest(header=labelling_pb2.LabelOptions(**options))
    for part in [frames] if isinstance(frames, np.ndarray) else frames:
        for at in range(0, len(part), chunk):
            yield labelling_pb2.LabelEpisodeRequest(frames=raw(part[at : at + chunk]))


def labels_of(messages: Iterable[labelling_pb2.Labels], latent_dim: int) -> Labels:
    parts = [
        Labels(
            m.start_index,
            np.array(m.code, np.uint16),
            np.frombuffer(m.latent, "<f4").reshape(-1, latent_dim),
            np.array(m.confidence, np.float32),
            np.array(m.valid, np.bool_),
        )
        for m in messages
    ]
    return Labels.concatenate(parts)


def rollout(frames: Episode, codes: Iterable[int], /, **start: Any) -> simulation_pb2.RolloutRequest:
    return simulation_pb2.RolloutRequest(
        start=simulation_pb2.SimulationStart(**{"prompt": raw(frames), **start}),
        actions=simulation_pb2.ActionSequence(codes=codes),
    )


def pixels(message: frames_pb2.Frames) -> Episode:
    shape = (message.count, message.height, message.width, message.channels)
    return np.frombuffer(message.raw, np.uint8).reshape(shape)


def details(error: grpc.RpcError) -> dict[str, Any]:
    """The google.rpc details of an error, by the name of their kind."""
    trailing = {key: value for key, value in error.trailing_metadata()}  # noqa: C416 - `dict` fails in gRPC 1.73
    status = status_pb2.Status.FromString(trailing["grpc-status-details-bin"])
    assert status.code == error.code().value[0]
    assert status.message == error.details()
    found: dict[str, Any] = {}
    for detail in status.details:
        kind = detail.type_url.rpartition(".")[2]
        found[kind] = getattr(error_details_pb2, kind)()
        assert detail.Unpack(found[kind])
    return found


def assert_invalid(error: grpc.RpcError, field: str, *words: str) -> None:
    """INVALID_ARGUMENT of this field, in the text and in the details, with these words in the text."""
    assert error.code() is grpc.StatusCode.INVALID_ARGUMENT, error
    assert error.details().startswith(f"{field}: "), error.details()
    assert details(error)["BadRequest"].field_violations[0].field == field
    for word in words:
        assert word in error.details(), error.details()
