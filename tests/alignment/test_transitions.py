from __future__ import annotations

from pathlib import Path

import h5py
import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from genie_core.alignment.observation import thumbnails
from genie_core.alignment.transitions import AlignedSet, Reduce, Wanted, read_material, reduce_actions
from genie_core.data import ReadOptions, open_dataset, open_labelled
from genie_core.errors import DatasetError
from genie_core.models.bundle import BundleInfo, read_bundle_info
from tests.factories.alignment import NUMBERS, make_aligned
from tests.factories.bundles import make_nano_bundle
from tests.factories.data import make_aloha, make_nested, make_robomimic
from tests.factories.labelled import label_file
from tests.factories.rlds import IMAGE, make_rlds


@pytest.fixture(scope="module")
def bundle(tmp_path_factory: pytest.TempPathFactory) -> BundleInfo:
    return read_bundle_info(make_nano_bundle(tmp_path_factory.mktemp("bundles") / "nano"))


def read(path: Path, actions_from: Path | None = None, **changes: object) -> AlignedSet:
    wanted = Wanted(actions_from, 32, 32, **changes)  # type: ignore[arg-type]
    return read_material(open_labelled(path), wanted, lambda *_: None)


@given(st.integers(0, 12), st.integers(1, 6))
def test_one_action_for_each_transition(frames: int, step: int) -> None:
    action_TA = np.random.default_rng(frames).normal(size=(frames, 2))
    ways: dict[Reduce, object] = {
        "mean": lambda t: action_TA[t : t + step].mean(axis=0),
        "first": lambda t: action_TA[t],
        "last": lambda t: action_TA[t + step - 1],
        "change": lambda t: action_TA[t + step] - action_TA[t],
    }
    for way, expected in ways.items():
        reduced = reduce_actions(action_TA, step, way)
        assert reduced.shape == (max(0, frames - step), 2)
        for t, action in enumerate(reduced):
            np.testing.assert_allclose(action, expected(t))  # type: ignore[operator]


@pytest.mark.parametrize("density", ["dense", "strided"])
def test_labels_meet_the_actions_of_their_frames(bundle: BundleInfo, tmp_path: Path, density) -> None:
    path = make_aligned(tmp_path / "a.labelled.hdf5", bundle, step=3, density=density, noise=0)
    material = read(path, reduce="last", keep_frames=True)
    labelled = open_labelled(path)
    assert (material.provenance.step, material.provenance.fps, len(material.episodes)) == (3, 10, 6)
    assert material.actions == ("action[0]", "action[1]", "action[2]")
    for episode in material.episodes:
        labels, _ = labelled.labels(episode.name)
        with h5py.File(tmp_path / "a.hdf5") as file:
            stored = file[f"data/{episode.name}/actions"][()]
        np.testing.assert_array_equal(episode.frame_S, np.flatnonzero(labels.valid))
        np.testing.assert_array_equal(episode.action_SA, stored[episode.frame_S + 2])
        np.testing.assert_array_equal(episode.latent_SD, labels.latent[labels.valid])
        assert episode.thumbnail_TF is not None
        assert episode.frames_THWC is not None
        assert episode.thumbnail_TF.shape == (20, 192)
        assert episode.frames_THWC.shape == (20, 32, 32, 3)


def test_actions_are_found_in_the_source_that_the_labels_name(bundle: BundleInfo, tmp_path: Path) -> None:
    path = make_aligned(tmp_path / "a.labelled.hdf5", bundle, kept="none")
    material = read(path)
    assert material.actions_from.name == "a.hdf5"
    assert material.episodes[0].action_TA.shape == (19, NUMBERS)
    assert material.episodes[0].thumbnail_TF is not None
    (tmp_path / "a.hdf5").rename(tmp_path / "b.hdf5")
    with pytest.raises(DatasetError, match="--actions-from"):
        read(path)
    again = read(path, tmp_path / "b.hdf5")
    np.testing.assert_array_equal(again.episodes[3].action_TA, material.episodes[3].action_TA)


def rlds(folder: Path) -> tuple[Path, ReadOptions]:
    return make_rlds(folder / "arm", {"train": [[4], [5], [6]]}), ReadOptions(camera=IMAGE, fps=10)


def aloha(folder: Path) -> tuple[Path, ReadOptions]:
    (folder / "runs").mkdir()
    for number in range(3):
        make_aloha(folder / "runs" / f"episode_{number}.hdf5", 5, seed=number, size=(8, 8), cameras=("top", "low"))
    return folder / "runs", ReadOptions(camera="low", fps=10, colour="bgr")


def described(folder: Path) -> tuple[Path, ReadOptions]:
    paths = {"frames_path": "trajectories/*/images/front", "actions_path": "trajectories/*/robot/command"}
    return make_nested(folder / "a.h5"), ReadOptions(fps=10, flip=True, **paths)


@pytest.mark.parametrize("make", [rlds, aloha, described])
@pytest.mark.parametrize("frames", ["none", "model"])
def test_every_episode_is_found_in_its_source_read_as_it_was_labelled(tmp_path: Path, make, frames) -> None:
    source, options = make(tmp_path)
    material = read(label_file(source, options=options, frames=frames).path)
    assert (material.actions_from, material.without_actions) == (source, ())
    for found, original in zip(material.episodes, open_dataset(source, options=options).episodes, strict=True):
        actions = original.actions
        assert actions is not None
        np.testing.assert_allclose(found.action_TA, actions[:-1])
        if frames == "none":
            np.testing.assert_array_equal(found.thumbnail_TF, thumbnails(original.frames(), 32, 32))


