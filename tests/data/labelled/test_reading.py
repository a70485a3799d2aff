import json
from dataclasses import replace
from datetime import UTC, datetime
from pathlib import Path

import h5py
import numpy as np
import pytest

from genie_core.data import (
    Dataset,
    Existing,
    FramesMode,
    LabelAlignment,
    Labels,
    LabelWriter,
    default_output,
    open_dataset,
    open_labelled,
    read_labels,
    resize_frames,
)
from genie_core.errors import DatasetError
from tests.factories.data import make_frames, make_label_model, make_labels, make_robomimic, make_video

MODEL = make_label_model()
ALIGNMENT = LabelAlignment("lift-200", "a" * 64, ("x", "gripper ü"))
NOON = datetime(2026, 1, 2, 12, tzinfo=UTC)
SNAPSHOTS = Path(__file__).parents[1] / "snapshots"


def label(
    dataset: Dataset,
    output: Path,
    frames: FramesMode | None = None,
    existing: Existing = "refuse",
    alignment: LabelAlignment | None = None,
) -> dict[str, Labels]:
    """Label a whole dataset; what was written, by the episode's name."""
    written = {}
    with LabelWriter(
        output, dataset, MODEL, frames=frames, alignment=alignment, existing=existing, created=NOON
    ) as writer:
        for seed, episode in enumerate(writer.pending()):
            made = make_labels(episode.num_frames, writer.step(episode).step, seed=seed)
            written[episode.name] = made if alignment is None else replace(made, action=made.latent[:, :2])
            chunks = (resize_frames(chunk, 16, 24) for chunk in episode.chunks(5))
            writer.add(episode, written[episode.name], chunks)
        writer.finish()
    return written


def assert_equal(labels: Labels, expected: Labels) -> None:
    assert labels.start == expected.start == 0
    for field in ("code", "latent", "confidence", "valid"):
        here, there = getattr(labels, field), getattr(expected, field)
        assert here.dtype == there.dtype
        np.testing.assert_array_equal(here, there)


def describe(path: Path) -> str:
    """Every group, array (dtype, rank) and attribute of the file, of demos only the first."""
    lines = []

    def visit(name: str, node: h5py.HLObject) -> None:
        kind = f" {node.dtype} {node.ndim}-d" if isinstance(node, h5py.Dataset) else "/"
        lines.append(f"/{name}{kind}")
        for key, value in sorted(node.attrs.items()):
            lines.append(f"/{name} @{key} {type(value).__name__}")
        if isinstance(node, h5py.Group):
            for key in sorted(node):
                link = node.get(key, getlink=True)
                if isinstance(link, h5py.ExternalLink):
                    lines.append(f"/{name}/{key} -> link to {link.path}")
                elif not key.startswith("demo_") or key == "demo_0":
                    visit(f"{name}/{key}".lstrip("/"), node[key])

    with h5py.File(path) as file:
        visit("", file)
    return "\n".join(lines).replace("//", "/") + "\n"


@pytest.mark.parametrize("frames", ["link", "copy", "in_place", "none"])
def test_labels_of_hdf5_read_back(tmp_path: Path, frames: FramesMode) -> None:
    source = make_robomimic(tmp_path / "a.hdf5", episodes=3, size=8, fps=20)
    output = source if frames == "in_place" else tmp_path / "out.hdf5"
    written = label(open_dataset(source), output, frames)
    labelled = open_labelled(output)
    assert labelled.episodes == ("demo_0", "demo_1", "demo_2")
    assert (labelled.model.bundle_id, labelled.model.bundle_name, labelled.model.model_fps) == ("b" * 64, "nano", 10)
    np.testing.assert_array_equal(labelled.model.codebook, MODEL.codebook)
    assert labelled.attrs.frames == frames
    for name, expected in written.items():
        labels, attrs = labelled.labels(name)
        assert_equal(labels, expected)
        assert (attrs.step, attrs.fps, attrs.density, attrs.camera) == (2, 20, "dense", "agentview_image")
        assert (attrs.created, attrs.source_name) == ("2026-01-02T12:00:00+00:00", name)
        episode = labelled.episode(name)
        if frames == "none":
            assert episode is None
        else:
            assert episode is not None
            np.testing.assert_array_equal(episode.frames(), make_frames(12, 8, 8, seed=int(name[5:])))


