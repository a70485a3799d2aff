"""Files that are not read, but of which it is known what they are: what is said to do about them."""

from pathlib import Path

import pytest

from genie_core.data import open_dataset
from genie_core.errors import DatasetError


@pytest.mark.parametrize(
    ("name", "advice"),
    [
        ("a.bag.active", "rosbag reindex a.bag.active"),
        ("a.h264", "ffmpeg -i a.h264 -c copy a.mp4"),
        ("a.WEBP", "convert them to PNG"),
        ("a.mp4.part", "a download that has not ended"),
        ("a.pkl", "which runs code when read"),
        ("a.zip", "unpack it"),
    ],
)
def test_known_kinds_of_files_are_named(tmp_path: Path, name: str, advice: str) -> None:
    (tmp_path / name).write_bytes(b"x")
    for path in (tmp_path, tmp_path / name):
        with pytest.raises(DatasetError, match=rf"expected .*; {name} is ") as caught:
            open_dataset(path)
        assert advice in str(caught.value)
