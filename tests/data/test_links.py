"""Data behind symbolic links: folders are walked, and paths stay as the user gave them."""

from __future__ import annotations

from pathlib import Path

import h5py
import numpy as np
import pytest

from genie_core.data import ReadOptions, open_dataset
from genie_core.data.export.run import ExportPlan, export_labels
from genie_core.data.export.source import open_export_source
from genie_core.data.storage.location import absolute, files_below
from genie_core.errors import DatasetError
from tests.factories.data import make_frames, make_robomimic, make_video
from tests.factories.labelled import label_file
from tests.factories.lerobot import make_lerobot_v21


def hub_cache(folder: Path, source: Path) -> Path:
    """A snapshot as the Hub's cache has it: links in folders to files in `blobs`, whose names say nothing."""
    blobs, snapshot = folder / "blobs", folder / "snapshots/0a1b"
    blobs.mkdir(parents=True)
    for number, file in enumerate(sorted(file for file in source.rglob("*") if file.is_file())):
        blob = blobs / f"{number:064x}"
        blob.write_bytes(file.read_bytes())
        link = snapshot / file.relative_to(source)
        link.parent.mkdir(parents=True, exist_ok=True)
        link.symlink_to(Path("../" * len(link.relative_to(folder).parents[0].parts)) / "blobs" / blob.name)
    return snapshot


def test_folders_behind_links_are_walked_once(tmp_path: Path) -> None:
    (tmp_path / "data").mkdir()
    (tmp_path / "far").mkdir()
    make_video(tmp_path / "data/a.mp4")
    make_video(tmp_path / "far/b.mp4")
    (tmp_path / "data/more").symlink_to(tmp_path / "far")
    (tmp_path / "data/again").symlink_to(tmp_path / "far")
    (tmp_path / "far/circle").symlink_to(tmp_path / "data")
    (tmp_path / "data/gone").symlink_to(tmp_path / "nowhere")
    assert [str(file.relative_to(tmp_path)) for file in files_below(tmp_path / "data")] == [
        "data/a.mp4",
        "data/again/b.mp4",
    ]
    assert [episode.name for episode in open_dataset(tmp_path / "data").episodes] == ["a", "again/b"]


def test_links_that_lead_nowhere_are_told(tmp_path: Path) -> None:
    (tmp_path / "day2").symlink_to(tmp_path / "not mounted")
    with pytest.raises(DatasetError, match=r"without robot video, .*; 1 link that leads nowhere left out: day2"):
        open_dataset(tmp_path)
    make_video(tmp_path / "a.mp4")
    (tmp_path / "b.mp4").symlink_to(tmp_path / "gone.mp4")
    dataset = open_dataset(tmp_path)
    assert [episode.name for episode in dataset.episodes] == ["a"]
    assert dataset.warnings == ("2 links that lead nowhere left out: b.mp4, day2",)
    assert open_dataset(tmp_path, options=ReadOptions(include="a*")).warnings == ()


def test_a_folder_that_is_a_link_is_opened(tmp_path: Path) -> None:
    (tmp_path / "real").mkdir()
    make_video(tmp_path / "real/a.mp4")
    (tmp_path / "link").symlink_to(tmp_path / "real")
    assert [episode.name for episode in open_dataset(tmp_path / "link").episodes] == ["a"]


def test_paths_keep_their_links(tmp_path: Path) -> None:
    (tmp_path / "real/inner").mkdir(parents=True)
    (tmp_path / "link").symlink_to(tmp_path / "real/inner")
    assert absolute(tmp_path / "link/x") == tmp_path / "link/x"
    assert absolute(tmp_path / "real/../real/x") == tmp_path / "real/x"
    assert absolute(tmp_path / "link/../x") == tmp_path / "link/../x"  # real/x


@pytest.mark.parametrize("kind", ["lerobot", "robomimic"])
def test_the_hub_s_cache_keeps_its_actions_and_tasks(tmp_path: Path, kind: str) -> None:
    plain = tmp_path / "plain"
    if kind == "lerobot":
        make_lerobot_v21(plain)
        cached = hub_cache(tmp_path / "cache", plain)
    else:
        plain.mkdir()
        make_robomimic(plain / "a.hdf5", size=16)
        cached = hub_cache(tmp_path / "cache", plain) / "a.hdf5"
    labelled = label_file(cached, frames="model" if kind == "lerobot" else "link")
    first = labelled.labels_attrs(labelled.episodes[0])
    assert first.source.startswith(str(tmp_path / "cache/snapshots"))
    source = open_export_source(labelled.path)
    robot = source.robot(source.provenance.episodes[0])
    wanted = open_dataset(plain).episodes[0]
    np.testing.assert_array_equal(robot.action, wanted.actions)
    assert source.task(source.provenance.episodes[0]) == wanted.task
    report = export_labels(labelled.path, tmp_path / "out.parquet", ExportPlan("parquet"))
    assert report.action_dim is not None
    assert report.missing is None


def make_broken(path: Path, at: str) -> Path:
    """HDF5 in which `at` is a link to a file that is gone, beside what is there."""
    with h5py.File(path, "w") as file:
        file["runs/r1/rgb"] = make_frames(3, 16, 16)
        file[at] = h5py.ExternalLink("gone.h5", "/x")
    return path


@pytest.mark.parametrize(
    ("at", "options"),
    [
        ("runs/r0", ReadOptions(fps=10, frames_path="runs/*/rgb")),
        ("runs/r0/rgb", ReadOptions(fps=10, frames_path="runs/*/rgb")),
        ("data/demo_0", ReadOptions(fps=10)),
        ("data", ReadOptions(fps=10)),
        ("observations", ReadOptions(fps=10)),
        ("observations/images/top", ReadOptions(fps=10)),
    ],
)
def test_a_broken_link_in_a_file_is_named_and_loses_no_episode(tmp_path: Path, at: str, options: ReadOptions) -> None:
    path = make_broken(tmp_path / "a.hdf5", at)
    with pytest.raises(DatasetError, match=r"is a link to gone\.h5"):
        open_dataset(path, options=options).episodes[0].frames()
    if options.frames_path:
        assert [episode.name for episode in open_dataset(path, options=options).episodes] == ["r0", "r1"]
