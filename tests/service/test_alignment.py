"""Alignments behind the service: listed with their model, asked for by name, decoded alike however frames come."""

from __future__ import annotations

import hashlib
import shutil
from collections.abc import Callable, Iterable
from dataclasses import replace
from pathlib import Path

import grpc
import numpy as np
import pytest
from numpy.typing import NDArray

from genie_api.v1 import labelling_pb2, models_pb2
from genie_core.alignment import load_alignment, read_alignment_info, save_alignment
from genie_core.models.bundle import BundleInfo, read_bundle_info
from tests.factories.alignment import make_alignment
from tests.factories.bundles import make_nano_bundle
from tests.support.service_messages import Episode, assert_invalid, details, episode, labels_of, raw, video
from tests.support.service_server import Running

LATENT_DIM = 8
BROKEN = "broken", "other"


@pytest.fixture(scope="module")
def models(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A bundle with alignments: with and without frames, for two steps, of another bundle, and damaged ones."""
    folder = tmp_path_factory.mktemp("aligned")
    info = read_bundle_info(make_nano_bundle(folder / "alpha", seed=1))
    beside = info.path / "alignments"
    _save(beside / "seeing.safetensors", info, observe=True)
    _save(beside / "seeing-3.safetensors", info, observe=True, step=3)
    _save(beside / "blind.safetensors", info, observe=False)
    other = read_bundle_info(make_nano_bundle(folder / "beta", seed=2))
    _save(beside / "other.safetensors", other, observe=False)
    (beside / "broken.safetensors").write_bytes(b"no such thing")
    return folder


def _save(path: Path, info: BundleInfo, *, observe: bool, step: int = 1) -> None:
    alignment = make_alignment(info, observe=observe)
    changed = alignment.info.model_copy(update={"step": step})
    save_alignment(path, replace(alignment, info=changed))


@pytest.fixture
def genie(models: Path, start: Callable[..., Running]) -> Running:
    return start(models, default_model="alpha")


def _label(genie: Running, requests: Iterable[labelling_pb2.LabelEpisodeRequest]) -> tuple[object, NDArray[np.float32]]:
    """Header and actions of one episode."""
    responses = list(genie.labelling.LabelEpisode(iter(requests)))
    sent = [np.frombuffer(r.labels.action, "<f4").reshape(-1, 2) for r in responses[1:-1]]
    for response, actions in zip(responses[1:-1], sent, strict=True):
        assert len(actions) == len(response.labels.code)
    return responses[0].header, np.concatenate(sent)


def _clip(genie: Running, frames: Episode, **options: object) -> labelling_pb2.LabelClipResponse:
    options = {"fps": 10.0, **options}
    return genie.labelling.LabelClip(
        labelling_pb2.LabelClipRequest(options=labelling_pb2.LabelOptions(**options), frames=raw(frames))
    )


def _model(genie: Running) -> models_pb2.Model:
    return genie.models.GetModel(models_pb2.GetModelRequest()).model


def test_a_model_lists_its_alignments_and_what_is_wrong_with_some(genie: Running, models: Path) -> None:
    found = {a.name: a for a in _model(genie).alignments}
    assert list(found) == ["blind", "broken", "other", "seeing", "seeing-3"]
    file = models / "alpha/alignments/seeing-3.safetensors"
    info = read_alignment_info(file)
    assert found["seeing-3"] == models_pb2.Alignment(
        name="seeing-3",
        alignment_id=hashlib.sha256(file.read_bytes()).hexdigest(),
        action_dim=2,
        action_names=["x", "y"],
        step=3,
        reduce="mean",
        encodes=True,
        action_low=info.back_low,
        action_high=info.back_high,
    )
    for name, words in (("broken", "cannot be read"), ("other", "belongs to bundle")):
        assert words in found[name].problem
        assert not found[name].alignment_id
    alpha, beta = genie.models.ListModels(models_pb2.ListModelsRequest()).models
    assert list(alpha.alignments) == list(found.values())
    assert not beta.alignments


@pytest.mark.parametrize("step", [1, 3])
@pytest.mark.parametrize("density", ["DENSE", "STRIDED"])
def test_actions_are_the_alignments_own(genie: Running, models: Path, step: int, density: str) -> None:
    frames = video(150, 32, 32)
    name = "seeing" if step == 1 else "seeing-3"
    answer = _clip(genie, frames, step=step, density=f"LABEL_DENSITY_{density}", alignment=name)
    info = read_bundle_info(models / "alpha")
    path = info.path / "alignments" / f"{name}.safetensors"
    labels = labels_of([answer.labels], LATENT_DIM)
    wanted = load_alignment(path, info).decode(labels.latent, labels.code, frames)
    actions = np.frombuffer(answer.labels.action, "<f4").reshape(-1, 2)
    np.testing.assert_allclose(actions[labels.valid], wanted[labels.valid], rtol=1e-5)
    assert labels.valid.any()
    assert not actions[~labels.valid].any()
    assert answer.provenance.alignment.name == name
    assert answer.provenance.alignment.alignment_id == hashlib.sha256(path.read_bytes()).hexdigest()
    assert list(answer.provenance.alignment.action_names) == ["x", "y"]


@pytest.mark.parametrize("alignment", ["seeing", "blind"])
def test_how_frames_come_changes_no_bit_of_an_action(genie: Running, alignment: str) -> None:
    frames = video(101)
    whole = np.frombuffer(_clip(genie, frames, alignment=alignment).labels.action, "<f4").reshape(-1, 2)
    for chunk in (1, 7, 16, 33, 101):
        _, actions = _label(genie, episode(frames, chunk, alignment=alignment))
        np.testing.assert_array_equal(actions.view(np.uint32), whole.view(np.uint32))
    # Nor does what comes later: an action is final when it is sent.
    _, shorter = _label(genie, episode(frames[:60], 60, alignment=alignment))
    np.testing.assert_array_equal(shorter[:59], whole[:59])


def test_actions_of_longer_transitions_come_alike_too(genie: Running) -> None:
    frames = video(160)
    whole = _clip(genie, frames, step=3, alignment="seeing-3").labels.action
    for chunk in (5, 47):
        _, actions = _label(genie, episode(frames, chunk, fps=0, step=3, alignment="seeing-3"))
        assert actions.tobytes() == whole


def test_where_no_alignment_is_asked_for_there_are_no_actions(genie: Running) -> None:
    answer = _clip(genie, video(20))
    assert not answer.labels.action
    assert not answer.provenance.HasField("alignment")


def test_an_episode_without_transitions_has_actions_of_zeros(genie: Running) -> None:
    _, actions = _label(genie, episode(video(3), fps=0, step=3, alignment="seeing-3"))
    assert actions.shape == (3, 2)
    assert not actions.any()


def test_an_alignment_that_is_not_there_is_refused_with_those_that_are(genie: Running) -> None:
    for ask in (
        lambda: _clip(genie, video(20), alignment="nobody"),
        lambda: _clip(genie, video(20), alignment="../alignments/seeing"),
    ):
        with pytest.raises(grpc.RpcError) as caught:
            ask()
        assert_invalid(caught.value, "options.alignment", "blind", "seeing-3")
    with pytest.raises(grpc.RpcError) as caught:
        _label(genie, episode(video(20), alignment="nobody"))
    assert_invalid(caught.value, "header.alignment", "'nobody'", "blind")
    with pytest.raises(grpc.RpcError) as caught:
        _clip(genie, video(20), step=2, alignment="seeing-3")
    assert_invalid(caught.value, "options.alignment", "step 3", "step 2")


@pytest.mark.parametrize(("name", "words"), [("broken", "cannot be read"), ("other", "belongs to bundle")])
def test_an_alignment_that_cannot_be_used_is_a_failed_precondition(genie: Running, name: str, words: str) -> None:
    with pytest.raises(grpc.RpcError) as caught:
        _clip(genie, video(20), alignment=name)
    assert caught.value.code() is grpc.StatusCode.FAILED_PRECONDITION
    assert name in caught.value.details()
    assert words in caught.value.details()
    assert "RequestInfo" in details(caught.value)


def test_an_alignment_made_or_replaced_while_the_server_runs_is_used(
    tmp_path: Path, start: Callable[..., Running]
) -> None:
    info = read_bundle_info(make_nano_bundle(tmp_path / "alpha", seed=1))
    genie = start(tmp_path)
    with pytest.raises(grpc.RpcError) as caught:
        _clip(genie, video(20), alignment="new")
    assert_invalid(caught.value, "options.alignment", "no alignments", "genie align")
    path = info.path / "alignments" / "new.safetensors"
    _save(path, info, observe=False)
    first = _clip(genie, video(20), alignment="new")
    path.unlink()
    _save(path, info, observe=True)
    second = _clip(genie, video(20), alignment="new")
    assert first.provenance.alignment.alignment_id != second.provenance.alignment.alignment_id
    assert first.labels.latent == second.labels.latent
    assert first.labels.action != second.labels.action
    # Damaged below its header, which says nothing of that: refused when it is read.
    shutil.copy(path, path.with_name("cut.safetensors"))
    content = bytearray(path.read_bytes())
    content[-8:] = b"\xff" * 8
    path.with_name("cut.safetensors").write_bytes(bytes(content))
    with pytest.raises(grpc.RpcError) as caught:
        _clip(genie, video(20), alignment="cut")
    assert caught.value.code() is grpc.StatusCode.FAILED_PRECONDITION
    assert "damaged" in caught.value.details()
