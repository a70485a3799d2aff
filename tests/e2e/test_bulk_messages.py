"""Bulk labelling sends a short episode in one message and streams the others: the same labels, whatever fits."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest

from genie_client import Client, messages
from genie_client.bulk import LabelPlan, label_dataset
from genie_client.clip_call import ClipCall
from genie_core.data import open_dataset, open_labelled
from tests.factories.data import make_robomimic
from tests.support.service_server import serving

SIDE = 32


@pytest.fixture
def whole(monkeypatch: pytest.MonkeyPatch) -> list[int]:
    """Frames of each episode that was sent in one message."""
    sent: list[int] = []
    begin = Client.begin_clip

    def note(client: Client, frames: np.ndarray, **labelling: object) -> ClipCall:
        sent.append(len(frames))
        return begin(client, frames, **labelling)  # type: ignore[arg-type]

    monkeypatch.setattr(Client, "begin_clip", note)
    return sent


def label(address: str, source: Path, out: Path, **plan: object) -> list[np.ndarray]:
    with Client(address) as client:
        report = label_dataset(client, open_dataset(source), LabelPlan(out, step=2, **plan))  # type: ignore[arg-type]
    labelled = open_labelled(out)
    assert report.labelled == len(labelled.episodes)
    return [labelled.labels(name)[0].latent for name in labelled.episodes]


def test_short_episodes_go_in_one_message_and_get_the_labels_of_a_stream(
    server: str, tmp_path: Path, whole: list[int], monkeypatch: pytest.MonkeyPatch
) -> None:
    source = make_robomimic(tmp_path / "a.hdf5", episodes=3, frames=40, size=SIDE)
    in_one = label(server, source, tmp_path / "one.hdf5")
    assert whole == [40] * 3
    monkeypatch.setattr(messages, "CLIP_BYTES", 39 * SIDE * SIDE * 3)
    streamed = label(server, source, tmp_path / "streamed.hdf5")
    assert whole == [40] * 3
    for one, other in zip(in_one, streamed, strict=True):
        np.testing.assert_array_equal(one, other)


@pytest.mark.parametrize("limit", [{"max_frames": 200}, {"max_message_mib": 1}])
def test_a_server_that_takes_only_smaller_messages_is_streamed_to(
    models_folder: Path, tmp_path: Path, whole: list[int], limit: dict[str, int]
) -> None:
    source = make_robomimic(tmp_path / "a.hdf5", episodes=3, frames=400, size=SIDE)  # 1.2 MiB each
    with serving(models_folder, **limit) as running:
        labels = label(running.server.address, source, tmp_path / "out.hdf5", jobs=1)
    assert whole == [400]  # tried once
    assert [len(latent) for latent in labels] == [400] * 3
