"""What `genie view` takes for ten minutes of pictures: until labels are shown, until all is there, and its file.

    python scripts/view_times.py VIDEO OUT [--frames 18000] [--size 480x640] [--stored arrays|aloha|folder]

VIDEO gives the pictures, played forwards and backwards until there are enough. OUT gets a robomimic file of plain
arrays, or one of ALOHA's of JPEGs of quality 50, as its recorder writes them, or a folder of the same JPEGs, and labels
that are made up, 32 numbers a latent; then `genie view --save` writes its recording, a headless viewer opens that, and
another is filled as `genie view` fills the window that it opens. Prints seconds, those of the processor, and sizes.
Needs a graphics driver, such as Mesa's lavapipe.
"""

from __future__ import annotations

import argparse
import contextlib
import json
import os
import resource
import subprocess
import sys
import time
from collections.abc import Iterator
from pathlib import Path
from threading import Thread

import cv2
import h5py
import numpy as np
from rerun.experimental import ViewerClient

from genie_core.data import (
    Frames,
    LabelModel,
    Labels,
    LabelWriter,
    ReadOptions,
    open_dataset,
    open_labelled,
    resize_frames,
    source_path,
)
from genie_view.frame_log import Codecs
from genie_view.labels_view import LabelledViews, labels_recording
from genie_view.live import start_viewer
from genie_view.recording import LOOPBACK, log_recording

FPS = 30.0
PARTS = 300
"""Frames of the video that are played, at most."""
CODES, LATENT = 8, 32
SHOWN = "/labels/code"


def pictures(video: Path, frames: int, size: tuple[int, int]) -> Iterator[tuple[int, Frames]]:
    """Yield the index of each frame among those that are played, and these frames."""
    (episode, *_) = open_dataset(source_path(str(video))).episodes
    played = resize_frames(episode.frames(0, min(PARTS, episode.num_frames)), *size)
    around = [*range(len(played)), *range(len(played) - 2, 0, -1)]
    for number in range(frames):
        yield around[number % len(around)], played


def write_arrays(path: Path, video: Path, frames: int, size: tuple[int, int]) -> None:
    """One episode of plain arrays, in robomimic's layout."""
    with h5py.File(path, "w") as file:
        kind = {"env_name": "Film", "type": 1, "env_kwargs": {"control_freq": FPS}}
        file.create_group("data").attrs["env_args"] = json.dumps(kind)
        demo = file.create_group("data/demo_0")
        demo.attrs["num_samples"] = np.int64(frames)
        stored = demo.create_dataset("obs/camera_image", (frames, *size, 3), np.uint8)
        for number, (index, played) in enumerate(pictures(video, frames, size)):
            stored[number] = played[index]


def write_aloha(path: Path, video: Path, frames: int, size: tuple[int, int]) -> None:
    """One episode of JPEGs, padded to one length, in ALOHA's layout; its recorder exchanges red and blue."""
    order = list(pictures(video, frames, size))
    coded = jpegs(order[0][1])
    with h5py.File(path, "w") as file:
        file.attrs["sim"], file.attrs["compress"] = False, True
        shape = (frames, max(map(len, coded)))
        stored = file.create_dataset("observations/images/cam_high", shape, np.uint8)
        padded = [np.frombuffer(one.ljust(shape[1], b"\0"), np.uint8) for one in coded]
        for number, (index, _) in enumerate(order):
            stored[number] = padded[index]
        file["observations/qpos"] = np.zeros((frames, 14), np.float32)
        file["action"] = np.zeros((frames, 14), np.float32)


def write_folder(path: Path, video: Path, frames: int, size: tuple[int, int]) -> None:
    """One episode of JPEG files."""
    order = list(pictures(video, frames, size))
    coded = jpegs(order[0][1][..., ::-1])
    path.mkdir()
    for number, (index, _) in enumerate(order):
        (path / f"{number:05}.jpg").write_bytes(coded[index])


def jpegs(frames_THWC: Frames) -> list[bytes]:
    """Code frames as OpenCV does, which takes them for BGR."""
    return [cv2.imencode(".jpg", frame_HWC, [cv2.IMWRITE_JPEG_QUALITY, 50])[1].tobytes() for frame_HWC in frames_THWC]


WRITERS = {"arrays": write_arrays, "aloha": write_aloha, "folder": write_folder}


