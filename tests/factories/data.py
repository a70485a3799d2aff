"""Small, deterministic robot video for tests: a bright square that moves over a gradient."""

from __future__ import annotations

import json
from fractions import Fraction
from pathlib import Path

import av
import h5py
import numpy as np
from av.video.frame import VideoFrame
from av.video.stream import VideoStream
from numpy.typing import NDArray

from genie_core.data import Computation, LabelModel, Labels, encode_image
from genie_core.data.frames.rgb import picture_of

PIXEL_FORMATS = {"gif": "rgb8", "ffv1": "bgr0", "mjpeg": "yuvj420p"}


def make_frames(frames: int, height: int, width: int, seed: int = 0) -> NDArray[np.uint8]:
    """(frames, height, width, 3) uint8; `seed` sets the path of the square, and no two frames are the same."""
    rng = np.random.default_rng(seed)
    y, x = np.mgrid[:height, :width]
    background = np.stack([x * 255 // width, y * 255 // height, (x + y) * 255 // (height + width)], axis=-1) // 2
    side = max(2, min(height, width) // 4)
    tops, lefts = rng.integers(0, height - side + 1, frames), rng.integers(0, width - side + 1, frames)
    video = np.repeat(background[None], frames, axis=0)
    for t in range(frames):
        video[t, tops[t] : tops[t] + side, lefts[t] : lefts[t] + side] = (255, 40 + 5 * (t % 40), 0)
    return video.astype(np.uint8)


def make_robomimic(
    path: Path,
    episodes: int = 2,
    frames: int = 12,
    size: int = 64,
    fps: float | None = 10,
    camera: str = "agentview_image",
) -> Path:
    """A robomimic file with images, actions, states, masks and `fps` as control_freq (none: no environment's rate)."""
    with h5py.File(path, "w") as file:
        kwargs = {} if fps is None else {"control_freq": fps}
        file.create_group("data")
        file["data"].attrs["env_args"] = json.dumps({"env_name": "Lift", "type": 1, "env_kwargs": kwargs})
        file["data"].attrs["total"] = np.int64(episodes * frames)
        for index in range(episodes):
            rng = np.random.default_rng(index)
            demo = file.create_group(f"data/demo_{index}")
            demo.attrs["num_samples"] = np.int64(frames)
            demo["actions"] = rng.uniform(-1, 1, (frames, 7))
            demo["states"] = rng.normal(size=(frames, 5))
            demo[f"obs/{camera}"] = make_frames(frames, size, size, seed=index)
            demo["obs/robot0_eef_pos"] = rng.normal(size=(frames, 3))
        names = [f"demo_{index}" for index in range(episodes)]
        file["mask/train"] = np.array(names[:-1], "S")
        file["mask/valid"] = np.array(names[-1:], "S")
    return path


def make_video(
    path: Path,
    frames: int = 12,
    size: tuple[int, int] | int = (48, 64),
    fps: float = 10,
    codec: str = "libx264",
    times_ms: list[int] | None = None,
    options: dict[str, str] | None = None,
    seed: int = 0,
) -> Path:
    """A video of `size`, (height, width) or both, in the container the suffix names; `times_ms` sets frame times."""
    height, width = (size, size) if isinstance(size, int) else size
    with av.open(str(path), "w") as container:
        stream = container.add_stream(codec, rate=Fraction(fps).limit_denominator(1000))
        assert isinstance(stream, VideoStream)
        stream.height, stream.width = height, width
        stream.pix_fmt = PIXEL_FORMATS.get(codec, "yuv420p")
        stream.options = options or {}
        stream.codec_context.thread_count = 1  # in several, x264 gives other bytes now and then
        if times_ms is not None:
            stream.codec_context.time_base = Fraction(1, 1000)
        for index, frame_HWC in enumerate(make_frames(frames, height, width, seed=seed)):
            frame = picture_of(frame_HWC, stream.pix_fmt or "yuv420p")
            if times_ms is not None:
                frame.pts, frame.time_base = times_ms[index], Fraction(1, 1000)
            container.mux(stream.encode(frame))
        container.mux(stream.encode(None))
    return path


def make_turned_video(path: Path, size: tuple[int, int], clockwise: int) -> Path:
    """The pictures of `make_video`, stored turned anticlockwise, in an MP4 whose display matrix turns them back.

    Other angles than multiples of 90 degrees are stored upright.
    """
    plain = path.with_name(f"plain-{path.name}")
    with av.open(str(plain), "w") as container:
        stream = container.add_stream("libx264", rate=10)
        assert isinstance(stream, VideoStream)
        stored = [np.ascontiguousarray(np.rot90(frame, clockwise // 90)) for frame in make_frames(12, *size)]
        stream.height, stream.width, stream.pix_fmt = *stored[0].shape[:2], "yuv420p"
        stream.options = {"g": "4", "crf": "4"}
        for frame_HWC in stored:
            container.mux(stream.encode(VideoFrame.from_ndarray(frame_HWC, format="rgb24")))
        container.mux(stream.encode(None))
    data = bytearray(plain.read_bytes())
    plain.unlink()
    header = data.index(b"tkhd")  # version 0: its matrix begins 44 bytes after the name (ISO/IEC 14496-12)
    cos, sin = np.cos(np.radians(clockwise)), np.sin(np.radians(clockwise))
    numbers = [cos, sin, 0, -sin, cos, 0, 0, 0]
    matrix = b"".join(round(number * 65536).to_bytes(4, "big", signed=True) for number in numbers)
    data[header + 44 : header + 44 + 32] = matrix
    path.write_bytes(data)
    return path


def make_held_video(path: Path, frames: int = 12, held_ms: int = 4000) -> Path:
    """A video of 10 frames/s whose last frame is shown for `held_ms`: of a recorder whose scene came to rest."""
    with av.open(str(path), "w") as container:
        stream = container.add_stream("libx264", rate=10)
        assert isinstance(stream, VideoStream)
        stream.height, stream.width, stream.pix_fmt = 48, 64, "yuv420p"
        stream.options = {"bf": "0"}
        stream.codec_context.time_base = Fraction(1, 1000)
        packets = []
        for index, frame_HWC in enumerate(make_frames(frames, 48, 64)):
            frame = VideoFrame.from_ndarray(frame_HWC, format="rgb24")
            frame.pts, frame.time_base = 100 * index, Fraction(1, 1000)
            packets += stream.encode(frame)
        packets += stream.encode(None)
        packets[-1].duration = held_ms
        for packet in packets:
            container.mux(packet)
    return path


def make_label_model(codes: int = 8, latent_dim: int = 4, bundle_id: str = "b" * 64) -> LabelModel:
    """A model as labels know it; `codes` differ in their first component."""
    codebook = np.zeros((codes, latent_dim), np.float32)
    codebook[:, 0] = np.arange(codes)
    computation = Computation(processor="AMD EPYC 9654 96-Core Processor, AVX512", torch_version="2.11.0")
    return LabelModel(bundle_id, "nano", 10.0, codebook, computation)


def make_labels(frames: int, step: int = 1, seed: int = 0, codes: int = 8, latent_dim: int = 4) -> Labels:
    """Labels of a whole episode, valid but for the last `step` frames."""
    rng = np.random.default_rng(seed)
    labelled = max(0, frames - step)
    code = rng.integers(0, codes, labelled).astype(np.uint16)
    latent = rng.normal(size=(labelled, latent_dim)).astype(np.float32)
    confidence = rng.uniform(size=labelled).astype(np.float32)
    valid = Labels(0, code, latent, confidence, np.ones(labelled, np.bool_))
    return Labels.concatenate([valid, Labels.invalid(labelled, frames - labelled, latent_dim)])


def make_aloha(
    path: Path,
    frames: int = 8,
    size: tuple[int, int] = (24, 32),
    cameras: tuple[str, ...] = ("top",),
    *,
    compressed: bool = False,
    seed: int = 0,
) -> Path:
    """One episode as ACT's ``record_sim_episodes.py`` writes it, or as ALOHA's recorder compresses it.

    Compressed: OpenCV is given the RGB arrays and takes them for BGR, so the JPEG itself has red and blue exchanged;
    rows are padded to the longest, and ``compress_len`` has the lengths, a row for each camera.
    """
    rng = np.random.default_rng(seed)
    with h5py.File(path, "w") as file:
        file.attrs["sim"] = True
        images = file.create_group("observations/images")
        lengths = np.zeros((len(cameras), frames))
        for number, camera in enumerate(cameras):
            frames_THWC = make_frames(frames, *size, seed=seed + number)
            if not compressed:
                images.create_dataset(camera, data=frames_THWC, chunks=(1, *size, 3))
                continue
            rows = [encode_image(frame_HWC[..., ::-1], "jpeg") for frame_HWC in frames_THWC]
            lengths[number] = [len(row) for row in rows]
            longest = max(map(len, rows))
            padded = np.stack([np.frombuffer(row.ljust(longest, b"\0"), np.uint8) for row in rows])
            images.create_dataset(camera, data=padded, chunks=(1, longest))
        if compressed:
            file.attrs["compress"] = True
            file["compress_len"] = lengths
        for key in ("observations/qpos", "observations/qvel", "action"):
            file[key] = rng.normal(size=(frames, 14)).astype(np.float32)
    return path


def make_libero(path: Path, convention: str | None = "opengl", episodes: int = 2, frames: int = 8) -> Path:
    """A file as LIBERO writes it: robomimic's layout and names, attributes of its own, pictures as OpenGL has them."""
    make_robomimic(path, episodes=episodes, frames=frames, size=16, fps=20, camera="agentview_rgb")
    with h5py.File(path, "r+") as file:
        del file["mask"]
        data = file["data"]
        data.attrs["num_demos"] = np.int64(episodes)
        data.attrs["bddl_file_name"] = "libero_spatial/pick_up_the_black_bowl.bddl"
        data.attrs["problem_info"] = json.dumps({"language_instruction": "pick up the black bowl"})
        if convention is not None:
            data.attrs["macros_image_convention"] = convention
        for index, demo in enumerate(data.values()):
            demo["obs/eye_in_hand_rgb"] = make_frames(frames, 16, 16, seed=100 + index)
            if convention == "opengl":
                demo["obs/agentview_rgb"][...] = demo["obs/agentview_rgb"][()][:, ::-1]
    return path


def make_robotwin(path: Path, frames: int = 8, cameras: tuple[str, ...] = ("front_camera", "head_camera")) -> Path:
    """As RoboTwin's ``pkl2hdf5.py`` writes it: padded JPEG of RGB arrays that OpenCV has taken for BGR."""
    with h5py.File(path, "w") as file:
        for seed, camera in enumerate(cameras):
            coded = [encode_image(frame[..., ::-1], "jpeg") for frame in make_frames(frames, 48, 64, seed=seed)]
            longest = max(map(len, coded))
            file[f"observation/{camera}/rgb"] = np.array([data.ljust(longest, b"\0") for data in coded], f"S{longest}")
            file[f"observation/{camera}/intrinsic_cv"] = np.tile(np.eye(3), (frames, 1, 1))
        file["joint_action/vector"] = np.arange(frames * 14.0).reshape(frames, 14)
        file["pointcloud"] = np.zeros((frames, 0))
    return path


def make_nested(path: Path, episodes: int = 3, frames: int = 6, storage: str = "last") -> Path:
    """An HDF5 file of no known layout: ``trajectories/<number>/images/front``, not numbered without gaps."""
    with h5py.File(path, "w") as file:
        file["trajectories/about"] = "nothing"
        for index in range(episodes):
            group = file.create_group(f"trajectories/{7 * index + 2}")
            frames_THWC = make_frames(frames, 16, 20, seed=index)
            images = [encode_image(frame_HWC, "png") for frame_HWC in frames_THWC]
            if storage == "vlen":
                rows = group.create_dataset("images/front", (frames,), h5py.vlen_dtype(np.uint8))
                for number, image in enumerate(images):
                    rows[number] = np.frombuffer(image, np.uint8)
            elif storage == "bytes":
                group["images/front"] = np.array(images, f"V{max(map(len, images))}")
            else:
                group["images/front"] = frames_THWC if storage == "last" else frames_THWC.transpose(0, 3, 1, 2)
            group["robot/command"] = np.random.default_rng(index).normal(size=(frames, 7))
    return path
