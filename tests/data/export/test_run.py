import json
from dataclasses import replace
from datetime import UTC, datetime
from pathlib import Path

import h5py
import numpy as np
import pyarrow.parquet as pq
import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st
from hypothesis.extra.numpy import arrays

from genie_core.data import (
    FramesMode,
    LabelAlignment,
    Labels,
    LabelWriter,
    ReadOptions,
    open_dataset,
    open_labelled,
    resize_frames,
)
from genie_core.data.export.run import ExportFormat, ExportFrames, ExportPlan, export_labels
from genie_core.errors import DatasetError
from tests.factories.data import (
    make_aloha,
    make_frames,
    make_label_model,
    make_labels,
    make_nested,
    make_robomimic,
    make_video,
)
from tests.factories.labelled import label_file
from tests.factories.lerobot import TOP, action_of, make_lerobot_v30, state_of

NOON = datetime(2026, 1, 2, 12, tzinfo=UTC)
SNAPSHOTS = Path(__file__).parents[1] / "snapshots"
CODES = 300


def assert_same_labels(path: Path, other: Path) -> None:
    """Labels, provenance and codebook of two labelled files are the same to the bit."""
    here, there = open_labelled(path), open_labelled(other)
    assert here.episodes == there.episodes
    assert here.model.codebook.tobytes() == there.model.codebook.tobytes()
    assert here.model.bundle_id == there.model.bundle_id
    assert (here.attrs.created, here.attrs.tool_version) == (there.attrs.created, there.attrs.tool_version)
    for name in there.episodes:
        (labels, attrs), (expected, expected_attrs) = here.labels(name), there.labels(name)
        assert attrs == expected_attrs
        for field in ("code", "latent", "confidence", "valid"):
            mine, theirs = getattr(labels, field), getattr(expected, field)
            assert (mine.dtype, mine.shape) == (theirs.dtype, theirs.shape)
            assert mine.tobytes() == theirs.tobytes()
        assert (labels.action is None) == (expected.action is None)
        if labels.action is not None and expected.action is not None:
            assert labels.action.tobytes() == expected.action.tobytes()


def write_labelled(folder: Path, labels: list[Labels]) -> Path:
    """A labelled file whose episodes have exactly these labels."""
    source = folder / "a.hdf5"
    with h5py.File(source, "w") as file:
        for index, part in enumerate(labels):
            file[f"data/demo_{index}/obs/agentview_image"] = make_frames(len(part), 8, 8, seed=index)
    dataset = open_dataset(source, fps=10)
    model = make_label_model(CODES, labels[0].latent.shape[1])
    writer = LabelWriter(folder / "a.labelled.hdf5", dataset, model, existing="overwrite", created=NOON)
    for episode, part in zip(dataset.episodes, labels, strict=True):
        writer.add(episode, part)
    return writer.finish()


@st.composite
def episode_labels(draw: st.DrawFn, latent_dim: int = 3, finite: bool = False) -> Labels:
    count = draw(st.integers(1, 9))
    numbers = st.floats(width=32, allow_nan=not finite, allow_infinity=not finite)
    return Labels(
        0,
        draw(arrays(np.uint16, count, elements=st.integers(0, CODES - 1))),
        draw(arrays(np.float32, (count, latent_dim), elements=numbers)),
        draw(arrays(np.float32, count, elements=numbers)),
        draw(arrays(np.bool_, count)),
    )


def round_trip(folder: Path, labels: list[Labels], to: ExportFormat) -> None:
    folder.mkdir()
    labelled = write_labelled(folder, labels)
    export_labels(labelled, folder / "out", ExportPlan(to))
    export_labels(folder / "out", folder / "back.hdf5", ExportPlan("robomimic"))
    assert_same_labels(folder / "back.hdf5", labelled)


@settings(max_examples=12, suppress_health_check=[HealthCheck.function_scoped_fixture])
@given(labels=st.lists(episode_labels(), min_size=1, max_size=3))
def test_labels_come_back_from_parquet_bit_for_bit(
    tmp_path_factory: pytest.TempPathFactory, labels: list[Labels]
) -> None:
    round_trip(tmp_path_factory.mktemp("parquet") / "x", labels, "parquet")


