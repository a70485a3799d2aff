"""WebDataset: videos in tar files, one a sample; what it has no rule for is refused in words."""

from __future__ import annotations

import gzip
import io
import struct
from pathlib import Path

import numpy as np
import pytest

from genie_core.data import inspect_dataset, open_dataset
from genie_core.data.episode import Episode
from genie_core.data.export.run import ExportPlan, export_labels
from genie_core.data.formats.webdataset import members
from genie_core.errors import DatasetError
from tests.factories.data import make_frames, make_video
from tests.factories.folders import write_pictures, write_tar
from tests.factories.labelled import label_file

SIZE = (24, 32)


def film(folder: Path, frames: int = 8, seed: int = 0) -> bytes:
    return make_video(folder / f"{seed}.mkv", frames, SIZE, codec="ffv1", seed=seed).read_bytes()


def npy(values: object) -> bytes:
    held = io.BytesIO()
    np.save(held, values)
    return held.getvalue()


def refused(path: Path) -> str:
    with pytest.raises(DatasetError) as caught:
        list(map(Episode.frames, open_dataset(path).episodes))
    return str(caught.value)


def test_every_sample_of_every_shard_is_an_episode_with_what_lies_beside_its_video(tmp_path: Path) -> None:
    folder = tmp_path / "shards"
    folder.mkdir()
    for shard in range(2):
        held: dict[str, bytes] = {}
        for sample in range(2):
            key = f"./day1/{shard}{sample}"
            held[f"{key}.json"] = b'{"fps": 10, "instruction": "Lift."}'
            held[f"{key}.mkv"] = film(tmp_path, 8, seed=2 * shard + sample)
            held[f"{key}.action.npy"] = npy(np.full((8, 2), sample))
        write_tar(folder / f"part-{shard:05d}.tar", held)
    dataset = open_dataset(folder)
    assert (dataset.format, dataset.camera) == ("webdataset", "video")
    assert [episode.name for episode in dataset.episodes] == [
        f"part-{shard:05d}/day1/{shard}{sample}" for shard in range(2) for sample in range(2)
    ]
    for number, episode in enumerate(dataset.episodes):
        np.testing.assert_array_equal(episode.frames(), make_frames(8, *SIZE, seed=number))
        np.testing.assert_array_equal(episode.frames(3, 5), make_frames(8, *SIZE, seed=number)[3:5])
        assert episode.actions is not None
        assert (episode.fps, episode.task, episode.actions[0, 0]) == (10, "Lift.", number % 2)
    assert not inspect_dataset(folder).obstacles
    labelled = label_file(folder)
    report = export_labels(labelled.path, tmp_path / "out", ExportPlan("lerobot"))
    assert (report.episodes, report.action_dim) == (4, 2)
    assert [episode.task for episode in open_dataset(tmp_path / "out").episodes] == ["Lift."] * 4


@pytest.mark.parametrize("name", ["{}.front.mkv", "ep{}/videos/front.mkv"])
def test_videos_of_one_sample_are_cameras(tmp_path: Path, name: str) -> None:
    names = [name.format(sample).replace("front", camera) for sample in range(2) for camera in ("front", "wrist")]
    path = write_tar(tmp_path / "a.tar", {each: film(tmp_path, seed=number) for number, each in enumerate(names)})
    with pytest.raises(DatasetError, match="choice of one: front, wrist"):
        open_dataset(path)
    episodes = open_dataset(path, camera="wrist").episodes
    assert len(episodes) == 2
    np.testing.assert_array_equal(episodes[1].frames(), make_frames(8, *SIZE, seed=3))


def test_dots_in_a_name_that_mean_no_camera_are_part_of_it(tmp_path: Path) -> None:
    held = {f"2024-01-02.12.{minute}.mkv": film(tmp_path, seed=minute) for minute in (10, 20)}
    dataset = open_dataset(write_tar(tmp_path / "a.tar", held))
    assert [episode.name for episode in dataset.episodes] == ["2024-01-02.12.10", "2024-01-02.12.20"]


