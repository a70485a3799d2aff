"""LeRobot folders with what real ones have: null cameras, missing files, pointers, newer versions, overlaps."""

from __future__ import annotations

import json
import shutil
from pathlib import Path

import numpy as np
import pyarrow as pa
import pyarrow.parquet as pq
import pytest

from genie_core.data import inspect_dataset, open_dataset
from genie_core.errors import DatasetError
from tests.factories.lerobot import TOP, make_lerobot_v21, make_lerobot_v30

WRIST = "observation.images.wrist"
LIST_30 = "meta/episodes/chunk-000/file-000.parquet"


def set_column(path: Path, key: str, values: list[object]) -> None:
    table = pq.read_table(path)
    at = table.schema.get_field_index(key)
    pq.write_table(table.set_column(at, key, pa.array(values)), path)


def edit_info(path: Path, **values: object) -> None:
    info = path / "meta/info.json"
    info.write_text(json.dumps({**json.loads(info.read_text()), **values}))


def test_a_camera_that_an_episode_lacks_does_not_keep_the_others_from_being_read(tmp_path: Path) -> None:
    path = make_lerobot_v30(tmp_path, cameras=(TOP, WRIST))
    for part in ("chunk_index", "file_index", "from_timestamp", "to_timestamp"):
        values = pq.read_table(path / LIST_30)[f"videos/{WRIST}/{part}"].to_pylist()
        set_column(path / LIST_30, f"videos/{WRIST}/{part}", [values[0], None, values[2]])
    assert [episode.num_frames for episode in open_dataset(path, camera=TOP).episodes] == [12, 5, 9]
    wrist = open_dataset(path, camera="wrist").episodes
    assert (wrist[0].num_frames, wrist[2].num_frames) == (12, 9)
    with pytest.raises(DatasetError, match=f"episode_000001 has no video of `{WRIST}` \\(its chunk_index is null"):
        _ = wrist[1].num_frames
    assert inspect_dataset(path, camera=TOP).can_label


def test_the_end_of_a_camera_s_name_will_do(tmp_path: Path) -> None:
    path = make_lerobot_v21(tmp_path, cameras=(TOP, WRIST, "observation.images.left_wrist"))
    assert open_dataset(path, camera="wrist").camera == WRIST
    assert open_dataset(path, camera="left_wrist").camera == "observation.images.left_wrist"
    with pytest.raises(DatasetError, match="no camera `left`"):
        open_dataset(path, camera="left")


def test_several_cameras_are_named_and_the_episodes_are_shown_all_the_same(tmp_path: Path) -> None:
    report = inspect_dataset(make_lerobot_v21(tmp_path, cameras=(TOP, WRIST)))
    assert (report.can_label, report.camera, len(report.episodes), report.frames) == (False, None, 3, 26)
    assert f"expected a choice of one: {TOP}, {WRIST} (--camera NAME; --camera all)" in report.obstacles[0]


def test_many_missing_files_are_one_line_with_the_folder_that_has_them(tmp_path: Path) -> None:
    path = make_lerobot_v21(tmp_path, lengths=[3] * 12)
    (path / "videos").rename(path / "video")
    report = inspect_dataset(path)
    missing = [obstacle for obstacle in report.obstacles if "missing" in obstacle]
    first = f"videos/chunk-000/{TOP}/episode_000000.mp4"
    assert len(missing) == 1
    assert f"12 of 24 files are missing: {first}, " in missing[0]
    assert missing[0].endswith("`video/` holds them, expected `videos/`: rename it")


def test_one_missing_file_keeps_the_other_episodes(tmp_path: Path) -> None:
    path = make_lerobot_v21(tmp_path)
    (path / f"videos/chunk-000/{TOP}/episode_000001.mp4").unlink()
    episodes = open_dataset(path, check=False).episodes
    assert [episodes[0].num_frames, episodes[2].num_frames] == [12, 9]
    with pytest.raises(DatasetError, match=r"a file is missing: videos/.*/episode_000001\.mp4"):
        _ = episodes[1].num_frames


@pytest.mark.parametrize(
    ("version", "words"), [("v4.0", "newer than this version"), ("v1.6", "convert older"), ("new", "convert older")]
)
def test_a_version_is_called_older_or_newer_as_it_is(tmp_path: Path, version: str, words: str) -> None:
    path = make_lerobot_v21(tmp_path)
    edit_info(path, codebase_version=version)
    with pytest.raises(DatasetError, match=f"got {version}, expected one of v2.0, v2.1, v3.0; .*{words}"):
        open_dataset(path)


def test_an_older_dataset_that_calls_itself_newer_is_found_out(tmp_path: Path) -> None:
    path = make_lerobot_v21(tmp_path)
    edit_info(path, codebase_version="v3.0")
    with pytest.raises(DatasetError, match=r"there is episodes\.jsonl: the dataset is of v2\.1, whatever"):
        open_dataset(path)


@pytest.mark.parametrize(
    ("template", "words"),
    [
        ("data/{chunk}/e{episode_index}.parquet", r"has the key \{chunk\}, expected only episode_index, episode_chunk"),
        ("data/{}.parquet", "expected a path with parts like"),
        ("data/{episode_index:q}.parquet", "expected a path with parts like"),
    ],
)
def test_a_template_with_an_unknown_key_says_which(tmp_path: Path, template: str, words: str) -> None:
    path = make_lerobot_v21(tmp_path)
    edit_info(path, data_path=template)
    with pytest.raises(DatasetError, match=words):
        open_dataset(path)