@settings(max_examples=6, suppress_health_check=[HealthCheck.function_scoped_fixture])
@given(labels=st.lists(episode_labels(finite=True), min_size=1, max_size=3))
def test_labels_come_back_from_lerobot_bit_for_bit(
    tmp_path_factory: pytest.TempPathFactory, labels: list[Labels]
) -> None:
    round_trip(tmp_path_factory.mktemp("lerobot") / "x", labels, "lerobot")


def test_a_parquet_file_has_one_row_a_frame_and_one_row_group_an_episode(tmp_path: Path) -> None:
    labelled = label_file(make_robomimic(tmp_path / "a.hdf5", episodes=3, frames=20, size=8, fps=20))
    report = export_labels(labelled.path, tmp_path / "a.parquet", ExportPlan("parquet"))
    assert (report.episodes, report.frames, report.action_dim, report.state_dim) == (3, 60, 7, 3)
    table = pq.read_table(tmp_path / "a.parquet").to_pydict()
    assert pq.ParquetFile(tmp_path / "a.parquet").num_row_groups == 3
    assert table["episode_index"] == [0] * 20 + [1] * 20 + [2] * 20
    assert table["episode"][20:40] == ["demo_1"] * 20
    np.testing.assert_allclose(table["timestamp"][20:40], np.arange(20) / 20)
    labels, _ = labelled.labels("demo_1")
    assert table["code"][20:40] == labels.code.tolist()
    assert table["valid"][38:40] == [False, False]
    episode = open_dataset(tmp_path / "a.hdf5").episodes[1]
    np.testing.assert_array_equal(np.array(table["action"][20:40]), episode.actions)
    np.testing.assert_array_equal(np.array(table["observation.state"][20:40]), episode.array("obs/robot0_eef_pos"))
    document = json.loads(pq.read_metadata(tmp_path / "a.parquet").metadata[b"genie"])
    assert document["model"]["bundle_id"] == "ab" * 32
    assert document["labels"]["step"] == 2
    assert [episode["name"] for episode in document["episodes"]] == ["demo_0", "demo_1", "demo_2"]


def test_episodes_without_actions_have_nulls_in_parquet(tmp_path: Path) -> None:
    source = make_robomimic(tmp_path / "a.hdf5", episodes=2, frames=5, size=8)
    with h5py.File(source, "a") as file:
        del file["data/demo_0/actions"]
    labelled = label_file(source)
    export_labels(labelled.path, tmp_path / "a.parquet", ExportPlan("parquet"))
    actions = pq.read_table(tmp_path / "a.parquet").to_pydict()["action"]
    assert actions[:5] == [None] * 5
    assert len(actions[5]) == 7
    export_labels(tmp_path / "a.parquet", tmp_path / "back.hdf5", ExportPlan("robomimic", frames="none"))
    with h5py.File(tmp_path / "back.hdf5") as file:
        assert "actions" not in file["data/demo_0"]
        np.testing.assert_array_equal(file["data/demo_1/actions"], h5py.File(source)["data/demo_1/actions"])


@pytest.mark.parametrize("frames", ["link", "copy", "in_place"])
def test_a_robomimic_export_needs_no_other_file(tmp_path: Path, frames: str) -> None:
    source = make_robomimic(tmp_path / "a.hdf5", episodes=3, frames=6, size=8)
    expected = {episode.name: (episode.frames(), episode.actions) for episode in open_dataset(source).episodes}
    if frames == "in_place":
        dataset = open_dataset(source)
        writer = LabelWriter(source, dataset, make_label_model(), frames="in_place")
        for episode in writer.pending():
            writer.add(episode, Labels.invalid(0, 6, 4))
        labelled = open_labelled(writer.finish())
    else:
        labelled = label_file(source, frames=frames)  # type: ignore[arg-type]
    export_labels(labelled.path, tmp_path / "out.hdf5", ExportPlan("robomimic"))
    assert_same_labels(tmp_path / "out.hdf5", labelled.path)
    labelled.path.unlink()
    source.unlink(missing_ok=True)
    exported = open_labelled(tmp_path / "out.hdf5")
    dataset = open_dataset(tmp_path / "out.hdf5")
    assert dataset.masks == {"train": ("demo_0", "demo_1"), "valid": ("demo_2",)}
    for episode in dataset.episodes:
        frames_THWC, actions = expected[episode.name]
        np.testing.assert_array_equal(episode.frames(), frames_THWC)
        np.testing.assert_array_equal(episode.actions, actions)
        stored = exported.episode(episode.name)
        assert stored is not None
        np.testing.assert_array_equal(stored.frames(), frames_THWC)
    with h5py.File(tmp_path / "out.hdf5") as file:
        assert file["data"].attrs["total"] == 18
        assert json.loads(file["data"].attrs["env_args"])["env_name"] == "Lift"
        assert set(file["data/demo_0"]) == {"actions", "states", "obs", "latent_actions"}
        assert file["data/demo_0"].attrs["num_samples"] == 6


