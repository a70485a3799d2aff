"""Hot swap: a bundle is replaced while clients label and simulate. No call fails, and no result mixes the two."""

from __future__ import annotations

import queue
import shutil
import threading
from collections.abc import Callable, Iterator
from pathlib import Path

import numpy as np
import pytest

from genie_api.v1 import labelling_pb2, models_pb2
from genie_client import Client, GenieError, ModelError
from genie_client.bulk import LabelPlan, label_dataset
from genie_core.data import open_dataset
from genie_core.models.bundle import bundle_id
from tests.factories.bundles import make_nano_bundle
from tests.factories.data import make_robomimic
from tests.support.service_messages import episode, labels_of, video
from tests.support.service_server import Running, serving

FRAMES = video(20, 32, 32)


@pytest.fixture
def models(tmp_path: Path) -> Path:
    folder = tmp_path / "models"
    make_nano_bundle(folder / "nano", seed=1)
    make_nano_bundle(tmp_path / "next" / "nano", seed=2)
    return folder


@pytest.fixture
def running(models: Path) -> Iterator[Running]:
    with serving(models) as running:
        yield running


def put(models: Path) -> str:
    """Put the next bundle where the first one is, as a deployment would; its identity."""
    shutil.move(models / "nano", models.parent / "old")
    shutil.move(models.parent / "next" / "nano", models / "nano")
    return bundle_id(models / "nano")


def load(running: Running) -> models_pb2.Model:
    return running.models.LoadModel(models_pb2.LoadModelRequest(name="models/nano"), timeout=60).model


def test_no_call_fails_and_every_result_is_of_one_bundle(running: Running, models: Path) -> None:
    results: list[tuple[str, bytes]] = []
    failures: list[BaseException] = []
    swapped, enough = threading.Event(), threading.Event()

    def work(label: Callable[[Client], tuple[str, bytes]]) -> None:
        try:
            with Client(running.server.address, patience_s=0) as client:
                after = 0
                while after < 3:
                    after += swapped.is_set()
                    results.append(label(client))
                    if len(results) > 12:
                        enough.set()
        except BaseException as error:
            failures.append(error)
            enough.set()

    def clip(client: Client) -> tuple[str, bytes]:
        labels = client.label(FRAMES, fps=10)
        return labels.provenance.bundle_id, labels.latent.tobytes()

    def stream(client: Client) -> tuple[str, bytes]:
        with client.label_stream([FRAMES[:9], FRAMES[9:]], fps=10) as labels:
            whole = labels.read_all()
        return whole.provenance.bundle_id, whole.latent.tobytes()

    def rollout(client: Client) -> tuple[str, bytes]:
        return "rollout", client.rollout(FRAMES[0], [1, 2]).tobytes()

    def play(client: Client) -> tuple[str, bytes]:
        with client.play(FRAMES[0]) as session:
            return "rollout", np.stack([session.step(1), session.step(2)]).tobytes()

    first = running.models.GetModel(models_pb2.GetModelRequest()).model.bundle_id
    threads = [threading.Thread(target=work, args=(kind,)) for kind in (clip, stream, rollout, play)]
    for thread in threads:
        thread.start()
    assert enough.wait(60)
    second = put(models)
    loaded = load(running)
    swapped.set()
    for thread in threads:
        thread.join(60)
    assert failures == []
    assert (loaded.bundle_id, loaded.state) == (second, models_pb2.MODEL_STATE_READY)
    latents = {identity: {b for i, b in results if i == identity} for identity in (first, second)}
    assert all(len(found) == 1 for found in latents.values())  # one result each, whoever asked, whenever
    assert len({latents[first].pop(), latents[second].pop()}) == 2
    assert len({b for i, b in results if i == "rollout"}) == 2


def test_an_episode_under_way_ends_with_the_bundle_that_it_began_with(running: Running, models: Path) -> None:
    requests: queue.SimpleQueue[labelling_pb2.LabelEpisodeRequest | None] = queue.SimpleQueue()
    begun = list(episode(FRAMES, chunk=20))
    whole = list(running.labelling.LabelEpisode(iter(begun)))
    requests.put(begun[0])
    call = running.labelling.LabelEpisode(iter(requests.get, None))
    answers = [next(call)]
    second = put(models)
    assert load(running).bundle_id == second
    for request in [*begun[1:], None]:
        requests.put(request)
    answers += list(call)
    assert answers[0].header == whole[0].header
    ours, theirs = (
        labels_of([a.labels for a in found if a.HasField("labels")], whole[0].header.latent_dim)
        for found in (answers, whole)
    )
    np.testing.assert_array_equal(ours.latent, theirs.latent)
    assert next(iter(running.labelling.LabelEpisode(iter(begun)))).header.bundle_id == second


def test_new_files_that_cannot_be_used_leave_the_old_ones_in_use(running: Running, models: Path) -> None:
    first = load(running)  # nothing has changed: no effect
    (models / "nano" / "lam.safetensors").write_bytes(b"half")
    with Client(running.server.address) as client:
        with pytest.raises(ModelError, match=r"model 'nano' stays as it was, its new files cannot be used: .*lam"):
            client.load_model("nano")
        assert client.label(FRAMES, fps=10).provenance.bundle_id == first.bundle_id
        found = client.model()
        assert (found.state, found.bundle_id) == ("ready", first.bundle_id)
        assert "lam.safetensors" in found.state_message


def test_a_run_of_the_old_bundle_is_refused_and_not_mixed(running: Running, models: Path, tmp_path: Path) -> None:
    dataset = open_dataset(make_robomimic(tmp_path / "set.hdf5", episodes=4, size=32))
    plan = LabelPlan(tmp_path / "out.hdf5", jobs=1)
    with Client(running.server.address) as client:
        done = 0.0

        def swap_after_the_first(more: float) -> None:
            nonlocal done
            before, done = done, done + more
            if before < 1 - 1e-6 <= done:
                put(models)
                client.load_model("nano")

        with pytest.raises(ModelError, match=r"replaced the model during this run: bundle: got"):
            label_dataset(client, dataset, plan, swap_after_the_first)
        with pytest.raises(GenieError, match="bundle"):
            label_dataset(client, dataset, plan)
    assert not (tmp_path / "out.hdf5").exists()
