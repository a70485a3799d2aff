import os
from collections.abc import Callable
from pathlib import Path

import numpy as np
import pytest

from genie_core.data import LabelWriter, inspect_dataset, open_dataset, open_labelled
from genie_core.data.storage.parquet import ParquetTable
from genie_core.errors import DatasetError
from tests.factories.data import make_label_model, make_labels, make_video
from tests.factories.lerobot import (
    LENGTHS,
    TOP,
    cut_table,
    edit_info,
    edit_table,
    make_lerobot_v21,
    make_lerobot_v30,
    state_of,
)

MAKERS: dict[str, Callable[..., Path]] = {"v2.1": make_lerobot_v21, "v3.0": make_lerobot_v30}
both = pytest.mark.parametrize("version", MAKERS)

DATA_21 = "data/chunk-000/episode_000001.parquet"
VIDEO_21 = f"videos/chunk-000/{TOP}/episode_000001.mp4"
DATA_30 = "data/chunk-000/file-000.parquet"
VIDEO_30 = f"videos/{TOP}/chunk-000/file-000.mp4"
LIST_30 = "meta/episodes/chunk-000/file-000.parquet"


def refusal(path: Path, episode: int = 1) -> str:
    """Why an episode cannot be read, which is the same whatever is asked of it, and does not keep others from it."""
    reader = open_dataset(path).episodes[episode]
    messages = set()
    for ask in (lambda: reader.num_frames, lambda: list(reader.chunks(4)), lambda: reader.frames(0, 1)):
        with pytest.raises(DatasetError) as caught:
            ask()
        messages.add(str(caught.value))
    assert len(messages) == 1
    report = inspect_dataset(path)
    assert not report.can_label
    assert report.episodes[episode].problem in messages
    return messages.pop()


def test_an_episode_of_less_video_than_rows_is_refused(tmp_path: Path) -> None:
    path = make_lerobot_v21(tmp_path)
    make_video(path / VIDEO_21, frames=4)
    assert refusal(path) == f"{path / VIDEO_21}: episode_000001 has 4 frames there, but 5 rows in {path / DATA_21}"
    assert open_dataset(path).episodes[0].num_frames == LENGTHS[0]


def test_an_episode_of_less_rows_than_listed_is_refused(tmp_path: Path) -> None:
    path = make_lerobot_v21(tmp_path)
    cut_table(path / DATA_21, 0, 3)
    assert refusal(path) == f"{path / DATA_21}: episode_000001 has 3 rows, its dataset lists 5 frames"
    with pytest.raises(DatasetError, match="has 3 rows"):
        open_dataset(path).episodes[1].array("action")


def test_a_slice_of_less_video_than_rows_is_refused(tmp_path: Path) -> None:
    path = make_lerobot_v30(tmp_path)
    edit_table(path / LIST_30, **{f"videos/{TOP}/to_timestamp": [1.2, 1.5, 0.9]})
    assert refusal(path) == f"{path / VIDEO_30}: episode_000001 has 3 frames there, but 5 rows in {path / DATA_30}"


def test_a_shared_table_that_lacks_rows_is_refused(tmp_path: Path) -> None:
    path = make_lerobot_v30(tmp_path)
    cut_table(path / DATA_30, 0, LENGTHS[0])
    assert refusal(path) == f"{path / DATA_30}: episode_000001 has 0 rows, its dataset lists 5 frames"
    assert open_dataset(path).episodes[0].num_frames == LENGTHS[0]


def test_times_that_are_a_little_off_find_the_same_frames(tmp_path: Path) -> None:
    path = make_lerobot_v30(tmp_path)
    wanted = open_dataset(path).episodes[1].frames()
    off = {"from": [0.004, 1.203, 0.0], "to": [1.197, 1.704, 0.899]}
    edit_table(path / LIST_30, **{f"videos/{TOP}/{edge}_timestamp": times for edge, times in off.items()})
    np.testing.assert_array_equal(open_dataset(path).episodes[1].frames(), wanted)