@pytest.mark.parametrize(("size", "shape"), [("source", (48, 64)), ("labelled", (16, 24)), ((10, 12), (10, 12))])
def test_the_frames_of_a_labelled_video_are_the_sources_or_the_labelled_files(
    tmp_path: Path, size: str, shape: tuple[int, int]
) -> None:
    video = make_video(tmp_path / "v.mp4", frames=12, size=(48, 64))
    dataset = open_dataset(video)
    original = dataset.episodes[0].frames()
    writer = LabelWriter(tmp_path / "v.labelled.hdf5", dataset, make_label_model(), created=NOON)
    writer.add(dataset.episodes[0], Labels.invalid(0, 12, 4), [resize_frames(original, 16, 24)])
    plan = ExportPlan("robomimic", frames=size)  # type: ignore[arg-type]
    report = export_labels(writer.finish(), tmp_path / "out.hdf5", plan)
    assert report.size == shape
    episode = open_labelled(tmp_path / "out.hdf5").episode("demo_0")
    assert episode is not None
    np.testing.assert_array_equal(episode.frames(), resize_frames(original, *shape))


def test_actions_and_states_of_a_lerobot_source_are_kept(tmp_path: Path) -> None:
    make_lerobot_v30(tmp_path / "src", lengths=(6, 5))
    labelled = label_file(tmp_path / "src")
    export_labels(labelled.path, tmp_path / "out.hdf5", ExportPlan("robomimic"))
    with h5py.File(tmp_path / "out.hdf5") as file:
        np.testing.assert_array_equal(file["data/demo_1/actions"], action_of(1, 5))
        np.testing.assert_array_equal(file["data/demo_1/obs/observation.state"], state_of(1, 5))
        assert file[f"data/demo_1/obs/{TOP}"].shape == (5, 48, 64, 3)


@pytest.mark.parametrize("frames", [None, "model", "none"])
def test_actions_whose_path_the_user_gave_are_exported(tmp_path: Path, frames: FramesMode | None) -> None:
    source = make_nested(tmp_path / "a.h5")
    paths = ReadOptions(fps=15, frames_path="trajectories/*/images/front", actions_path="trajectories/*/robot/command")
    labelled = label_file(source, frames=frames, options=paths)
    export_labels(labelled.path, tmp_path / "out.parquet", ExportPlan("parquet"))
    found = np.array(pq.read_table(tmp_path / "out.parquet")["action"].to_pylist())
    with h5py.File(source) as file:
        stored = [file[f"trajectories/{number}/robot/command"][()] for number in (2, 9, 16)]
    np.testing.assert_allclose(found, np.concatenate(stored), rtol=1e-6)


def describe_hdf5(path: Path) -> str:
    lines = []

    def visit(name: str, node: h5py.HLObject) -> None:
        kind = f" {node.dtype} {node.ndim}-d" if isinstance(node, h5py.Dataset) else "/"
        lines.append(f"/{name}{kind}")
        lines.extend(f"/{name} @{key} {type(value).__name__}" for key, value in sorted(node.attrs.items()))

    with h5py.File(path) as file:
        visit("", file)
        file.visititems(visit)
    return "\n".join(lines) + "\n"


def test_the_schema_of_parquet_is_the_one_of_the_snapshot(tmp_path: Path) -> None:
    labelled = label_file(make_robomimic(tmp_path / "a.hdf5", episodes=2, frames=5, size=8))
    export_labels(labelled.path, tmp_path / "a.parquet", ExportPlan("parquet", exported=NOON))
    schema = pq.read_schema(tmp_path / "a.parquet")
    document = json.loads(schema.metadata[b"genie"])
    assert document["exported"] == "2026-01-02T12:00:00+00:00"
    lines = [f"{field.name} {field.type}{'' if field.nullable else ' not null'}" for field in schema]
    lines += [f"genie.{key}: {describe(value)}" for key, value in document.items()]
    assert "\n".join(lines) + "\n" == (SNAPSHOTS / "export_parquet.txt").read_text()


