"""Labels of two cameras of one robot, fused by `genie label --fuse`: in HDF5, exports, in place, verified, resumed."""

import json
from collections.abc import Iterator
from pathlib import Path

import h5py
import numpy as np
import pytest

from genie_core.data import Labels, open_dataset, open_labelled
from genie_core.data.labelled.fusing import fuse
from genie_core.inference import Labeller
from genie_core.models.bundle import load_bundle
from tests.factories.bundles import make_motion_bundle
from tests.factories.lerobot import make_lerobot_v21
from tests.support.processes import Genie, server_process

FRONT, WRIST = "observation.images.front", "observation.images.wrist"
ARRAYS = ("code", "latent", "confidence", "valid", "fine_code")


@pytest.fixture(scope="module")
def folder(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return make_motion_bundle(tmp_path_factory.mktemp("fused") / "motion").parent


@pytest.fixture(scope="module")
def address(folder: Path) -> Iterator[str]:
    with server_process(folder) as (_, address):
        yield address


@pytest.fixture
def data(tmp_path: Path) -> Path:
    return make_lerobot_v21(tmp_path / "set", lengths=(14, 11), size=(48, 48), cameras=(FRONT, WRIST))


def assert_same(got: Labels, wanted: Labels, arrays: tuple[str, ...] = ARRAYS) -> None:
    for name in arrays:
        np.testing.assert_array_equal(getattr(got, name), getattr(wanted, name), err_msg=name)


def test_fused_labels_and_those_of_each_view_reach_every_format(
    genie: Genie, folder: Path, address: str, data: Path, tmp_path: Path
) -> None:
    words = ("label", data, "--server", address, "--step", "2")
    genie.run(*words, "--fuse", "front,wrist")
    labelled = open_labelled(tmp_path / "set.labelled.hdf5")
    bundle = load_bundle(folder / "motion")
    seen = {camera: open_dataset(data, camera=camera).episodes for camera in (FRONT, WRIST)}
    for number, name in enumerate(labelled.episodes):
        labels, attrs = labelled.labels(name)
        assert (attrs.fused_cameras, attrs.camera) == ((FRONT, WRIST), FRONT)
        [[other, size, _]] = json.loads(attrs.fused_sources or "")
        assert (other, size) == (str(seen[WRIST][number].source), seen[WRIST][number].source.stat().st_size)
        views = {camera: Labeller(bundle).label(episodes[number].frames(), 2) for camera, episodes in seen.items()}
        assert labels.views is not None
        for camera, view in views.items():
            assert_same(labels.views[camera], view)
        assert_same(labels, fuse(views, labelled.model, bundle.info.latent_radius))
        np.testing.assert_allclose(labels.latent, (views[FRONT].latent + views[WRIST].latent) / 2, rtol=1e-6)
    for to in ("parquet", "lerobot"):
        genie.run("export", labelled.path, tmp_path / to, "--to", to)
        genie.run("export", tmp_path / to, tmp_path / f"{to}.hdf5", "--to", "robomimic")
        back = open_labelled(tmp_path / f"{to}.hdf5")
        for name in labelled.episodes:
            (got, there), (wanted, attrs) = back.labels(name), labelled.labels(name)
            assert there.fused == attrs.fused
            assert_same(got, wanted)
            assert got.views is not None
            assert wanted.views is not None
            for camera in (FRONT, WRIST):
                assert_same(got.views[camera], wanted.views[camera], ARRAYS[:4])
    genie.run("verify", labelled.path)
    assert 'wrist"], expected None' in genie.fail(*words, "--camera", "front", "--resume")
    with h5py.File(labelled.path, "r+") as file:
        file[f"data/demo_1/latent_actions/views/{WRIST}/latent"][0] = 7
    code, out, _ = genie.call("verify", labelled.path)
    assert (code, "demo_1" in out) == (1, True)


def test_fused_labels_are_added_to_a_lerobot_dataset_itself(genie: Genie, address: str, data: Path) -> None:
    genie.run("label", data, "--server", address, "--step", "2", "--fuse", "all", "--in-place")
    features = json.loads((data / "meta/info.json").read_text())["features"]
    assert features["latent_action.views.wrist.latent"] == {"dtype": "float32", "shape": [6], "names": None}
    episode = open_dataset(data, camera="front").episodes[1]
    mean = (episode.array("latent_action.views.front.latent") + episode.array("latent_action.views.wrist.latent")) / 2
    np.testing.assert_allclose(episode.array("latent_action.latent"), mean, rtol=1e-6)


def test_views_that_do_not_go_together_are_refused(genie: Genie, address: str, data: Path) -> None:
    words = ("label", data, "--server", address, "--step", "2", "--fuse")
    assert "--fuse: got it with --camera" in genie.fail(*words, "all", "--camera", "wrist")
    assert "expected two or more different ones" in genie.fail(*words, "wrist,wrist")
    assert "no camera `left`" in genie.fail(*words, "front,left")
    (data / f"videos/chunk-000/{WRIST}/episode_000001.mp4").unlink()
    assert "episode_000001.mp4" in genie.fail(*words, "all")
    said = genie.run(*words, "all", "--skip-bad")
    assert "left out episode_000001" in said
