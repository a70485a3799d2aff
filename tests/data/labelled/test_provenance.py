"""Provenance: what is written of it, what older files lack, and what makes labels of two runs differ."""

from __future__ import annotations

import hashlib
from pathlib import Path

import h5py
import pytest

from genie_core.data import Computation, LabelWriter, Provenance, open_dataset, open_labelled, read_labels
from genie_core.data.export.run import ExportPlan, export_labels
from genie_core.data.storage import fingerprint
from genie_core.errors import DatasetError
from tests.factories.data import make_label_model, make_labels, make_robomimic, make_video

ELSEWHERE = Computation(processor="NVIDIA H100 80GB HBM3", torch_version="2.12.1+cu130")


def label(source: Path, output: Path, *, step: int | None = None, computed: Computation | None = None) -> Provenance:
    dataset = open_dataset(source)
    writer = LabelWriter(output, dataset, make_label_model(), step=step, frames="none")
    for episode in writer.pending():
        with writer.episode(episode) as part:
            if computed is not None:
                part.computed_as(computed)
            part.add_labels(make_labels(episode.num_frames, writer.step(episode).step))
    writer.finish()
    return read_labels(output, "demo_0")[1]


def test_labels_say_what_computed_them_and_what_was_read(tmp_path: Path) -> None:
    source = make_robomimic(tmp_path / "a.hdf5", size=8)
    attrs = label(source, tmp_path / "out.hdf5")
    assert attrs.computation == make_label_model().computation
    assert attrs.source_sha256 == hashlib.sha256(source.read_bytes()).hexdigest()
    assert attrs.step_policy == "rates"
    assert label(source, tmp_path / "two.hdf5", step=2).step_policy == "given"


def test_an_episode_says_which_machine_computed_it_whatever_the_model_said(tmp_path: Path) -> None:
    attrs = label(make_video(tmp_path / "a.mp4"), tmp_path / "out.hdf5", computed=ELSEWHERE)
    assert attrs.computation == ELSEWHERE


def test_labels_of_another_precision_are_refused_as_they_come(tmp_path: Path) -> None:
    with pytest.raises(DatasetError, match="got labels of bfloat16, expected float32"):
        label(make_video(tmp_path / "a.mp4"), tmp_path / "out.hdf5", computed=Computation(precision="bfloat16"))


def test_a_file_that_costs_much_to_hash_is_not_hashed(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    source = make_robomimic(tmp_path / "a.hdf5", size=8)
    monkeypatch.setattr(fingerprint, "HASHED_BYTES", source.stat().st_size - 1)
    attrs = label(source, tmp_path / "out.hdf5")
    assert attrs.source_sha256 is None
    assert attrs.source_size == source.stat().st_size


@pytest.mark.parametrize("missing", [("processor", "torch_version", "step_policy", "source_sha256"), ("precision",)])
def test_files_of_earlier_versions_are_read(tmp_path: Path, missing: tuple[str, ...]) -> None:
    label(make_robomimic(tmp_path / "a.hdf5", size=8), tmp_path / "out.hdf5")
    with h5py.File(tmp_path / "out.hdf5", "r+") as file:
        for group in (file["latent_action_model"], *(demo["latent_actions"] for demo in file["data"].values())):
            for key in missing:
                group.attrs.pop(key, None)
    labelled = open_labelled(tmp_path / "out.hdf5")
    _, attrs = labelled.labels("demo_0")
    assert attrs.precision == labelled.model.computation.precision == "float32"
    if "processor" in missing:
        assert (attrs.computation, attrs.step_policy, attrs.source_sha256) == (Computation(), None, None)


def test_a_wrong_attribute_is_named(tmp_path: Path) -> None:
    label(make_robomimic(tmp_path / "a.hdf5", size=8), tmp_path / "out.hdf5")
    with h5py.File(tmp_path / "out.hdf5", "r+") as file:
        file["data/demo_0/latent_actions"].attrs["precision"] = "int4"
    with pytest.raises(DatasetError, match=r"demo_0/latent_actions: wrong attributes: computation.precision: Input"):
        read_labels(tmp_path / "out.hdf5", "demo_0")


def test_another_machine_or_version_makes_no_other_labels_but_another_source_does(tmp_path: Path) -> None:
    here = label(make_robomimic(tmp_path / "a.hdf5", size=8), tmp_path / "out.hdf5")
    there = here.model_copy(update={"computation": ELSEWHERE, "tool_version": "9", "created": "later"})
    assert here.difference(there, same_source=True) is None
    changed = here.model_copy(update={"source_size": 1})
    assert here.difference(changed, same_source=True) == f"source_size {here.source_size}, expected 1"
    assert here.difference(changed, same_source=False) is None
    half = here.model_copy(update={"computation": Computation(precision="bfloat16")})
    assert here.difference(half, same_source=False) == "precision float32, expected bfloat16"


@pytest.mark.parametrize("to", ["parquet", "lerobot"])
def test_provenance_survives_an_export_and_the_way_back(tmp_path: Path, to: str) -> None:
    before = label(make_robomimic(tmp_path / "a.hdf5", size=16), tmp_path / "out.hdf5", computed=ELSEWHERE)
    export_labels(tmp_path / "out.hdf5", tmp_path / "there", ExportPlan(to))  # type: ignore[arg-type]
    plan = ExportPlan("robomimic", frames="none" if to == "parquet" else "source")
    export_labels(tmp_path / "there", tmp_path / "back.hdf5", plan)
    _, after = open_labelled(tmp_path / "back.hdf5").labels("demo_0")
    assert after == before