@pytest.mark.parametrize("frames", ["link", "copy", "in_place"])
def test_a_labelled_file_is_a_robomimic_file(tmp_path: Path, frames: FramesMode) -> None:
    source = make_robomimic(tmp_path / "a.hdf5", episodes=3, size=8)
    before = open_dataset(source)
    actions = [episode.actions for episode in before.episodes]
    with h5py.File(source) as file:
        attributes = dict(file["data"].attrs)
    output = source if frames == "in_place" else tmp_path / "out.hdf5"
    label(before, output, frames)
    after = open_dataset(output)
    assert (after.cameras, after.fps, after.masks) == (before.cameras, before.fps, before.masks)
    for episode, expected in zip(after.episodes, actions, strict=True):
        np.testing.assert_array_equal(episode.actions, expected)
    with h5py.File(output, "r", swmr=True, libver="latest") as file:  # the way robomimic opens it
        assert {key: value == attributes[key] for key, value in file["data"].attrs.items()} == dict.fromkeys(
            attributes, True
        )
        assert [int(name[5:]) for name in file["data"]] == [0, 1, 2]
        assert file["data/demo_1"].attrs["num_samples"] == 12
        assert [name.decode("utf-8") for name in file["mask/train"]] == ["demo_0", "demo_1"]


def test_labels_of_video_read_back_with_frames_at_the_models_size(tmp_path: Path) -> None:
    (tmp_path / "v").mkdir()
    make_video(tmp_path / "v" / "a.mkv", frames=20, fps=10)
    make_video(tmp_path / "v" / "b.mp4", frames=7, fps=30)
    dataset = open_dataset(tmp_path / "v")
    written = label(dataset, tmp_path / "out.hdf5")
    labelled = open_labelled(tmp_path / "out.hdf5")
    assert labelled.episodes == ("demo_0", "demo_1")
    for name, source, step in [("demo_0", "a", 1), ("demo_1", "b", 3)]:
        labels, attrs = labelled.labels(name)
        assert_equal(labels, written[source])
        assert (attrs.source_name, attrs.step, attrs.camera) == (source, step, "video")
        episode = labelled.episode(name)
        assert episode is not None
        original = next(episode for episode in dataset.episodes if episode.name == source)
        assert episode.fps == original.fps
        np.testing.assert_array_equal(episode.frames(), resize_frames(original.frames(), 16, 24))
    again = open_dataset(tmp_path / "out.hdf5")
    assert (again.cameras, [episode.num_frames for episode in again.episodes]) == (("video",), [20, 7])
    assert [episode.fps for episode in again.episodes] == [10, 30]
    with h5py.File(tmp_path / "out.hdf5") as file:
        assert json.loads(file["data"].attrs["env_args"])["type"] == 2
        assert file["data"].attrs["total"] == 27
        assert file["data/demo_1"].attrs["source"] == str(tmp_path / "v" / "b.mp4")


@pytest.mark.parametrize("frames", ["link", "copy", "model"])
def test_the_schema_is_the_one_of_the_snapshot(tmp_path: Path, frames: FramesMode) -> None:
    source = make_video(tmp_path / "a.mp4") if frames == "model" else make_robomimic(tmp_path / "a.hdf5", size=8)
    label(open_dataset(source), tmp_path / "out.hdf5", frames)
    assert describe(tmp_path / "out.hdf5") == (SNAPSHOTS / f"labelled_{frames}.txt").read_text()


def test_actions_lie_beside_the_labels_and_say_what_decoded_them(tmp_path: Path) -> None:
    source = make_robomimic(tmp_path / "a.hdf5", size=8)
    written = label(open_dataset(source), tmp_path / "out.hdf5", alignment=ALIGNMENT)
    labels, attrs = open_labelled(tmp_path / "out.hdf5").labels("demo_1")
    assert_equal(labels, written["demo_1"])
    assert labels.action is not None
    assert labels.action.dtype == np.float32
    np.testing.assert_array_equal(labels.action, written["demo_1"].latent[:, :2])
    assert attrs.aligned_by == ALIGNMENT
    assert describe(tmp_path / "out.hdf5") == (SNAPSHOTS / "labelled_actions.txt").read_text()
    label(open_dataset(source), tmp_path / "without.hdf5")
    labels, attrs = open_labelled(tmp_path / "without.hdf5").labels("demo_1")
    assert (labels.action, attrs.aligned_by) == (None, None)


