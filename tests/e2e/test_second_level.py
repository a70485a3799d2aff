"""Fine codes and features on their way: model, server, client, labelled file, exports and back, to the bit."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path

import h5py
import numpy as np
import pytest

from genie_client.client import Client
from genie_core.data import Labels, open_dataset, open_labelled
from genie_core.errors import RequestError
from genie_core.inference import Labeller
from genie_core.models.bundle import load_bundle
from tests.factories.bundles import make_motion_bundle, make_nano_bundle
from tests.factories.data import make_robomimic
from tests.support.processes import Genie, server_process

ARRAYS = ("code", "latent", "confidence", "valid", "fine_code", "feature")


@pytest.fixture(scope="module")
def folder(tmp_path_factory: pytest.TempPathFactory) -> Path:
    folder = tmp_path_factory.mktemp("two-level-models")
    make_motion_bundle(folder / "motion")
    make_nano_bundle(folder / "nano")
    return folder


@pytest.fixture(scope="module")
def two_levels(folder: Path) -> Iterator[str]:
    with pytest.MonkeyPatch.context() as patch:
        patch.setenv("OMP_NUM_THREADS", "1")
        with server_process(folder, 0, "--default-model", "motion") as (_, address):
            yield address


def assert_same(got: Labels, wanted: Labels) -> None:
    for name in ARRAYS:
        array = getattr(got, name)
        np.testing.assert_array_equal(array, getattr(wanted, name), err_msg=name)
        assert array.dtype == getattr(wanted, name).dtype


def test_labels_have_fine_codes_and_features_where_asked_everywhere(
    genie: Genie, folder: Path, two_levels: str, tmp_path: Path
) -> None:
    data = make_robomimic(tmp_path / "a.hdf5", episodes=2, frames=40, size=48)
    labeller = Labeller(load_bundle(folder / "motion"))
    wanted = [labeller.label(e.frames(), 2, feature=True) for e in open_dataset(data).episodes]
    words = ("label", data, "--server", two_levels, "--model", "motion", "--step", "2")
    assert "of 12 used" in genie.run(*words, "--feature")
    labelled = open_labelled(tmp_path / "a.labelled.hdf5")
    fine = labelled.model.fine_codebook
    assert fine is not None
    assert fine.shape == (12, 6)
    for name, whole in zip(labelled.episodes, wanted, strict=True):
        labels, attrs = labelled.labels(name)
        assert_same(labels, whole)
        assert attrs.feature_dim == labels.feature.shape[1] == 18
        assert not labels.feature[~labels.valid].any()
    for to in ("parquet", "lerobot"):
        genie.run("export", labelled.path, tmp_path / to, "--to", to)
        genie.run("export", tmp_path / to, tmp_path / f"{to}.hdf5", "--to", "robomimic")
        back = open_labelled(tmp_path / f"{to}.hdf5")
        np.testing.assert_array_equal(back.model.fine_codebook, fine)
        for name in labelled.episodes:
            assert_same(back.labels(name)[0], labelled.labels(name)[0])
    genie.run("verify", labelled.path)
    assert "feature_dim 18, expected None" in genie.fail(*words, "--resume")
    with h5py.File(labelled.path, "r+") as file:
        file["latent_action_model/fine_codebook"][0] = 7
    code, out, _ = genie.call("verify", labelled.path)
    assert code == 1
    assert "the codebook of fine codes is not what was written" in out


def test_without_being_asked_for_features_are_left_out_and_only_some_models_give_them(
    genie: Genie, two_levels: str, tmp_path: Path
) -> None:
    data = make_robomimic(tmp_path / "a.hdf5", episodes=1, frames=20)
    genie.run("label", data, "--server", two_levels, "--model", "motion", "--step", "1")
    labels, attrs = open_labelled(tmp_path / "a.labelled.hdf5").labels("demo_0")
    assert (labels.feature, attrs.feature_dim) == (None, None)
    assert labels.fine_code is not None
    frames = open_dataset(data).episodes[0].frames()
    refused = genie.fail("label", data, "--server", two_levels, "--model", "nano", "--overwrite", "--feature")
    assert "feature: nano gives none" in refused
    with Client(two_levels) as client:
        info = client.model("motion")
        assert (info.num_fine_codes, info.feature_dim, info.usual_norm) == (12, 18, pytest.approx(1))
        assert info.latent_radius == pytest.approx(1 / 4)
        short, long = client.label(frames, step=1, model="motion", feature=True), None
        with client.label_stream([frames], step=1, model="motion", feature=True) as stream:
            long = stream.read_all()
        assert_same(short, long)
        client.load_model("nano")
        assert client.label(frames, step=1, model="nano").fine_code is None
        with pytest.raises(RequestError, match="feature: model nano gives none"):
            client.label(frames, step=1, model="nano", feature=True)
