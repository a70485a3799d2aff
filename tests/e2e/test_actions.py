"""From latent to real actions as users go: label, `genie align`, then ask the server for actions beside the labels."""

from __future__ import annotations

import asyncio
import hashlib
from collections.abc import Iterator
from pathlib import Path

import numpy as np
import pytest

from genie_client import AsyncClient, Client, EpisodeLabels, RequestError
from genie_client.embedded import embedded_server
from genie_core.alignment import load_alignment
from genie_core.data import open_dataset, open_labelled
from genie_core.models.bundle import read_bundle_info
from tests.factories.bundles import make_nano_bundle
from tests.factories.data import make_robomimic
from tests.support.processes import Genie

SMALL = ("--budgets", "10", "--seeds", "1", "--supervised-steps", "0", "--no-mlp")


@pytest.fixture
def data(tmp_path: Path) -> Path:
    return make_robomimic(tmp_path / "lift.hdf5", episodes=6, frames=40, size=32)


@pytest.fixture
def models(tmp_path: Path) -> Path:
    make_nano_bundle(tmp_path / "models" / "nano")
    return tmp_path / "models"


@pytest.fixture
def server(models: Path, monkeypatch: pytest.MonkeyPatch) -> Iterator[str]:
    monkeypatch.setenv("OMP_NUM_THREADS", "1")
    with embedded_server(models) as address:
        yield address


@pytest.fixture
def aligned(genie: Genie, server: str, models: Path, data: Path) -> Path:
    """The alignment `lift`, made while the server runs."""
    genie.run("label", data, "--server", server)
    genie.run("align", data.with_name("lift.labelled.hdf5"), "--bundle", models / "nano", "--name", "lift", *SMALL)
    return models / "nano" / "alignments" / "lift.safetensors"


def test_actions_are_written_beside_the_labels(genie: Genie, server: str, data: Path, aligned: Path) -> None:
    listed = genie.run("models", "--server", server)
    assert "alignment" in listed
    assert "lift" in listed

    out = data.with_name("acted.hdf5")
    said = genie.run("label", data, "--server", server, "--alignment", "lift", "--out", out)
    identity = hashlib.sha256(aligned.read_bytes()).hexdigest()
    assert f"lift {identity[:12]}" in said
    file, plain = open_labelled(out), open_labelled(data.with_name("lift.labelled.hdf5"))
    alignment = load_alignment(aligned, read_bundle_info(aligned.parents[1]))
    for episode in open_dataset(data).episodes:
        labels, attrs = file.labels(episode.name)
        assert labels.action is not None
        assert attrs.aligned_by is not None
        assert (attrs.aligned_by.name, attrs.aligned_by.alignment_id) == ("lift", identity)
        assert attrs.aligned_by.action_names == alignment.info.actions
        np.testing.assert_array_equal(labels.latent, plain.labels(episode.name)[0].latent)
        wanted = alignment.decode(labels.latent, labels.code, episode.frames())
        np.testing.assert_allclose(labels.action[:-1], wanted[:-1], rtol=1e-4, atol=1e-6)
        assert not labels.action[-1:].any()
        assert labels.action[:-1].any()

    # Labels with and without actions, or with those of another alignment, are never mixed in one file.
    refusal = genie.fail("label", data, "--server", server, "--resume", "--out", out)
    assert "alignment_id" in refusal
    genie.run("label", data, "--server", server, "--resume", "--alignment", "lift", "--out", out)


def test_what_cannot_be_decoded_is_refused_before_anything_is_written(
    genie: Genie, server: str, data: Path, aligned: Path
) -> None:
    out = data.with_name("out.hdf5")
    ask = ("label", data, "--server", server, "--out", out)
    assert "nano has no alignment can; there are: lift" in genie.fail(*ask, "--alignment", "can")
    refusal = genie.fail(*ask, "--alignment", "lift", "--step", "2")
    assert "demo_0: step: got 2 frames" in refusal
    assert "expected 1, as alignment lift decodes" in refusal
    aligned.with_name("cut.safetensors").write_bytes(aligned.read_bytes()[:100])
    assert "alignment cut cannot be used" in genie.fail(*ask, "--alignment", "cut")
    assert not out.exists()


def test_both_clients_get_the_same_actions_however_frames_arrive(server: str, data: Path, aligned: Path) -> None:
    frames = open_dataset(data).episodes[2].frames()

    async def ask() -> EpisodeLabels:
        async with AsyncClient(server) as client:
            return await client.label(frames, fps=10, alignment="lift")

    with Client(server) as client:
        (alignment,) = client.model().alignments
        whole = client.label(frames, fps=10, alignment="lift")
        parts = list(client.label_stream((frames[at : at + 3] for at in range(0, 40, 3)), fps=10, alignment="lift"))
        assert client.label(frames, fps=10).action is None
        with pytest.raises(RequestError, match=r"options\.alignment.*'can'.*lift"):
            client.label(frames, fps=10, alignment="can")
    assert whole.provenance.alignment == alignment
    assert whole.action is not None
    assert whole.action.shape == (40, len(alignment.action_names))
    others = [asyncio.run(ask()).action, np.concatenate([part.action for part in parts if part.action is not None])]
    for other in others:
        assert other is not None
        np.testing.assert_array_equal(other.view(np.uint32), whole.action.view(np.uint32))