def test_labels_of_two_alignments_never_mix(tmp_path: Path) -> None:
    dataset = open_dataset(make_robomimic(tmp_path / "a.hdf5", size=8))
    label(dataset, tmp_path / "out.hdf5", alignment=ALIGNMENT)
    for other in (None, replace(ALIGNMENT, alignment_id="c" * 64)):
        with pytest.raises(DatasetError, match=r"got alignment_id aaa.*use the same settings"):
            label(dataset, tmp_path / "out.hdf5", existing="resume", alignment=other)
    assert label(dataset, tmp_path / "out.hdf5", existing="resume", alignment=ALIGNMENT) == {}
    # Nor do those of an unfinished run.
    writer = LabelWriter(tmp_path / "half.hdf5", dataset, MODEL, alignment=ALIGNMENT)
    first = writer.pending()[0]
    labels = make_labels(first.num_frames)
    for wrong, came in ((labels, "no actions"), (replace(labels, action=labels.latent), "actions of 4 numbers")):
        with pytest.raises(DatasetError, match=f"got labels with {came}, expected actions of 2 numbers"):
            writer.add(first, wrong)
    writer.add(first, replace(labels, action=labels.latent[:, :2]))
    writer.close()
    with pytest.raises(DatasetError, match=r"alignment_id: got aaa.*, expected None"):
        LabelWriter(tmp_path / "half.hdf5", dataset, MODEL)
    assert len(LabelWriter(tmp_path / "half.hdf5", dataset, MODEL, alignment=ALIGNMENT).pending()) == 1


def test_actions_that_are_missing_from_a_file_are_missed(tmp_path: Path) -> None:
    label(open_dataset(make_robomimic(tmp_path / "a.hdf5", size=8)), tmp_path / "out.hdf5", alignment=ALIGNMENT)
    with h5py.File(tmp_path / "out.hdf5", "a") as file:
        del file["data/demo_0/latent_actions/action"]
    with pytest.raises(DatasetError, match=r"not the labels that Genie writes.*action"):
        open_labelled(tmp_path / "out.hdf5").labels("demo_0")


def test_links_are_relative_where_both_files_can_move(tmp_path: Path) -> None:
    (tmp_path / "data").mkdir()
    source = make_robomimic(tmp_path / "data" / "a.hdf5", size=8)
    label(open_dataset(source), tmp_path / "beside.hdf5")
    (tmp_path / "elsewhere").mkdir()
    label(open_dataset(source), tmp_path / "elsewhere" / "out.hdf5")
    moved = tmp_path / "moved"
    moved.mkdir()
    for name in ["data", "beside.hdf5"]:
        (tmp_path / name).rename(moved / name)
    assert open_dataset(moved / "beside.hdf5").episodes[0].num_frames == 12
    labelled = open_labelled(tmp_path / "elsewhere" / "out.hdf5")
    assert len(labelled.labels("demo_0")[0]) == 12
    episode = labelled.episode
    with pytest.raises(DatasetError, match=rf"is a link to {tmp_path}/data/a\.hdf5"):
        episode("demo_0")


def test_a_folder_of_hdf5_files_becomes_one_file(tmp_path: Path) -> None:
    (tmp_path / "in").mkdir()
    make_robomimic(tmp_path / "in" / "lift.hdf5", size=8)
    make_robomimic(tmp_path / "in" / "can.hdf5", frames=5, size=8)
    label(open_dataset(tmp_path / "in"), tmp_path / "out.hdf5")
    dataset = open_dataset(tmp_path / "out.hdf5")
    assert [episode.num_frames for episode in dataset.episodes] == [5, 5, 12, 12]
    assert dataset.masks == {"train": ("demo_0", "demo_2"), "valid": ("demo_1", "demo_3")}
    with h5py.File(tmp_path / "out.hdf5") as file:
        assert file["data/demo_2"].attrs["source_name"] == "lift/demo_0"
        assert file["data"].attrs["total"] == 34


