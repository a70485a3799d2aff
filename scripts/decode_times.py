"""Where the time goes between a video file and its labels, and PyAV against torchcodec: CPU time and equal bits.

    python scripts/decode_times.py DATA [DATA ...] [--frames 300] [--camera NAME]

For each dataset, CPU milliseconds a frame of decoding to the codec's own pictures (with one thread, with threads a
slice, and with as many as FFmpeg likes, which is how frames are read), converting those to RGB, resizing to the model's
size, packing for the wire, optical flow both ways, and the rest of the encoder of the shipped `motion`; and how many
frames of torchcodec, where it can be loaded, are those of our reader, bit for bit. CPU time of all threads together:
other work on the machine changes it little.
"""

from __future__ import annotations

import argparse
import time
from collections.abc import Callable, Iterator
from itertools import islice, pairwise
from pathlib import Path
from typing import Any

import av
import numpy as np

from genie_core.bundles import shipped
from genie_core.data import Episode, Frames, open_dataset
from genie_core.data.formats.lerobot.reader import LeRobotReader
from genie_core.data.formats.video.reader import VideoReader
from genie_core.inference.labeller import Labeller
from genie_core.models.bundle import load_bundle
from genie_core.models.flow import optical_flow
from genie_core.models.motion import GRID

_CHUNK = 8
_THREADS = ("NONE", "SLICE", "AUTO")
"""FFmpeg's ways of decoding in threads; the last is that of our reader."""


def main() -> None:
    """Measure every dataset that the command line names."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("data", nargs="+", type=Path)
    parser.add_argument("--frames", type=int, default=300)
    parser.add_argument("--camera")
    arguments = parser.parse_args()
    labeller = Labeller(load_bundle(shipped()))
    columns = (
        "data",
        "codec, size",
        "frames",
        *(f"decode, {threads}" for threads in _THREADS),
        "to RGB",
        "resize",
        "wire",
        "flow",
        "encoder",
        "torchcodec decode",
        "frames with its bits",
    )
    print(f"| {' | '.join(columns)} |\n|{' -- |' * len(columns)}")
    for path in arguments.data:
        dataset = open_dataset(path, camera=arguments.camera, fps=10, check=False)
        print(f"| {path.name} | {measure(list(dataset.episodes), labeller, arguments.frames)} |", flush=True)


def measure(episodes: list[Episode], labeller: Labeller, most: int) -> str:
    """One row of the table."""
    episode = max(episodes[:20], key=lambda each: each.num_frames)
    frames = np.concatenate([*islice(episode.chunks(_CHUNK), most // _CHUNK)])
    _, decode_ms = timed(lambda: [len(chunk) for chunk in islice(episode.chunks(_CHUNK), most // _CHUNK)])
    small, resize_ms = timed(lambda: labeller.resized(frames))
    _, wire_ms = timed(lambda: [small[start : start + _CHUNK].tobytes() for start in range(0, len(small), _CHUNK)])
    _, label_ms = timed(lambda: labeller.label(small, step=1))
    pairs = [*pairwise(small)]
    _, flow_ms = timed(lambda: [optical_flow(*pair, GRID) + optical_flow(*pair[::-1], GRID) for pair in pairs])
    count = len(frames)
    alone = [pictures_ms(video_of(episode), count, threads) for threads in _THREADS]
    times = (*alone, decode_ms - alone[-1], resize_ms, wire_ms, flow_ms, label_ms - flow_ms)
    theirs, same = other(episode, frames)
    ours = " | ".join(f"{ms / count:.2f}" for ms in times)
    return f"{kind(episode)}, {episode.width} x {episode.height} | {count} | {ours} | {theirs} | {same}"


def other(episode: Episode, frames: Frames) -> tuple[str, str]:
    """Return what torchcodec takes for the same frames, CPU milliseconds a frame, and how many are the same."""
    try:
        from torchcodec.decoders import VideoDecoder
    except (ImportError, OSError, RuntimeError):
        return "not loaded", ""
    path = episode.source
    start = episode.reader.pictures.span.start if isinstance(episode.reader, LeRobotReader) else 0  # type: ignore[attr-defined]
    found, ms = timed(
        lambda: batch(VideoDecoder(str(path), dimension_order="NHWC", num_ffmpeg_threads=1), start, len(frames))
    )
    same = sum(np.array_equal(one, mine) for one, mine in zip(found, frames, strict=True))
    worst = max(int(np.abs(one.astype(int) - mine).max()) for one, mine in zip(found, frames, strict=True))
    return f"{ms / len(frames):.2f}", f"{same} of {len(frames)}, at most {worst} apart"


def video_of(episode: Episode) -> VideoReader | None:
    """Return the video that holds the episode's frames; None if they are in none."""
    reader = episode.reader
    video = reader if isinstance(reader, VideoReader) else getattr(getattr(reader, "pictures", None), "video", None)
    return video if isinstance(video, VideoReader) else None


def pictures_ms(video: VideoReader | None, count: int, threads: str) -> float:
    """CPU time of decoding `count` frames to the codec's own pictures; NaN of no video."""
    if video is None:
        return float("nan")

    def decode() -> None:
        with video.opened() as (container, stream):
            stream.thread_type = threads  # type: ignore[assignment]
            for _ in islice(container.decode(stream), count):
                pass

    return timed(decode)[1]


def batch(decoder: Any, start: int, count: int) -> Frames:
    """Decode consecutive frames."""
    parts: Iterator[Any] = (
        decoder.get_frames_in_range(at, min(at + _CHUNK, start + count)).data.numpy()
        for at in range(start, start + count, _CHUNK)
    )
    return np.concatenate([*parts])


def timed(work: Callable[[], Any]) -> tuple[Any, float]:
    """Return what `work` returns, and its CPU time, milliseconds."""
    start = time.process_time()
    found = work()
    return found, (time.process_time() - start) * 1000


def kind(episode: Episode) -> str:
    """Return the codec of the episode's file; its format where it is no video."""
    try:
        with av.open(str(episode.source)) as container:
            return container.streams.video[0].codec_context.name
    except (av.error.FFmpegError, IndexError):
        return episode.source.suffix


if __name__ == "__main__":
    main()