def test_git_lfs_pointers_are_called_so(tmp_path: Path) -> None:
    path = make_lerobot_v21(tmp_path)
    pointer = "version https://git-lfs.github.com/spec/v1\noid sha256:0\nsize 1\n"
    (path / f"videos/chunk-000/{TOP}/episode_000000.mp4").write_text(pointer)
    (path / "data/chunk-000/episode_000001.parquet").write_text(pointer)
    for episode in open_dataset(path).episodes[:2]:
        with pytest.raises(DatasetError, match="a Git LFS pointer, not the file itself"):
            _ = episode.num_frames
    (path / "meta/info.json").write_text(pointer)
    with pytest.raises(DatasetError, match="a Git LFS pointer"):
        open_dataset(path)


def test_windows_of_one_video_that_overlap_are_told(tmp_path: Path) -> None:
    path = make_lerobot_v30(tmp_path)
    set_column(path / LIST_30, f"videos/{TOP}/from_timestamp", [0.0, 0.7, 0.0])
    assert any("episode_000000 and episode_000001 overlap" in warning for warning in open_dataset(path).warnings)
    assert not open_dataset(make_lerobot_v30(tmp_path / "good")).warnings


def test_holes_in_the_rows_times_are_gaps(tmp_path: Path) -> None:
    path = make_lerobot_v21(tmp_path)
    times = np.arange(12) / 10 + np.where(np.arange(12) > 5, 2.0, 0)
    set_column(path / "data/chunk-000/episode_000000.parquet", "timestamp", times.astype(np.float32).tolist())
    episode = open_dataset(path).episodes[0]
    assert episode.times_s is not None
    assert np.diff(episode.times_s).argmax() == 5
    assert any("1 gap, the longest of 2.1 s after frame 5" in warning for warning in inspect_dataset(path).warnings)


def test_times_of_another_unit_make_no_gaps(tmp_path: Path) -> None:
    path = make_lerobot_v21(tmp_path)
    stamps = (1.7e9 + np.arange(12) / 10).astype(np.float32)  # of which that type tells no two apart
    set_column(path / "data/chunk-000/episode_000000.parquet", "timestamp", stamps.tolist())
    assert not inspect_dataset(path).warnings


def test_rows_of_another_rate_than_the_datasets_are_told(tmp_path: Path) -> None:
    path = make_lerobot_v21(tmp_path, lengths=(12,))
    for factor, is_told in ((1000.0, False), (1.05, False), (2.0, True), (0.5, True)):
        times = (factor * np.arange(12) / 10).astype(np.float32)
        set_column(path / "data/chunk-000/episode_000000.parquet", "timestamp", times.tolist())
        facts = inspect_dataset(path).facts
        assert any("`timestamp` is of another rate" in fact for fact in facts) == is_told, factor


def test_a_storage_format_of_later_versions_is_named(tmp_path: Path) -> None:
    path = make_lerobot_v30(tmp_path)
    edit_info(path, storage_format="lance")
    with pytest.raises(DatasetError, match="storage_format: got lance, expected LeRobot's Parquet"):
        open_dataset(path)


def test_pictures_beside_the_table_are_read_by_their_paths(tmp_path: Path) -> None:
    path = make_lerobot_v21(tmp_path, dtype="image")
    wanted = open_dataset(path).episodes[0].frames()
    file = path / "data/chunk-000/episode_000000.parquet"
    cells = pq.read_table(file)[TOP].to_pylist()
    for number, cell in enumerate(cells):
        (path / "images").mkdir(exist_ok=True)
        (path / f"images/{number}.png").write_bytes(cell["bytes"])
    table = pq.read_table(file)
    kind = pa.struct([("bytes", pa.binary()), ("path", pa.string())])
    told = pa.array([{"bytes": None, "path": f"images/{number}.png"} for number in range(len(cells))], kind)
    pq.write_table(table.set_column(table.schema.get_field_index(TOP), TOP, told), file)
    np.testing.assert_array_equal(open_dataset(path).episodes[0].frames(), wanted)
    (path / "images/3.png").unlink()
    with pytest.raises(DatasetError, match=r"frame 3 of .* is at .*3\.png: No such file"):
        open_dataset(path).episodes[0].frames()
    outside = pa.array([{"bytes": None, "path": "../out.png"}] * len(cells), kind)
    pq.write_table(table.set_column(table.schema.get_field_index(TOP), TOP, outside), file)
    with pytest.raises(DatasetError, match="leads out of the dataset"):
        open_dataset(path).episodes[0].frames()


def test_depth_by_its_pixel_format_is_no_camera(tmp_path: Path) -> None:
    path = make_lerobot_v21(tmp_path, cameras=(TOP, "observation.images.depth"))
    features = json.loads((path / "meta/info.json").read_text())["features"]
    features["observation.images.depth"]["info"] = {"video.pix_fmt": "gray12le", "video.channels": 1}
    edit_info(path, features=features)
    assert open_dataset(path).cameras == (TOP,)


def test_damage_within_a_small_video_is_found_by_inspecting(tmp_path: Path) -> None:
    path = make_lerobot_v21(tmp_path)
    video = path / f"videos/chunk-000/{TOP}/episode_000002.mp4"
    data = bytearray(video.read_bytes())
    middle = data.index(b"mdat") + len(data) // 6
    data[middle : middle + 400] = bytes(400)
    video.write_bytes(data)
    shutil.rmtree(path / "unused", ignore_errors=True)
    assert not inspect_dataset(path).can_label