def test_what_is_not_a_video_a_sample_is_refused_in_words(tmp_path: Path) -> None:
    pictures = write_pictures(tmp_path / "p", 2)
    held = {f"000{number}.png": file.read_bytes() for number, file in enumerate(sorted(pictures.iterdir()))}
    assert "2 pictures (0000.png, ...)" in refused(write_tar(tmp_path / "p.tar", held))
    assert "holds no video (a.json)" in refused(write_tar(tmp_path / "j.tar", {"a.json": b"{}"}))
    whole = write_tar(tmp_path / "w.tar", {"a.mkv": film(tmp_path), "b.mkv": film(tmp_path, seed=1)}).read_bytes()
    (tmp_path / "c.tar.gz").write_bytes(gzip.compress(whole))
    assert "compressed tar file" in refused(tmp_path / "c.tar.gz")
    (tmp_path / "cut.tar").write_bytes(whole[: whole.index(b"b.mkv") + 900])
    assert "cut.tar: truncated: 'b.mkv' ends at byte" in refused(tmp_path / "cut.tar")
    (tmp_path / "text.tar").write_text("<html>404 not found</html>")
    assert "not a tar file" in refused(tmp_path / "text.tar")
    (tmp_path / "lfs.tar").write_text("version https://git-lfs.github.com/spec/v1\noid sha256:0\nsize 1\n")
    assert "a Git LFS pointer" in refused(tmp_path / "lfs.tar")
    damaged = write_tar(tmp_path / "d.tar", {"a.mkv": film(tmp_path)[:900], "b.mkv": film(tmp_path)})
    assert "d.tar: a.mkv: " in refused(damaged)
    both = write_tar(tmp_path / "s.tar", {"a.mkv": film(tmp_path), "a.mp4": b"x"})
    assert "differ in nothing but their suffix" in refused(both)
    twice = write_tar(tmp_path / "t.tar", {"a.mkv": film(tmp_path), "./a.mkv": film(tmp_path)})
    assert "two members called a.mkv" in refused(twice)


def test_members_cost_no_more_than_their_headers(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    path = write_tar(tmp_path / "a.tar", {f"{number}.mkv": b"x" for number in range(4)})
    monkeypatch.setattr(members, "MAX_MEMBERS", 3)
    assert "more than 3 members" in refused(path)
    header = bytearray(write_tar(tmp_path / "b.tar", {"a": b"x"}).read_bytes()[:512])
    header[156:157] = b"x"  # PAX's records, said to be 4 GiB
    header[124:136] = b"\x80\0\0\0" + struct.pack(">Q", 1 << 32)
    header[148:156] = b" " * 8
    header[148:156] = b"%06o\0 " % sum(header)
    with (tmp_path / "c.tar").open("wb") as file:
        file.write(header)
        file.truncate(1 << 33)  # no bytes on the disk
    assert "expected at most 1048576" in refused(tmp_path / "c.tar")


def test_names_that_lead_out_of_the_file_are_names_alone(tmp_path: Path) -> None:
    path = write_tar(tmp_path / "a.tar", {"/../../etc/a.mkv": film(tmp_path)})
    assert [episode.name for episode in open_dataset(path).episodes] == ["etc/a"]


def test_tar_files_beside_other_data_and_lance_tables_are_not_data(tmp_path: Path) -> None:
    make_video(tmp_path / "v.mp4", 6)
    write_tar(tmp_path / "backup.tar", {"a.mkv": film(tmp_path / "..", seed=9)})
    assert open_dataset(tmp_path).format == "video"
    (tmp_path / "t.lance/data").mkdir(parents=True)
    (tmp_path / "t.lance/data/0.lance").write_bytes(b"x")
    assert "0.lance is a Lance table" in refused(tmp_path / "t.lance")
