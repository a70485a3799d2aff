"""What the LeRobot export holds; that LeRobot's own `LeRobotDataset` opens it is shown by `make conformance`."""

import json
from collections.abc import Callable
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

import av
import numpy as np
import pyarrow.parquet as pq
import pytest
from numpy.typing import NDArray

from genie_core.data import LabelledFile, open_dataset
from genie_core.data.export.run import ExportPlan, export_labels
from genie_core.data.formats.lerobot.writer import FileLimits
from genie_core.data.formats.lerobot.writer_stats import PictureStats, merge_stats, number_stats
from tests.factories.data import make_frames, make_robomimic, make_video
from tests.factories.labelled import label_file
from tests.factories.lerobot import make_lerobot_v21, make_lerobot_v30

NOON = datetime(2026, 1, 2, 12, tzinfo=UTC)
SNAPSHOTS = Path(__file__).parents[1] / "snapshots"
CAMERA = "observation.images.agentview_image"


@pytest.fixture
def labelled(tmp_path: Path) -> LabelledFile:
    return label_file(make_robomimic(tmp_path / "a.hdf5", episodes=5, frames=30, size=48))


def read_json(path: Path) -> Any:
    return json.loads(path.read_text())


def rows_of(folder: Path, kind: str) -> dict[str, list[Any]]:
    """All rows of the files of a kind, in order."""
    tables = [pq.read_table(path).to_pydict() for path in sorted((folder / kind).rglob("*.parquet"))]
    return {key: [cell for table in tables for cell in table[key]] for key in tables[0]}


def psnr(frames: NDArray[np.uint8], expected: NDArray[np.uint8]) -> float:
    return float(10 * np.log10(255**2 / np.mean((frames.astype(float) - expected) ** 2)))


def test_rows_hold_labels_actions_and_states(tmp_path: Path, labelled: LabelledFile) -> None:
    report = export_labels(labelled.path, tmp_path / "out", ExportPlan("lerobot", task="Lift the cube."))
    assert (report.episodes, report.frames, report.size) == (5, 150, (48, 48))
    rows = rows_of(tmp_path / "out", "data")
    source = open_dataset(tmp_path / "a.hdf5").episodes[3]
    labels, _ = labelled.labels("demo_3")
    span = slice(90, 120)
    assert rows["latent_action"][span] == labels.code.tolist()
    np.testing.assert_array_equal(np.array(rows["latent_action.latent"][span], np.float32), labels.latent)
    np.testing.assert_array_equal(np.array(rows["latent_action.confidence"][span], np.float32), labels.confidence)
    assert rows["latent_action.valid"][span] == labels.valid.tolist()
    np.testing.assert_allclose(rows["action"][span], source.actions, rtol=1e-6)
    np.testing.assert_allclose(rows["observation.state"][span], source.array("obs/robot0_eef_pos"), rtol=1e-6)
    assert rows["episode_index"][span] == [3] * 30
    assert rows["frame_index"][span] == list(range(30))
    assert rows["index"] == list(range(150))
    np.testing.assert_allclose(rows["timestamp"][span], np.arange(30) / 10, atol=1e-6)
    tasks = pq.read_table(tmp_path / "out/meta/tasks.parquet")
    assert tasks.to_pydict() == {"task_index": [0], "__index_level_0__": ["Lift the cube."]}
    assert json.loads(tasks.schema.metadata[b"pandas"])["index_columns"] == ["__index_level_0__"]


def test_new_files_begin_past_the_limits_and_every_episode_is_found_in_them(
    tmp_path: Path, labelled: LabelledFile
) -> None:
    limits = FileLimits(data_mb=0.01, video_mb=0.02)
    export_labels(labelled.path, tmp_path / "out", ExportPlan("lerobot", limits=limits))
    videos = sorted((tmp_path / "out").glob("videos/*/chunk-000/*.mp4"))
    assert [video.name for video in videos] == [f"file-{number:03d}.mp4" for number in range(len(videos))]
    assert 1 < len(videos) <= 5
    assert 1 < len(list((tmp_path / "out").glob("data/chunk-000/*.parquet"))) <= 5
    for index, episode in enumerate(open_dataset(tmp_path / "out").episodes):
        assert (episode.num_frames, episode.fps) == (30, 10)
        frames, expected = episode.frames(), make_frames(30, 48, 48, seed=index)
        assert psnr(frames, expected) > 28  # colour is halved in size
        assert psnr(frames[1:], expected[:-1]) < 20  # one frame off
        np.testing.assert_array_equal(episode.array("latent_action"), labelled.labels(f"demo_{index}")[0].code)
    info = read_json(tmp_path / "out/meta/info.json")
    assert (info["data_files_size_in_mb"], info["video_files_size_in_mb"]) == (0.01, 0.02)


