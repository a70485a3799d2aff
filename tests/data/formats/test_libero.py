"""LIBERO: robomimic's layout, told by its attributes, with pictures that OpenGL has upside down."""

from __future__ import annotations

from pathlib import Path

import h5py
import numpy as np
import pytest

from genie_core.data import LabelWriter, ReadOptions, inspect_dataset, open_dataset, open_labelled
from tests.factories.data import make_frames, make_label_model, make_labels, make_libero, make_robomimic

UPRIGHT = make_frames(8, 16, 16, seed=1)


def test_pictures_as_opengl_has_them_are_turned_over_and_it_is_said(tmp_path: Path) -> None:
    path = make_libero(tmp_path / "pick_demo.hdf5")
    dataset = open_dataset(path)
    assert (dataset.format, dataset.camera, dataset.fps) == ("libero", "agentview_rgb", 20)
    assert dataset.cameras == ("agentview_rgb", "eye_in_hand_rgb")
    np.testing.assert_array_equal(dataset.episodes[1].frames(), UPRIGHT)
    np.testing.assert_array_equal(np.concatenate([*dataset.episodes[1].chunks(3)]), UPRIGHT)
    report = inspect_dataset(path)
    assert (report.format, report.upside_down, report.can_label) == ("libero", True, True)
    assert report.facts == (
        "macros_image_convention is opengl: pictures are stored upside down and turned over when read",
    )
    assert "attributes are LIBERO's" in report.why


@pytest.mark.parametrize(("flip", "turned"), [(True, False), (False, True)])
def test_what_the_user_says_counts_for_more(tmp_path: Path, flip: bool, turned: bool) -> None:
    path = make_libero(tmp_path / "pick_demo.hdf5")
    frames = open_dataset(path, options=ReadOptions(flip=flip)).episodes[1].frames()
    np.testing.assert_array_equal(frames, UPRIGHT[:, ::-1] if turned else UPRIGHT)
    assert inspect_dataset(path, options=ReadOptions(flip=flip)).facts == ()


def test_pictures_as_opencv_has_them_stay(tmp_path: Path) -> None:
    path = make_libero(tmp_path / "pick_demo.hdf5", convention="opencv")
    np.testing.assert_array_equal(open_dataset(path).episodes[1].frames(), UPRIGHT)
    assert "read as they are" in inspect_dataset(path).facts[0]


@pytest.mark.parametrize("convention", [None, "vulkan"])
def test_where_nobody_says_which_way_up_it_is_warned_of(tmp_path: Path, convention: str | None) -> None:
    path = make_libero(tmp_path / "pick_demo.hdf5", convention=convention)
    report = inspect_dataset(path)
    assert (report.format, report.upside_down) == ("libero", False)
    assert (
        f"not known which way up the pictures are (macros_image_convention: {convention or 'none'})"
        in (report.warnings[0])
    )
    assert inspect_dataset(path, options=ReadOptions(flip=True)).warnings == ()


def test_robomimics_own_files_are_none_of_liberos(tmp_path: Path) -> None:
    path = make_robomimic(tmp_path / "lift.hdf5", size=8)
    assert (open_dataset(path).format, inspect_dataset(path).facts) == ("robomimic", ())


@pytest.mark.parametrize("frames", ["link", "copy", "in_place"])
def test_labelled_files_are_read_the_right_way_up_too(tmp_path: Path, frames: str) -> None:
    path = make_libero(tmp_path / "pick_demo.hdf5")
    output = path if frames == "in_place" else tmp_path / "out.hdf5"
    dataset = open_dataset(path)
    writer = LabelWriter(output, dataset, make_label_model(), frames=frames)  # type: ignore[arg-type]
    for episode in dataset.episodes:
        writer.add(episode, make_labels(episode.num_frames, writer.step(episode).step))
    labelled = open_labelled(writer.finish())
    assert labelled.labels("demo_1")[1].upside_down
    found = labelled.episode("demo_1")
    assert found is not None
    np.testing.assert_array_equal(found.frames(), UPRIGHT)
    np.testing.assert_array_equal(open_dataset(output).episodes[1].frames(), UPRIGHT)
    with h5py.File(output) as file:
        np.testing.assert_array_equal(file["data/demo_1/obs/agentview_rgb"][()], UPRIGHT[:, ::-1])


def test_other_options_never_mix_with_labels_that_are_there(tmp_path: Path) -> None:
    path = make_libero(tmp_path / "pick_demo.hdf5")
    first = open_dataset(path)
    writer = LabelWriter(tmp_path / "out.hdf5", first, make_label_model())
    writer.add(first.episodes[0], make_labels(8, 2))
    writer.close()
    again = open_dataset(path, options=ReadOptions(flip=False))
    with pytest.raises(Exception, match="flip: got None, expected False"):
        LabelWriter(tmp_path / "out.hdf5", again, make_label_model())
