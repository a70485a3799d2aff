"""What to do about files that are not read, but of which it is known what they are, by the ends of their names."""

from __future__ import annotations

from collections.abc import Iterable

from genie_core.data.storage.location import SourcePath

_DOWNLOAD = "a download that has not ended"
_STREAM = "a stream without a container: put it into one (ffmpeg -i {name} -c copy {stem}.mp4)"
_PICKLE = "a pickle, which runs code when read: save its frames as HDF5 or as picture files"

_PACKED = "an archive: unpack it, and give the folder"

_ADVICE = {
    ".7z": _PACKED,
    ".active": "a recording of ROS that was not closed: mend it (rosbag reindex {name}), and name it .bag",
    ".arrow": "a table of Hugging Face's library: save it as a LeRobot dataset, or its pictures as files",
    ".bmp": "pictures of a format that is not read: convert them to PNG",
    ".crdownload": _DOWNLOAD,
    ".h264": _STREAM,
    ".h265": _STREAM,
    ".hevc": _STREAM,
    ".incomplete": _DOWNLOAD,
    ".lance": "a Lance table, of which robot video has no settled layout: save it as LeRobot's Parquet and MP4",
    ".m2ts": "an MPEG transport stream with longer packets: change its container (ffmpeg -i {name} -c copy {stem}.mp4)",
    ".npz": "arrays of NumPy in no layout that is known: save their frames as HDF5 or as picture files",
    ".part": _DOWNLOAD,
    ".pickle": _PICKLE,
    ".pkl": _PICKLE,
    ".rar": _PACKED,
    ".svo": "a recording of a ZED camera: export it to MP4 with its maker's tools",
    ".svo2": "a recording of a ZED camera: export it to MP4 with its maker's tools",
    ".tif": "pictures of a format that is not read: convert them to PNG",
    ".tiff": "pictures of a format that is not read: convert them to PNG",
    ".webp": "pictures of a format that is not read: convert them to PNG",
    ".zip": _PACKED,
}


def advice_on(files: Iterable[SourcePath]) -> str:
    """Return ``; NAME is ...: what to do`` about the first file of a kind that is known; empty if none is."""
    for file in files:
        advice = _ADVICE.get(file.suffix.lower())
        if advice is not None:
            return f"; {file.name} is {advice.format(name=file.name, stem=file.stem)}"
    return ""


__all__ = ["advice_on"]