def test_many_episodes_share_a_video_whose_frames_follow_at_the_rate(tmp_path: Path, labelled: LabelledFile) -> None:
    export_labels(labelled.path, tmp_path / "out", ExportPlan("lerobot"))
    rows = rows_of(tmp_path / "out", "meta/episodes")
    assert rows[f"videos/{CAMERA}/from_timestamp"] == [0, 3, 6, 9, 12]
    assert rows[f"videos/{CAMERA}/to_timestamp"] == [3, 6, 9, 12, 15]
    assert rows["dataset_from_index"] == [0, 30, 60, 90, 120]
    with av.open(str(tmp_path / f"out/videos/{CAMERA}/chunk-000/file-000.mp4")) as container:
        stream = container.streams.video[0]
        times = [frame.time for frame in container.decode(stream)]
        assert (stream.codec.name, stream.pix_fmt, float(stream.average_rate or 0)) == ("h264", "yuv420p", 10)
    np.testing.assert_allclose(times, np.arange(150) / 10, atol=1e-9)


def test_odd_sizes_are_made_even(tmp_path: Path) -> None:
    labelled = label_file(make_robomimic(tmp_path / "a.hdf5", episodes=1, frames=4, size=15))
    export_labels(labelled.path, tmp_path / "out", ExportPlan("lerobot"))
    assert read_json(tmp_path / "out/meta/info.json")["features"][CAMERA]["shape"] == [16, 16, 3]
    frames = open_dataset(tmp_path / "out").episodes[0].frames()
    assert frames.shape == (4, 16, 16, 3)


def test_statistics_are_those_of_all_rows(tmp_path: Path, labelled: LabelledFile) -> None:
    export_labels(labelled.path, tmp_path / "out", ExportPlan("lerobot"))
    stats, rows = read_json(tmp_path / "out/meta/stats.json"), rows_of(tmp_path / "out", "data")
    features = read_json(tmp_path / "out/meta/info.json")["features"]
    assert set(stats) == set(features)
    for key, cells in rows.items():
        values = np.array(cells, np.float64).reshape(150, -1)
        np.testing.assert_allclose(stats[key]["mean"], values.mean(0), atol=1e-9)
        np.testing.assert_allclose(stats[key]["std"], values.std(0), atol=1e-9)
        np.testing.assert_allclose(stats[key]["min"], values.min(0))
        np.testing.assert_allclose(stats[key]["max"], values.max(0))
        assert stats[key]["count"] == [150]
    originals = np.concatenate([make_frames(30, 48, 48, seed=index) for index in range(5)]) / 255
    assert np.array(stats[CAMERA]["q50"]).shape == (3, 1, 1)
    np.testing.assert_allclose(np.ravel(stats[CAMERA]["mean"]), originals.mean((0, 1, 2)), atol=1e-9)
    np.testing.assert_allclose(np.ravel(stats[CAMERA]["std"]), originals.std((0, 1, 2)), atol=1e-9)
    np.testing.assert_allclose(np.ravel(stats[CAMERA]["max"]), originals.max((0, 1, 2)))
    assert stats[CAMERA]["count"] == [150]


def test_quantiles_of_pictures_are_those_of_their_pixels() -> None:
    frames_THWC = np.random.default_rng(0).integers(0, 256, (7, 9, 11, 3)).astype(np.uint8)
    pictures = PictureStats(7)
    pictures.add(frames_THWC[:3])
    pictures.add(frames_THWC[3:])
    stats = pictures.stats()
    for key, share in (("q01", 0.01), ("q50", 0.5), ("q99", 0.99)):
        expected = np.quantile(frames_THWC / 255, share, axis=(0, 1, 2), method="inverted_cdf")
        np.testing.assert_allclose(stats[key].ravel(), expected)


