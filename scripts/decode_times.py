"""Where the time goes between a video file and its labels, and PyAV against torchcodec: CPU time and equal bits.

    python scripts/decode_times.py DATA [DATA ...] [--frames 300] [--camera NAME]

For each dataset, CPU milliseconds a frame of decoding (to RGB, as labels are made from), resizing to the model's size,
packing for the wire, and the encoder of the shipped `motion`; and how many frames of torchcodec, where it can be
loaded, are those of our reader, bit for bit. CPU time of all threads together: other work on the machine changes it
little.
"""

from __future__ import annotations

import argparse
import time
from collections.abc import Callable, Iterator
from itertools import islice
from pathlib import Path
from typing import Any

import av
import numpy as np

from genie_core.bundles import shipped
from genie_core.data import Episode, Frames, open_dataset
from genie_core.data.formats.video.reader import VideoReader
from genie_core.inference.labeller import Labeller
from genie_core.models.bundle import load_bundle

_CHUNK = 32


def main() -> None:
    """Measure every dataset that the command line names."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("data", nargs="+", type=Path)
    parser.add_argument("--frames", type=int, default=300)
    parser.add_argument("--camera")
    arguments = parser.parse_args()
    labeller = Labeller(load_bundle(shipped()))
    print(
        "| data | codec, size | frames | decode | resize | wire | encoder | torchcodec decode | frames with its bits |"
    )
    print("| -- | -- | -- | -- | -- | -- | -- | -- | -- |")
    for path in arguments.data:
        dataset = open_dataset(path, camera=arguments.camera, fps=10, check=False)
        print(f"| {path.name} | {measure(list(dataset.episodes), labeller, arguments.frames)} |", flush=True)


def measure(episodes: list[Episode], labeller: Labeller, most: int) -> str:
    """One row of the table."""
    episode = max(episodes[:20], key=lambda each: each.num_frames)
    frames, decode_ms = timed(lambda: np.concatenate([*islice(episode.chunks(_CHUNK), most // _CHUNK)]))
    small, resize_ms = timed(lambda: labeller.resized(frames))
    _, wire_ms = timed(lambda: [small[start : start + _CHUNK].tobytes() for start in range(0, len(small), _CHUNK)])
    _, encoder_ms = timed(lambda: labeller.label(small, step=1))
    count = len(frames)
    theirs, same = other(episode, frames)
    ours = " | ".join(f"{ms / count:.2f}" for ms in (decode_ms, resize_ms, wire_ms, encoder_ms))
    return f"{kind(episode)}, {episode.width} x {episode.height} | {count} | {ours} | {theirs} | {same}"


def other(episode: Episode, frames: Frames) -> tuple[str, str]:
    """What torchcodec takes for the same frames, CPU milliseconds a frame, and how many are the same."""
    try:
        from torchcodec.decoders import VideoDecoder
    except (ImportError, OSError, RuntimeError):
        return "not loaded", ""
    path = episode.source
    video, start = getattr(getattr(episode.reader, "pictures", None), "video", None), 0
    if isinstance(video, VideoReader):
        start = episode.reader.pictures._span.start  # type: ignore[attr-defined]
    found, ms = timed(
        lambda: batch(VideoDecoder(str(path), dimension_order="NHWC", num_ffmpeg_threads=1), start, len(frames))
    )
    same = sum(np.array_equal(one, mine) for one, mine in zip(found, frames, strict=True))
    worst = max(int(np.abs(one.astype(int) - mine).max()) for one, mine in zip(found, frames, strict=True))
    return f"{ms / len(frames):.2f}", f"{same} of {len(frames)}, at most {worst} apart"


def batch(decoder: Any, start: int, count: int) -> Frames:
    """Decode consecutive frames."""
    parts: Iterator[Any] = (
        decoder.get_frames_in_range(at, min(at + _CHUNK, start + count)).data.numpy()
        for at in range(start, start + count, _CHUNK)
    )
    return np.concatenate([*parts])


def timed(work: Callable[[], Any]) -> tuple[Any, float]:
    """What `work` returns, and its CPU time, milliseconds."""
    start = time.process_time()
    found = work()
    return found, (time.process_time() - start) * 1000


def kind(episode: Episode) -> str:
    """Codec of the episode's file; its format where it is no video."""
    try:
        with av.open(str(episode.source)) as container:
            return container.streams.video[0].codec_context.name
    except (av.error.FFmpegError, IndexError):
        return episode.source.suffix


if __name__ == "__main__":
    main()