def test_episodes_whose_source_is_gone_are_left_out_and_named(tmp_path: Path) -> None:
    source, options = aloha(tmp_path)
    path = label_file(source, options=options, frames="model").path
    (source / "episode_1.hdf5").unlink()
    material = read(path)
    assert [e.name for e in material.episodes] == ["demo_0", "demo_2"]
    assert material.without_actions == ("demo_1",)


def test_episodes_without_actions_are_left_out_and_named(bundle: BundleInfo, tmp_path: Path) -> None:
    path = make_aligned(tmp_path / "a.labelled.hdf5", bundle)
    real = make_robomimic(tmp_path / "real.hdf5", 3, 20, size=32)
    with h5py.File(real, "a") as file:
        del file["data/demo_1/actions"]
    material = read(path, real)
    assert [e.name for e in material.episodes] == ["demo_0", "demo_2"]
    assert material.without_actions == ("demo_1", "demo_3", "demo_4", "demo_5")


def spoil_nan(file: h5py.File) -> None:
    file["data/demo_2/actions"][4, 1] = np.nan


def spoil_length(file: h5py.File) -> None:
    kept = file["data/demo_2/actions"][:-2]
    del file["data/demo_2/actions"]
    file["data/demo_2/actions"] = kept


def spoil_width(file: h5py.File) -> None:
    kept = file["data/demo_2/actions"][:, :2]
    del file["data/demo_2/actions"]
    file["data/demo_2/actions"] = kept


def spoil_type(file: h5py.File) -> None:
    del file["data/demo_2/actions"]
    file["data/demo_2/actions"] = np.array([b"left"] * 20)


def spoil_all(file: h5py.File) -> None:
    for demo in file["data"].values():
        del demo["actions"]


def spoil_names(file: h5py.File) -> None:
    for name in list(file["data"]):
        file.move(f"data/{name}", f"data/{name.replace('demo_', 'demo_9')}")


@pytest.mark.parametrize(
    ("spoil", "complaint"),
    [
        (spoil_nan, r"demo_2: got 1 numbers that are not finite, the first \(nan\) in frame 4, component 1"),
        (spoil_length, r"demo_2: got actions of shape \(18, 3\) for 20 frames"),
        (spoil_width, "demo_2: got 2 numbers, expected 3, as in demo_0"),
        (spoil_type, "demo_2: got .*S4"),
        (spoil_all, "got no actions"),
        (spoil_names, "episode names do not match those of"),
    ],
)
def test_bad_actions_are_refused(bundle: BundleInfo, tmp_path: Path, spoil, complaint: str) -> None:
    path = make_aligned(tmp_path / "a.labelled.hdf5", bundle)
    real = tmp_path / "real.hdf5"
    real.write_bytes((tmp_path / "a.hdf5").read_bytes())
    with h5py.File(real, "a") as file:
        spoil(file)
    with pytest.raises(DatasetError, match=complaint):
        read(path, real)


def test_a_file_of_mixed_labels_is_refused(bundle: BundleInfo, tmp_path: Path) -> None:
    path = make_aligned(tmp_path / "a.labelled.hdf5", bundle)
    with h5py.File(path, "a") as file:
        file["data/demo_3/latent_actions"].attrs["step"] = 2
    with pytest.raises(DatasetError, match="step: got 1, 2 frames"):
        read(path)
    with h5py.File(path, "a") as file:
        file["data/demo_3/latent_actions"].attrs["step"] = 1
        file["data/demo_3/latent_actions"].attrs["bundle_id"] = "f" * 64
    with pytest.raises(DatasetError, match="demo_3: bundle: got ffffffffffff"):
        read(path)
    with h5py.File(path, "a") as file:
        file["data/demo_3/latent_actions"].attrs["bundle_id"] = bundle.bundle_id
        file["data/demo_3/latent_actions"].attrs["precision"] = "bfloat16"
    with pytest.raises(DatasetError, match="precision: got bfloat16 and float32, expected one"):
        read(path)


def test_labels_of_several_cameras_are_refused(tmp_path: Path) -> None:
    path = label_file(make_robomimic(tmp_path / "a.hdf5", episodes=1, frames=8, size=8, fps=10)).path
    with h5py.File(path, "r+") as file:
        file["data/demo_0/latent_actions"].attrs["fused"] = '["front", "wrist"]'
        file["data/demo_0/latent_actions"].attrs["fused_sources"] = '[["a.hdf5", 1, 1]]'
        file["data/demo_0/latent_actions"].create_group("views")
        for camera in ("front", "wrist"):
            for key in ("code", "latent", "confidence", "valid"):
                file.copy(f"data/demo_0/latent_actions/{key}", f"data/demo_0/latent_actions/views/{camera}/{key}")
    with pytest.raises(DatasetError, match="fused of front, wrist, expected labels of one camera"):
        read(path)


def test_a_file_without_any_valid_label_is_refused(bundle: BundleInfo, tmp_path: Path) -> None:
    path = make_aligned(tmp_path / "a.labelled.hdf5", bundle, frames=4, step=4)
    with pytest.raises(DatasetError, match="no episode with both actions and a valid label"):
        read(path)