def test_rows_in_disorder_are_refused(tmp_path: Path) -> None:
    path = make_lerobot_v21(tmp_path)
    edit_table(path / DATA_21, frame_index=[0, 1, 3, 2, 4])
    assert "the rows of episode_000001 are not in order" in refusal(path)
    shared = make_lerobot_v30(tmp_path / "shared")
    edit_table(shared / DATA_30, episode_index=[1] * 2 + [0] * 10 + [1] * 5 + [2] * 9)
    assert "the rows of episode 1 are not in one piece" in refusal(shared)


@both
@pytest.mark.parametrize("what", ["mp4", "parquet"])
def test_a_missing_file_is_named(tmp_path: Path, version: str, what: str) -> None:
    path = MAKERS[version](tmp_path)
    names = {("v2.1", "mp4"): VIDEO_21, ("v3.0", "mp4"): VIDEO_30, ("v2.1", "parquet"): DATA_21}
    file = path / names.get((version, what), DATA_30)
    file.unlink()
    shared = (version, what) == ("v3.0", "parquet")  # another file may have the rows
    gone = f"{path}: a file is missing: {file.relative_to(path).as_posix()}"
    assert refusal(path) == (f"{file}: No such file or directory" if shared else gone)


@both
def test_a_truncated_file_is_named(tmp_path: Path, version: str) -> None:
    path = MAKERS[version](tmp_path)
    video, data = (
        path / {"v2.1": VIDEO_21, "v3.0": VIDEO_30}[version],
        path / {"v2.1": DATA_21, "v3.0": DATA_30}[version],
    )
    os.truncate(video, video.stat().st_size * 6 // 10)
    assert str(video) in refusal(path)
    assert "truncated or damaged" in refusal(path)
    os.truncate(data, data.stat().st_size // 2)
    assert f"{data}: not a Parquet file, or damaged" in refusal(path)


@both
@pytest.mark.parametrize("dtype", ["video", "image"])
def test_a_wrong_rate_is_named_until_the_true_one_is_given(tmp_path: Path, version: str, dtype: str) -> None:
    path = MAKERS[version](tmp_path, fps=10, dtype=dtype)
    edit_info(path, fps=15)
    episode = open_dataset(path).episodes[0]
    with pytest.raises(DatasetError, match=r"is stored at 10 frames a second, but fps of .*info\.json is 15"):
        _ = episode.fps
    assert not inspect_dataset(path).can_label
    report = inspect_dataset(path, fps=10)
    assert (report.can_label, report.fps, report.fps_source) == (True, 10, "given")


def test_a_rate_that_is_nearly_right_is_right(tmp_path: Path) -> None:
    path = make_lerobot_v21(tmp_path, fps=29.97)
    edit_info(path, fps=30)
    assert open_dataset(path).fps == 30


@pytest.mark.parametrize(
    ("content", "message"),
    [
        ("{", "damaged, no JSON"),
        ("[]", None),
        ('{"codebase_version": "v1.6"}', r"codebase_version: got v1\.6, expected one of v2\.0, v2\.1, v3\.0"),
        ('{"codebase_version": "v2.1", "fps": 0}', r"features: Field required"),
    ],
)
def test_info_that_says_nothing_is_refused(tmp_path: Path, content: str, message: str | None) -> None:
    path = make_lerobot_v21(tmp_path)
    (path / "meta/info.json").write_text(content)
    if message is None:
        assert open_dataset(path).format == "video"
        return
    with pytest.raises(DatasetError, match=rf"info\.json: .*{message}"):
        open_dataset(path)
    report = inspect_dataset(path)
    assert (report.format, report.can_label, len(report.obstacles)) == ("lerobot", False, 1)


@pytest.mark.parametrize(
    ("template", "message"),
    [
        ("data/{nothing}.parquet", "has the key"),
        ("../{episode_index}.parquet", "leads out of the dataset"),
    ],
)
def test_names_of_files_that_lead_nowhere_are_refused(tmp_path: Path, template: str, message: str) -> None:
    path = make_lerobot_v21(tmp_path, data_path=template)
    with pytest.raises(DatasetError, match=message):
        open_dataset(path)
    with pytest.raises(DatasetError, match="there is no video_path"):
        open_dataset(make_lerobot_v21(tmp_path / "other", video_path=None))


@pytest.mark.parametrize(
    ("lines", "message"),
    [
        ('{"episode_index": 0, "length": 12}\nhello\n', "line 2: got 'hello'"),
        ('{"episode_index": 0}\n', "line 1: .* expected an object with episode_index and length"),
        ('{"episode_index": 0, "length": -1}\n', "line 1"),
        ('{"episode_index": 0, "length": 1}\n' * 2, "lists episode 0 twice"),
        ("\n", "lists no episode"),
    ],
)
def test_a_damaged_list_of_episodes_is_refused(tmp_path: Path, lines: str, message: str) -> None:
    path = make_lerobot_v21(tmp_path)
    (path / "meta/episodes.jsonl").write_text(lines)
    with pytest.raises(DatasetError, match=rf"episodes\.jsonl: .*{message}"):
        open_dataset(path)
    (path / "meta/episodes.jsonl").unlink()
    with pytest.raises(DatasetError, match=r"episodes\.jsonl: No such file"):
        open_dataset(path)


def test_a_damaged_table_of_episodes_is_refused(tmp_path: Path) -> None:
    path = make_lerobot_v30(tmp_path)
    key = f"videos/{TOP}/from_timestamp"
    for column, message in ((key, "no such column"), ("length", "numbers that are missing")):
        kept = path / LIST_30
        before = kept.read_bytes()
        edit_table(kept, **{column: None if column == key else [12.0, None, 9.0]})
        with pytest.raises(DatasetError, match=f"`{column}`: got {message}"):
            open_dataset(path)
        kept.write_bytes(before)
    (path / LIST_30).unlink()
    with pytest.raises(DatasetError, match="holds no list of episodes"):
        open_dataset(path)


def test_a_list_that_is_shorter_than_announced_is_warned_of(tmp_path: Path) -> None:
    path = make_lerobot_v21(tmp_path, total_episodes=4)
    (warning,) = inspect_dataset(path).warnings
    assert "total_episodes is 4, the list of episodes has 3" in warning


def test_numbers_that_are_not_finite_are_given_as_they_are(tmp_path: Path) -> None:
    path = make_lerobot_v21(tmp_path)
    state = state_of(1, LENGTHS[1])
    state[2, 1] = np.nan
    edit_table(path / DATA_21, **{"observation.state": state.tolist(), "force": [1.0, None, 3.0, 4.0, 5.0]})
    episode = open_dataset(path).episodes[1]
    np.testing.assert_array_equal(episode.array("observation.state"), state)
    np.testing.assert_array_equal(episode.array("force"), [1, np.nan, 3, 4, 5])


@pytest.mark.parametrize(
    ("values", "message"),
    [
        (["a", "b", "c", "d", "e"], "string, expected numbers"),
        ([[1.0], [1.0, 2.0], [], [1.0], [1.0]], "lists of 0 to 2 numbers"),
        ([1, 2, None, 4, 5], "1 gaps, expected a number in every row"),
        ([[1], None, [3], [4], [5]], "1 gaps, expected a list in every row"),
    ],
)
def test_a_column_of_something_else_is_refused(tmp_path: Path, values: list[object], message: str) -> None:
    path = make_lerobot_v21(tmp_path)
    edit_table(path / DATA_21, extra=values)
    with pytest.raises(DatasetError, match=rf"episode_000001\.parquet: column `extra` holds {message}"):
        open_dataset(path).episodes[1].array("extra")


@pytest.mark.parametrize(
    ("cell", "message"),
    [
        ({"bytes": b"no image", "path": None}, "got 8 bytes that are no PNG or JPEG"),
        ({"bytes": None, "path": None}, "is not in the file"),
    ],
)
def test_a_damaged_image_is_named(tmp_path: Path, cell: dict[str, object], message: str) -> None:
    path = make_lerobot_v21(tmp_path, dtype="image")
    images = next(iter(ParquetTable(path / DATA_21).cells(TOP, range(5), 5)))
    edit_table(path / DATA_21, **{TOP: [*images[:3], cell, images[4]]})
    episode = open_dataset(path).episodes[1]
    assert len(episode.frames(0, 3)) == 3
    with pytest.raises(DatasetError, match=rf"episode_000001: frame 3 of {TOP}.*{message}"):
        list(episode.chunks(2))
    edit_table(path / DATA_21, **{TOP: None})
    with pytest.raises(DatasetError, match=f"has no column `{TOP}`"):
        _ = open_dataset(path).episodes[1].num_frames


def test_rows_are_read_across_row_groups(tmp_path: Path) -> None:
    import pyarrow as pa
    import pyarrow.parquet as pq

    path = tmp_path / "a.parquet"
    pq.write_table(pa.table({"a.b": list(range(23)), "a.b.c": ["x"] * 23}), path, row_group_size=5)
    table = ParquetTable(path)
    for rows in (range(23), range(0), range(4, 6), range(5, 10), range(12, 23), range(22, 23), range(23, 23)):
        np.testing.assert_array_equal(table.array("a.b", rows), np.array(rows))
        assert [cell for cells in table.cells("a.b", rows, 4) for cell in cells] == list(rows)
    assert [len(cells) for cells in table.cells("a.b", range(3, 13), 4)] == [4, 4, 2]


def test_an_episode_listed_in_the_file_before_its_own_is_found(tmp_path: Path) -> None:
    path = make_lerobot_v30(tmp_path, chunks_size=1)
    wanted = open_dataset(path).episodes[2].array("action")
    whole = (path / DATA_30).read_bytes()
    (path / "data/chunk-001").mkdir()
    for file, rows in {DATA_30: (0, 17), "data/chunk-001/file-000.parquet": (17, 26)}.items():
        (path / file).write_bytes(whole)
        cut_table(path / file, *rows)
    dataset = open_dataset(path)
    np.testing.assert_array_equal(dataset.episodes[2].array("action"), wanted)
    assert [episode.num_frames for episode in dataset.episodes] == list(LENGTHS)


@both
def test_labels_are_written_beside(tmp_path: Path, version: str) -> None:
    dataset = open_dataset(MAKERS[version](tmp_path / "set"))
    writer = LabelWriter(tmp_path / "set.labelled.hdf5", dataset, make_label_model())
    for episode in writer.pending():
        writer.add(episode, make_labels(episode.num_frames), episode.chunks(4))
    labelled = open_labelled(writer.finish())
    assert labelled.episodes == ("demo_0", "demo_1", "demo_2")
    labels, attrs = labelled.labels("demo_1")
    assert (len(labels), attrs.source_name, attrs.camera, attrs.fps) == (LENGTHS[1], "episode_000001", TOP, 10)
    kept = labelled.episode("demo_1")
    assert kept is not None
    np.testing.assert_array_equal(kept.frames(), dataset.episodes[1].frames())


def test_an_episode_without_its_video_can_be_left_out(tmp_path: Path) -> None:
    path = make_lerobot_v21(tmp_path / "set")
    (path / VIDEO_21).unlink()
    dataset = open_dataset(path)
    writer = LabelWriter(tmp_path / "set.labelled.hdf5", dataset, make_label_model(), frames="none")
    with pytest.raises(DatasetError, match="No such file"), writer.episode(dataset.episodes[1]):
        pass
    for episode in (dataset.episodes[0], dataset.episodes[2]):
        writer.add(episode, make_labels(episode.num_frames))
    assert open_labelled(writer.finish(allow_missing=True)).episodes == ("demo_0", "demo_2")