def test_the_schema_of_robomimic_is_the_one_of_the_snapshot(tmp_path: Path) -> None:
    labelled = label_file(make_video(tmp_path / "v.mp4", frames=5))
    export_labels(labelled.path, tmp_path / "out.hdf5", ExportPlan("robomimic"))
    assert describe_hdf5(tmp_path / "out.hdf5") == (SNAPSHOTS / "export_robomimic.txt").read_text()


def write_decoded(folder: Path, source: Path) -> Path:
    """A labelled file of one episode whose labels hold decoded actions: two of their latents' numbers."""
    alignment = LabelAlignment("lift", "a" * 64, ("x", "y"))
    dataset = open_dataset(source, fps=10)
    writer = LabelWriter(folder / "a.labelled.hdf5", dataset, make_label_model(), alignment=alignment, step=2)
    labels = make_labels(5)
    writer.add(writer.pending()[0], replace(labels, action=labels.latent[:, 2:]))
    return writer.finish()


@pytest.mark.parametrize("to", ["lerobot", "parquet", "robomimic"])
def test_decoded_actions_go_with_their_labels_and_come_back(tmp_path: Path, to: ExportFormat) -> None:
    source = make_robomimic(tmp_path / "a.hdf5", episodes=1, frames=5, size=8)
    labelled = write_decoded(tmp_path, source)
    export_labels(labelled, tmp_path / "out", ExportPlan(to))
    export_labels(tmp_path / "out", tmp_path / "back.hdf5", ExportPlan("robomimic"))
    assert_same_labels(tmp_path / "back.hdf5", labelled)
    exported, attrs = open_labelled(tmp_path / "back.hdf5").labels("demo_0")
    assert exported.action is not None
    assert attrs.aligned_by == LabelAlignment("lift", "a" * 64, ("x", "y"))
    np.testing.assert_array_equal(exported.action, exported.latent[:, 2:])
    with h5py.File(tmp_path / "back.hdf5") as file:
        own = h5py.File(source)["data/demo_0/actions"][()]
        np.testing.assert_array_equal(file["data/demo_0/actions"], own.astype(np.float32) if to == "lerobot" else own)


def test_policies_of_lerobot_may_learn_the_decoded_actions(tmp_path: Path) -> None:
    source = make_robomimic(tmp_path / "a.hdf5", episodes=1, frames=5, size=8)
    labelled = write_decoded(tmp_path, source)
    report = export_labels(labelled, tmp_path / "set", ExportPlan("lerobot", actions="decoded"))
    assert report.action_dim == 2
    info = json.loads((tmp_path / "set/meta/info.json").read_text())
    assert info["genie"]["action"] == "decoded"
    assert info["features"]["action"]["names"] == info["features"]["latent_action.action"]["names"] == ["x", "y"]
    (episode,) = open_dataset(tmp_path / "set").episodes
    labels, _ = open_labelled(labelled).labels("demo_0")
    np.testing.assert_array_equal(episode.actions, labels.action)
    # Nobody takes them for the robot's own afterwards.
    export_labels(tmp_path / "set", tmp_path / "back.hdf5", ExportPlan("robomimic"))
    assert_same_labels(tmp_path / "back.hdf5", labelled)
    with h5py.File(tmp_path / "back.hdf5") as file:
        assert "actions" not in file["data/demo_0"]


@pytest.mark.parametrize(("to", "message"), [("parquet", "column `decoded_action`"), ("robomimic", "as `latent_act")])
def test_only_lerobot_is_asked_which_actions_it_is_to_learn(tmp_path: Path, to: ExportFormat, message: str) -> None:
    labelled = write_decoded(tmp_path, make_robomimic(tmp_path / "a.hdf5", episodes=1, frames=5, size=8))
    with pytest.raises(DatasetError, match=message):
        export_labels(labelled, tmp_path / "out", ExportPlan(to, actions="decoded"))
    assert not (tmp_path / "out").exists()


