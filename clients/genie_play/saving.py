"""Saves what was played: as a video, a Rerun recording, or HDF5 in robomimic's layout."""

from __future__ import annotations

import json
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Literal, get_args

import numpy as np

from genie_client.records import ModelInfo
from genie_core.data import Frames, write_video
from genie_core.data.storage.atomic import new_file

Kind = Literal["mp4", "rrd", "hdf5"]
KINDS: tuple[Kind, ...] = get_args(Kind)


@dataclass(frozen=True)
class Played:
    """A line of frames from the prompt on.

    Attributes:
        info: the model that drew them.
        prompt_PHWC: the prompt at the model's size, uint8.
        frames_THWC: the frame after each action, uint8.
        codes: the T actions.
        options: sampling options that were not the defaults.

    """

    info: ModelInfo
    prompt_PHWC: Frames
    frames_THWC: Frames
    codes: Sequence[int]
    options: Mapping[str, Any]

    @property
    def video_THWC(self) -> Frames:
        """The last frame of the prompt, then those played: (T + 1, h, w, 3) uint8."""
        return np.concatenate([self.prompt_PHWC[-1:], self.frames_THWC])


def save(path: Path, kind: Kind, played: Played) -> None:
    """Write `path` whole or not at all.

    Raises:
        DatasetError, OSError: it cannot be written.
        GenieError: a recording is wanted and Rerun is too old, or missing.

    """
    if kind == "mp4":
        write_video(path, played.video_THWC, played.info.fps)
    elif kind == "rrd":
        _write_recording(path, played)
    else:
        _write_hdf5(path, played)


def _write_recording(path: Path, played: Played) -> None:
    from genie_view.clock import Clock
    from genie_view.recording import write_recordings
    from genie_view.simulation_view import SimulationView, Track, simulation_recording

    track = Track("played", played.frames_THWC, played.codes)
    view = SimulationView(played.prompt_PHWC, [track], played.info.palette, Clock(played.info.fps))
    write_recordings(path, [simulation_recording(path.stem, view)])


def _write_hdf5(path: Path, played: Played) -> None:
    """Write one episode, ``data/demo_0``: frames in ``obs/frame``, the action taken from each in ``played_code``.

    The last frame has no action, so there is one code less than frames. The file can be labelled like any other.
    """
    import h5py

    with new_file(path) as temporary, h5py.File(temporary, "w") as file:
        data = file.create_group("data")
        data.attrs["fps"] = played.info.fps
        data.attrs["total"] = len(played.video_THWC)
        data.attrs["played"] = json.dumps(
            {"model": played.info.name, "bundle_id": played.info.bundle_id, "sampling": dict(played.options)}
        )
        demo = data.create_group("demo_0")
        demo.attrs["num_samples"] = len(played.video_THWC)
        demo.create_dataset("obs/frame", data=played.video_THWC, compression="gzip")
        demo.create_dataset("played_code", data=np.asarray(played.codes, np.uint16))


__all__ = ["KINDS", "Kind", "Played", "save"]
