"""Labels in the layout of their source: ALOHA's files and described HDF5, linked, copied and in place."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path

import h5py
import numpy as np
import pytest

from genie_core.data import (
    Dataset,
    FramesMode,
    LabelledFile,
    LabelWriter,
    ReadOptions,
    inspect_dataset,
    open_dataset,
    open_labelled,
)
from genie_core.data.labelled.output import default_output
from genie_core.errors import DatasetError
from tests.factories.data import make_aloha, make_frames, make_label_model, make_labels, make_nested

NESTED = ReadOptions(fps=10, frames_path="trajectories/*/images/front", actions_path="trajectories/*/robot/command")
SNAPSHOTS = Path(__file__).parents[1] / "snapshots"


def make_folder(folder: Path, numbers: tuple[int, ...] = (0, 3, 10)) -> Path:
    folder.mkdir()
    for number in numbers:
        make_aloha(folder / f"episode_{number}.hdf5", seed=number, cameras=("high", "low"))
    return folder


def open_aloha(path: Path) -> Dataset:
    return open_dataset(path, camera="high", fps=50)


def open_nested(path: Path) -> Dataset:
    return open_dataset(path, options=NESTED)


def label(dataset: Dataset, output: Path, frames: FramesMode, **how: object) -> LabelledFile:
    writer = LabelWriter(output, dataset, make_label_model(), frames=frames, **how)  # type: ignore[arg-type]
    for index, episode in enumerate(writer.pending()):
        writer.add(episode, make_labels(episode.num_frames, writer.step(episode).step, seed=index))
    return open_labelled(writer.finish())


def describe(path: Path) -> str:
    """Every group, link, array and attribute of a file."""
    lines = []

    def attributes(item: h5py.Group | h5py.Dataset) -> None:
        lines.extend(f"{item.name} @{key} {type(item.attrs[key]).__name__}" for key in sorted(item.attrs))

    def walk(group: h5py.Group) -> None:
        attributes(group)
        for key in sorted(group):
            name = f"{group.name.rstrip('/')}/{key}"
            link = group.get(key, getlink=True)
            if isinstance(link, h5py.ExternalLink):
                lines.append(f"{name} -> {link.filename}:{link.path}")
            elif isinstance(group[key], h5py.Group):
                lines.append(f"{name}/")
                walk(group[key])
            else:
                lines.append(f"{name} {group[key].dtype} {group[key].ndim}-d")
                attributes(group[key])

    with h5py.File(path) as file:
        walk(file)
    return "\n".join(lines) + "\n"


@pytest.mark.parametrize("frames", ["link", "copy", "in_place"])
def test_a_folder_of_aloha_becomes_one_of_the_same_files(tmp_path: Path, frames: FramesMode) -> None:
    source = make_folder(tmp_path / "task")
    output = source if frames == "in_place" else default_output(source, own_layout=True)
    labelled = label(open_aloha(source), output, frames)
    assert sorted(path.name for path in output.iterdir()) == ["episode_0.hdf5", "episode_10.hdf5", "episode_3.hdf5"]
    assert labelled.episodes == ("episode_0", "episode_3", "episode_10")
    assert (labelled.attrs.layout, labelled.attrs.frames) == ("aloha", frames)
    labels, attrs = labelled.labels("episode_3")
    np.testing.assert_array_equal(labels.code, make_labels(8, 5, seed=1).code)
    assert (attrs.source_name, attrs.camera, attrs.step) == ("episode_3", "high", 5)
    episode = labelled.episode("episode_3")
    assert episode is not None
    np.testing.assert_array_equal(episode.frames(), make_frames(8, 24, 32, seed=3))
    actions = episode.actions
    assert actions is not None
    assert actions.shape == (8, 14)
    again = open_aloha(output)
    assert again.format == "aloha"
    np.testing.assert_array_equal(again.episodes[1].frames(), make_frames(8, 24, 32, seed=3))
    assert inspect_dataset(output, camera="high", fps=50).labelled_by == ("nano",)
    assert not (tmp_path / f"{output.name}.parts").exists()


@pytest.mark.parametrize("frames", ["link", "copy", "in_place"])
def test_described_files_have_labels_beside_each_episodes_group(tmp_path: Path, frames: FramesMode) -> None:
    source = make_nested(tmp_path / "runs.h5")
    output = source if frames == "in_place" else tmp_path / "out.hdf5"
    labelled = label(open_nested(source), output, frames)
    assert labelled.episodes == ("2", "9", "16")
    for index, name in enumerate(labelled.episodes):
        episode = labelled.episode(name)
        assert episode is not None
        np.testing.assert_array_equal(episode.frames(), make_frames(6, 16, 20, seed=index))
        np.testing.assert_array_equal(labelled.labels(name)[0].code, make_labels(6, 1, seed=index).code)
        actions = episode.actions
        assert actions is not None
        assert actions.shape == (6, 7)
    with h5py.File(output) as file:
        assert "latent_actions" in file["trajectories/9"]
        assert file["trajectories/about"].asstr()[()] == "nothing"
    with pytest.raises(DatasetError, match="got episode `demo_0`, expected one of those it holds: 2, 9, 16"):
        labelled.labels("demo_0")


@pytest.mark.parametrize("frames", ["link", "copy"])
@pytest.mark.parametrize("kind", ["aloha", "hdf5"])
def test_the_schema_is_the_one_of_the_snapshot(tmp_path: Path, kind: str, frames: FramesMode) -> None:
    if kind == "aloha":
        source = make_folder(tmp_path / "task", numbers=(3,))
        label(open_aloha(source), tmp_path / "out", frames)
        said = describe(tmp_path / "out" / "episode_3.hdf5")
    else:
        label(open_nested(make_nested(tmp_path / "runs.h5", episodes=1)), tmp_path / "out.h5", frames)
        said = describe(tmp_path / "out.h5")
    assert said.replace(f"{tmp_path}/", "") == (SNAPSHOTS / f"labelled_{kind}_{frames}.txt").read_text()


class StoppedError(Exception):
    pass


@pytest.mark.parametrize("frames", ["link", "copy", "in_place"])
def test_a_run_that_stops_goes_on_with_what_is_finished(tmp_path: Path, frames: FramesMode) -> None:
    source = make_folder(tmp_path / "task")
    output = source if frames == "in_place" else tmp_path / "out"
    dataset = open_aloha(source)
    writer = LabelWriter(output, dataset, make_label_model(), frames=frames)
    writer.add(dataset.episodes[0], make_labels(8, 5))
    writer.close()
    with LabelWriter(output, dataset, make_label_model(), frames=frames) as again:
        assert [episode.name for episode in again.pending()] == ["episode_3", "episode_10"]
    labelled = label(dataset, output, frames)
    assert len(labelled.episodes) == 3


@pytest.mark.parametrize("frames", ["copy", "in_place"])
def test_a_stop_between_two_files_loses_nothing(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, frames: FramesMode
) -> None:
    source = make_folder(tmp_path / "task")
    output = source if frames == "in_place" else tmp_path / "out"
    dataset = open_aloha(source)
    writer = LabelWriter(output, dataset, make_label_model(), frames=frames)
    for index, episode in enumerate(dataset.episodes):
        writer.add(episode, make_labels(8, 5, seed=index))
    stop_after(monkeypatch, 1)
    with pytest.raises(StoppedError):
        writer.finish()
    monkeypatch.undo()
    assert len(open_labelled(output).episodes) == 1
    writer.close()
    again = LabelWriter(output, open_aloha(source), make_label_model(), frames=frames)
    assert again.pending() == []
    labelled = open_labelled(again.finish())
    for index, name in enumerate(labelled.episodes):
        np.testing.assert_array_equal(labelled.labels(name)[0].code, make_labels(8, 5, seed=index).code)
    assert not (tmp_path / f"{output.name}.parts").exists()


def stop_after(monkeypatch: pytest.MonkeyPatch, files: int) -> None:
    """Make the writing of the next file after so many fail as a kill would: before it takes its place."""
    from genie_core.data.labelled import source_layout

    real: Callable[..., object] = source_layout.write_hdf5
    left = [files]

    def stopping(*args: object, **how: object) -> object:
        if not left[0]:
            raise StoppedError
        left[0] -= 1
        return real(*args, **how)

    monkeypatch.setattr(source_layout, "write_hdf5", stopping)


def test_labels_are_replaced_and_added_as_asked(tmp_path: Path) -> None:
    source = make_folder(tmp_path / "task")
    label(open_aloha(source), source, "in_place")
    with pytest.raises(DatasetError, match="carries labels already; resume them, or overwrite them"):
        label(open_aloha(source), source, "in_place", step=2)
    make_aloha(source / "episode_11.hdf5", seed=11, cameras=("high", "low"))
    assert len(label(open_aloha(source), source, "in_place", existing="resume").episodes) == 4
    labelled = label(open_aloha(source), source, "in_place", existing="overwrite", step=2)
    assert labelled.labels("episode_3")[1].step == 2
    with h5py.File(source / "episode_3.hdf5") as file:
        assert file["latent_actions/code"].shape == (8,)
        assert file["observations/images/low"].shape == (8, 24, 32, 3)


def test_what_must_not_be_written_is_refused(tmp_path: Path) -> None:
    source = make_folder(tmp_path / "task")
    for output, message in {
        source: "is the source itself",
        source / "inside": "lies in it",
        tmp_path / "gone" / "out": "no folder that exists",
    }.items():
        with pytest.raises(DatasetError, match=message):
            label(open_aloha(source), output, "copy")
    with pytest.raises(DatasetError, match="expected the source itself"):
        label(open_aloha(source), tmp_path / "out", "in_place")
    raw = make_folder(tmp_path / "raw")
    with pytest.raises(DatasetError, match="carries no labels, so it is not replaced"):
        label(open_aloha(source), raw, "copy", existing="overwrite")
    (tmp_path / "file").write_bytes(b"")
    with pytest.raises(DatasetError, match="got a file, expected a folder"):
        label(open_aloha(source), tmp_path / "file", "link")


def test_episodes_that_share_a_group_have_no_place_for_labels(tmp_path: Path) -> None:
    with h5py.File(tmp_path / "a.h5", "w") as file:
        for number in range(2):
            file[f"videos/{number}"] = make_frames(4, 8, 8, seed=number)
    dataset = open_dataset(tmp_path / "a.h5", options=ReadOptions(fps=10, frames_path="videos/*"))
    with pytest.raises(DatasetError, match="frames: got copy, expected one of model, none for a hdf5 source"):
        label(dataset, tmp_path / "out.hdf5", "copy")


def test_labelled_folders_beside_data_are_no_data(tmp_path: Path) -> None:
    (tmp_path / "all").mkdir()
    source = make_folder(tmp_path / "all" / "task")
    label(open_aloha(source), default_output(source, own_layout=True), "copy")
    assert len(open_aloha(tmp_path / "all").episodes) == 3