def test_decoded_actions_that_are_not_there_are_refused(tmp_path: Path) -> None:
    labelled = label_file(make_robomimic(tmp_path / "a.hdf5", episodes=1, frames=5, size=8))
    with pytest.raises(DatasetError, match=r"actions: got no decoded ones.*--alignment"):
        export_labels(labelled.path, tmp_path / "out", ExportPlan("lerobot", actions="decoded"))
    assert not (tmp_path / "out").exists()


def describe(value: object) -> str:
    """Keys and types of a JSON value; of a list its first element."""
    if isinstance(value, dict):
        return "{" + ", ".join(f"{key}: {describe(inner)}" for key, inner in value.items()) + "}"
    if isinstance(value, list):
        return f"[{describe(value[0]) if value else ''}]"
    return type(value).__name__


@pytest.mark.parametrize("size", ["source", (12, 12)])
@pytest.mark.parametrize("kept", ["link", "none"])
def test_pictures_that_are_stored_upside_down_are_exported_the_right_way_up(
    tmp_path: Path, kept: FramesMode, size: ExportFrames
) -> None:
    source = make_robomimic(tmp_path / "a.hdf5", episodes=1, frames=5, size=24, camera="agentview_rgb")
    with h5py.File(source, "a") as file:
        file["data"].attrs["macros_image_convention"] = "opengl"
    upright = np.ascontiguousarray(make_frames(5, 24, 24, seed=0)[:, ::-1])
    expected = resize_frames(upright, *size) if isinstance(size, tuple) else upright
    np.testing.assert_array_equal(open_dataset(source).episodes[0].frames(), upright)
    labelled = label_file(source, frames=kept)
    export_labels(labelled.path, tmp_path / "set", ExportPlan("lerobot", frames=size))
    export_labels(labelled.path, tmp_path / "out.hdf5", ExportPlan("robomimic", frames=size))
    export_labels(tmp_path / "set", tmp_path / "back.hdf5", ExportPlan("robomimic"))
    for name, tolerance in (("out.hdf5", 0), ("back.hdf5", 25)):
        episode = open_labelled(tmp_path / name).episode("demo_0")
        assert episode is not None
        read = open_dataset(tmp_path / name).episodes[0]
        for frames in (episode.frames(), read.frames()):
            assert np.abs(frames.astype(int) - expected).mean() <= tolerance
            assert (
                np.abs(frames.astype(int) - expected[:, ::-1]).mean() > 2 * np.abs(frames - expected.astype(int)).mean()
            )


@pytest.mark.parametrize("compressed", [False, True])
@pytest.mark.parametrize("to", ["lerobot", "parquet", "robomimic"])
def test_a_folder_that_is_labelled_in_alohas_own_layout_is_exported(
    tmp_path: Path, to: ExportFormat, compressed: bool
) -> None:
    (tmp_path / "aloha").mkdir()
    for number in (2, 10):
        make_aloha(tmp_path / f"aloha/episode_{number}.hdf5", frames=6, compressed=compressed, seed=number)
    dataset = open_dataset(tmp_path / "aloha", fps=50)
    writer = LabelWriter(tmp_path / "aloha", dataset, make_label_model(), frames="in_place", step=1)
    for number, episode in enumerate(writer.pending()):
        writer.add(episode, Labels.invalid(0, 6, 4) if number else make_labels(6))
    labelled = open_labelled(writer.finish())
    report = export_labels(tmp_path / "aloha", tmp_path / "out", ExportPlan(to))
    assert (report.episodes, report.action_dim, report.state_dim) == (2, 14, 14)
    export_labels(tmp_path / "out", tmp_path / "back.hdf5", ExportPlan("robomimic"))
    back = open_labelled(tmp_path / "back.hdf5")
    assert back.episodes == ("demo_0", "demo_1")
    for name, own, original in zip(back.episodes, labelled.episodes, dataset.episodes, strict=True):
        (labels, attrs), (expected, _) = back.labels(name), labelled.labels(own)
        assert labels.latent.tobytes() == expected.latent.tobytes()
        assert attrs.source_name == original.name
        exported, action = back.episode(name), original.actions
        assert exported is not None
        assert action is not None
        np.testing.assert_allclose(exported.actions, action, rtol=1e-6)
        difference = np.abs(exported.frames().astype(int) - original.frames())
        assert difference.mean() <= (15 if to == "lerobot" else 0)