def test_long_episodes_of_large_frames_are_sampled() -> None:
    pictures = PictureStats(1000)
    for start in range(0, 1000, 100):
        frames_THWC = np.zeros((100, 10, 600, 3), np.uint8)
        frames_THWC[:, :, 1::4] = 255  # every fourth column is looked at, and not this one
        frames_THWC[:, :, ::4, 0] = start // 100
        pictures.add(frames_THWC)
    stats = pictures.stats()
    assert stats["count"].tolist() == [177]
    assert stats["max"].ravel().tolist() == [9 / 255, 0, 0]


def test_merged_statistics_weigh_episodes_by_their_length() -> None:
    rng = np.random.default_rng(0)
    parts = [rng.normal(size=(count, 2)) for count in (3, 50, 11)]
    merged = merge_stats([{"x": number_stats(part)} for part in parts])["x"]
    together = np.concatenate(parts)
    for key in ("mean", "std", "min", "max"):
        np.testing.assert_allclose(merged[key], getattr(together, key)(0))
    expected = sum(len(part) * np.quantile(part, 0.9, axis=0, method="inverted_cdf") for part in parts) / 64
    np.testing.assert_allclose(merged["q90"], expected)


def test_a_dataset_without_robot_has_neither_actions_nor_states(tmp_path: Path) -> None:
    labelled = label_file(make_video(tmp_path / "v.mp4", frames=8, size=(48, 64), fps=12.5))
    export_labels(labelled.path, tmp_path / "out", ExportPlan("lerobot"))
    info = read_json(tmp_path / "out/meta/info.json")
    assert info["fps"] == 12.5
    assert "observation.images.video" in info["features"]
    assert not {"action", "observation.state"} & set(info["features"])
    assert open_dataset(tmp_path / "out").episodes[0].fps == 12.5


def test_the_schema_is_the_one_of_the_snapshot(tmp_path: Path, labelled: LabelledFile) -> None:
    export_labels(labelled.path, tmp_path / "out", ExportPlan("lerobot", exported=NOON))
    lines = []
    for path in sorted((tmp_path / "out").rglob("*")):
        name = path.relative_to(tmp_path / "out").as_posix()
        lines.append(name)
        if path.suffix == ".parquet":
            lines += [f"{name} {field.name} {field.type}" for field in pq.read_schema(path)]
        if path.suffix == ".json":
            lines += [f"{name} {key}: {_describe(value)}" for key, value in read_json(path).items()]
    assert "\n".join(lines) + "\n" == (SNAPSHOTS / "export_lerobot.txt").read_text()


def _describe(value: Any) -> str:
    """Keys and types of a JSON value; of a list its first element."""
    if isinstance(value, dict):
        return "{" + ", ".join(f"{key}: {_describe(inner)}" for key, inner in value.items()) + "}"
    if isinstance(value, list):
        return f"[{_describe(value[0]) if value else ''}]"
    return type(value).__name__


@pytest.mark.parametrize("make", [make_lerobot_v21, make_lerobot_v30])
def test_the_tasks_of_a_lerobot_source_are_kept(tmp_path: Path, make: Callable[..., Path]) -> None:
    labelled = label_file(make(tmp_path / "src", lengths=(6, 5)))
    export_labels(labelled.path, tmp_path / "out", ExportPlan("lerobot"))
    assert rows_of(tmp_path / "out", "meta/episodes")["tasks"] == [["Lift."], ["Lift."]]
    export_labels(tmp_path / "out", tmp_path / "again", ExportPlan("lerobot"))
    assert rows_of(tmp_path / "again", "meta/episodes")["tasks"] == [["Lift."], ["Lift."]]
    export_labels(labelled.path, tmp_path / "other", ExportPlan("lerobot", task="Stack."))
    assert rows_of(tmp_path / "other", "meta/episodes")["tasks"] == [["Stack."], ["Stack."]]