def write_labels(path: Path, data: Path) -> None:
    """Label the one episode with a random walk of latents."""
    dataset = open_dataset(source_path(str(data)), options=ReadOptions(fps=FPS))
    rng, step = np.random.default_rng(0), 3
    model = LabelModel("ab" * 32, "made-up", 10.0, rng.normal(size=(CODES, LATENT)).astype(np.float32))
    with LabelWriter(path, dataset, model, step=step, frames="none") as writer:
        for episode in writer.pending():
            count = episode.num_frames
            valid = np.arange(count) < count - step
            labels = Labels(
                start=0,
                code=np.where(valid, np.arange(count) // 30 % CODES, 0).astype(np.uint16),
                latent=np.where(valid[:, None], rng.normal(size=(count, LATENT)).cumsum(0), 0).astype(np.float32),
                confidence=np.where(valid, rng.uniform(size=count), 0).astype(np.float32),
                valid=valid,
            )
            writer.add(episode, labels)
        writer.finish()


def genie(*words: object) -> tuple[float, float]:
    """Run a command; return seconds by the clock and of the processor."""
    command = [sys.executable, "-c", "import sys; from genie_cli import main; sys.exit(main())", *map(str, words)]
    began, used = time.monotonic(), resource.getrusage(resource.RUSAGE_CHILDREN)
    subprocess.run(command, check=True, stdout=subprocess.DEVNULL, env={**os.environ, "RERUN_ANALYTICS": "0"})
    after = resource.getrusage(resource.RUSAGE_CHILDREN)
    return time.monotonic() - began, after.ru_utime + after.ru_stime - used.ru_utime - used.ru_stime


def live(path: Path) -> tuple[float, float]:
    """Fill a viewer; return seconds until it shows labels, and until it was sent all pictures."""
    began = time.monotonic()
    labelled = open_labelled(path)
    viewer = start_viewer("headless", ("--headless", "--memory-limit", "4GB"))
    client = ViewerClient.connect(f"rerun+http://{LOOPBACK}:{viewer.port}/proxy")
    shown: list[float] = []

    def watch() -> None:
        while not shown:
            with contextlib.suppress(OSError):  # no recording is there yet
                if SHOWN in str(client.get_recording_schema(paths_only=True)):
                    shown.append(time.monotonic() - began)
            time.sleep(0.2)

    try:
        watcher = Thread(target=watch, daemon=True)
        watcher.start()
        (view,) = LabelledViews(labelled).of(list(labelled.episodes))
        recording = labels_recording(view, Codecs.here(1))
        with viewer.stream(recording) as stream:
            log_recording(stream, recording)
        sent_s = time.monotonic() - began
        watcher.join(60)
        return shown[0] if shown else float("nan"), sent_s
    finally:
        viewer.close()


def opened(recording: Path) -> float:
    """Open a recording in a viewer; return seconds until it shows labels and all of the file is read."""
    began = time.monotonic()
    viewer = start_viewer("headless", ("--headless", "--memory-limit", "4GB", str(recording)))
    client = ViewerClient.connect(f"rerun+http://{LOOPBACK}:{viewer.port}/proxy")
    try:
        while time.monotonic() - began < 120:
            with contextlib.suppress(OSError, RuntimeError):  # no recording is there yet
                if SHOWN in str(client.get_recording_schema(paths_only=True)) and not client.get_state().loading:
                    return time.monotonic() - began
            time.sleep(0.2)
        return float("nan")
    finally:
        viewer.close()


def main() -> None:
    """Make, label, write and open."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    for name in ("video", "out"):
        parser.add_argument(name, type=Path)
    parser.add_argument("--frames", type=int, default=18_000)
    parser.add_argument("--size", default="64x64", help="height x width")
    parser.add_argument("--stored", choices=WRITERS, default="arrays")
    asked = parser.parse_args()
    height, width = map(int, asked.size.split("x"))
    asked.out.mkdir(parents=True, exist_ok=True)
    ends = ("" if asked.stored == "folder" else ".hdf5", ".labelled.hdf5", ".rrd")
    data, labelled, saved = (asked.out / f"film{end}" for end in ends)
    WRITERS[asked.stored](data, asked.video, asked.frames, (height, width))
    size_mb = sum(file.stat().st_size for file in ([data] if data.is_file() else data.iterdir())) / 1e6
    print(f"{asked.frames:,} frames of {height} x {width}, {size_mb:,.0f} MB, {asked.stored}", flush=True)
    write_labels(labelled, data)
    wall_s, cpu_s = genie("view", labelled, "--save", saved)
    print(f"--save: {wall_s:.1f} s, {cpu_s:.1f} s of the processor; {saved.stat().st_size / 1e6:.1f} MB", flush=True)
    print(f"open that: {opened(saved):.1f} s", flush=True)
    shown_s, all_s = live(labelled)
    print(f"viewer: labels after {shown_s:.1f} s, the last picture after {all_s:.1f} s")


if __name__ == "__main__":
    main()