def test_a_labelled_file_can_be_labelled_again(tmp_path: Path) -> None:
    source = make_robomimic(tmp_path / "a.hdf5", size=8)
    label(open_dataset(source), tmp_path / "first.hdf5")
    written = label(open_dataset(tmp_path / "first.hdf5"), tmp_path / "second.hdf5", "copy")
    second = open_labelled(tmp_path / "second.hdf5")
    assert_equal(second.labels("demo_1")[0], written["demo_1"])
    source.unlink()
    episode = second.episode("demo_1")
    assert episode is not None
    np.testing.assert_array_equal(episode.frames(), make_frames(12, 8, 8, seed=1))


def test_a_copy_needs_what_it_copies(tmp_path: Path) -> None:
    source = make_robomimic(tmp_path / "a.hdf5", size=8)
    with h5py.File(source, "r+") as file:
        file["data/demo_1/next_obs"] = h5py.ExternalLink("gone.hdf5", "/x")
        file["data/demo_1/rewards"] = h5py.SoftLink("/gone")
    with pytest.raises(DatasetError, match=r"a\.hdf5: demo_1: `next_obs` is a link to gone\.hdf5"):
        label(open_dataset(source), tmp_path / "out.hdf5", "copy")
    with h5py.File(source, "r+") as file:
        del file["data/demo_1/next_obs"]
    with pytest.raises(DatasetError, match="demo_1: `rewards` is a link to /gone, which is not there"):
        label(open_dataset(source), tmp_path / "out.hdf5", "copy", "overwrite")


def test_labelling_in_place_through_a_link_labels_the_file_itself(tmp_path: Path) -> None:
    (tmp_path / "elsewhere").mkdir()
    source = make_robomimic(tmp_path / "elsewhere" / "a.hdf5", size=8)
    link = tmp_path / "link.hdf5"
    link.symlink_to(source)
    label(open_dataset(link), link, "in_place")
    assert link.is_symlink()
    assert open_labelled(source).episodes == ("demo_0", "demo_1")


@pytest.mark.parametrize("frames", [0, 1])
def test_episodes_without_a_transition_are_written_all_invalid(tmp_path: Path, frames: int) -> None:
    source = make_robomimic(tmp_path / "a.hdf5", size=8)
    with h5py.File(source, "r+") as file:
        del file["data/demo_1/obs/agentview_image"]
        file["data/demo_1/obs/agentview_image"] = make_frames(frames, 8, 8)
    label(open_dataset(source), tmp_path / "out.hdf5")
    labels, _ = read_labels(tmp_path / "out.hdf5", "demo_1")
    assert len(labels) == frames
    assert not labels.valid.any()


def test_reading_says_what_is_missing(tmp_path: Path) -> None:
    source = make_robomimic(tmp_path / "a.hdf5", size=8)
    with pytest.raises(DatasetError, match=r"a\.hdf5: carries no latent actions, expected a file labelled by Genie"):
        open_labelled(source)
    with pytest.raises(DatasetError, match="demo_0 carries no latent actions"):
        read_labels(source, "demo_0")
    with pytest.raises(DatasetError, match="got episode `demo_7`, expected one of those it holds: demo_0, demo_1"):
        read_labels(source, "demo_7")


def test_damaged_labels_are_named(tmp_path: Path) -> None:
    source = make_robomimic(tmp_path / "a.hdf5", size=8)
    label(open_dataset(source), source, "in_place")
    with h5py.File(source, "r+") as file:
        del file["data/demo_0/latent_actions/code"]
        file["data/demo_0/latent_actions/code"] = np.zeros(3, np.uint16)
        del file["data/demo_1/latent_actions"].attrs["step"]
    with pytest.raises(DatasetError, match=r"demo_0/latent_actions: not the labels that Genie writes: labels disagree"):
        read_labels(source, "demo_0")
    with pytest.raises(DatasetError, match=r"demo_1/latent_actions: wrong attributes: step: Field required"):
        read_labels(source, "demo_1")


def test_the_default_output_lies_beside_the_source(tmp_path: Path) -> None:
    (tmp_path / "v").mkdir()
    assert default_output(tmp_path / "a.b.hdf5") == tmp_path / "a.b.labelled.hdf5"
    assert default_output(tmp_path / "v") == tmp_path / "v.labelled.hdf5"
