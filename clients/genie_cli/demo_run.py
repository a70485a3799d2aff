"""The demo's work: label the sample, simulate its own actions and every other, and draw the results."""

from __future__ import annotations

import time
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path

import numpy as np

from genie_client.bulk import LabelPlan, LabelReport, label_dataset
from genie_client.client import Client
from genie_client.records import ModelInfo
from genie_core.data import Frames, LabelledFile, encode_image, open_dataset, open_labelled, resize_frames, write_video
from genie_core.data.storage.atomic import write_bytes
from genie_core.errors import GenieError
from genie_view.meaning import Motion, code_motions
from genie_view.rerun_version import require_rerun
from genie_view.sheet import SheetRow, contact_sheet

HORIZON = 9
"""Number of latent actions to simulate."""

_VIDEO_PX = 256


@dataclass(frozen=True)
class Moment:
    """Start of the simulation, and what really followed.

    Attributes:
        episode: name of the episode.
        frame: index of the start frame.
        step: frames per latent action.
        frames_THWC: the start frame and those after each action, HORIZON + 1 at the model's size.
        codes: the HORIZON latent actions labelled there.

    """

    episode: str
    frame: int
    step: int
    frames_THWC: Frames
    codes: list[int]


@dataclass(frozen=True)
class Simulated:
    """Simulated futures of the start frame, with the true codes and with each code: HORIZON frames each."""

    true_THWC: Frames
    by_code_NTHWC: Frames
    seconds: float


@dataclass(frozen=True)
class DemoResult:
    """Results of the demo; `recording` is None without Rerun, `motions` is None if the sample has no positions."""

    report: LabelReport
    moment: Moment
    simulated: Simulated
    motions: list[Motion] | None
    labelled: Path
    video: Path
    sheet: Path
    recording: Path | None


def run_demo(client: Client, sample: Path, out: Path, say: Callable[[str], None] = lambda what: None) -> DemoResult:
    """Label `sample`, simulate from one of its frames, and write four files to the folder `out`, replacing them.

    `say` receives a description of each stage. Raises the errors of `label_dataset` and `Client.branch_stream`.
    """
    out.mkdir(parents=True, exist_ok=True)
    say("labelling the sample")
    plan = LabelPlan(out / "labelled.hdf5", frames="copy", existing="overwrite", jobs=2)
    report = label_dataset(client, open_dataset(sample), plan)
    labelled = open_labelled(report.output)
    info, motions = report.model, code_motions(labelled)
    moment = liveliest_moment(labelled, info)
    say(f"simulating {1 + info.num_codes} futures of one frame")
    simulated = _simulate(client, info, moment)
    say("drawing")
    sheet, video = out / "demo.png", out / "rollout.mp4"
    write_bytes(sheet, encode_image(_sheet(info, moment, simulated, motions), "png"))
    write_video(video, _video(info, moment, simulated), info.fps)
    recording = _record(out / "demo.rrd", labelled, info, moment, simulated, motions)
    return DemoResult(report, moment, simulated, motions, report.output, video, sheet, recording)


def liveliest_moment(labelled: LabelledFile, info: ModelInfo) -> Moment:
    """Return the first run of HORIZON transitions with the most different codes.

    Raises GenieError if no episode is long enough.
    """
    best: tuple[int, str, int, int] | None = None
    for name in labelled.episodes:
        labels, attrs = labelled.labels(name)
        for start in range(len(labels) - HORIZON * attrs.step):
            variety = len(set(labels.code[start : start + HORIZON * attrs.step : attrs.step].tolist()))
            if best is None or variety > best[0]:
                best = (variety, name, start, attrs.step)
    if best is None:
        raise GenieError(f"{labelled.path}: no episode has {HORIZON} transitions in a row")
    _, name, start, step = best
    labels, _ = labelled.labels(name)
    episode = labelled.episode(name)
    assert episode is not None
    stop = start + HORIZON * step
    frames_THWC = resize_frames(episode.frames(start, stop + 1)[::step], *info.frame_size)
    return Moment(name, start, step, frames_THWC, labels.code[start:stop:step].tolist())


def _simulate(client: Client, info: ModelInfo, moment: Moment) -> Simulated:
    """Simulate, in one call, the true codes and one counterfactual per code, all from the start frame."""
    branches = [moment.codes, *([code] * HORIZON for code in range(info.num_codes))]
    began = time.monotonic()
    frames_NTHWC = client.branch(moment.frames_THWC[0], branches, model=info.name)
    return Simulated(frames_NTHWC[0], frames_NTHWC[1:], time.monotonic() - began)


def _sheet(info: ModelInfo, moment: Moment, simulated: Simulated, motions: list[Motion] | None) -> Frames:
    prompt = moment.frames_THWC[:1]
    rows = [
        SheetRow("real", "what was recorded", moment.frames_THWC, [*moment.codes, None]),
        SheetRow("simulated", "same actions", np.concatenate([prompt, simulated.true_THWC]), [*moment.codes, None]),
    ]
    for code, frames_THWC in enumerate(simulated.by_code_NTHWC):
        note = str(motions[code]) if motions else ""
        codes = [code] * HORIZON + [None]
        rows.append(SheetRow(f"action {code}", note, np.concatenate([prompt, frames_THWC]), codes, chip=code))
    heading = f"Genie: latent actions of {moment.episode}, frame {moment.frame}, and what every other would have done"
    return contact_sheet(heading, rows, info.palette)


def _video(info: ModelInfo, moment: Moment, simulated: Simulated) -> Frames:
    """Return the real and the simulated video side by side, above the codes."""
    simulated_THWC = np.concatenate([moment.frames_THWC[:1], simulated.true_THWC])
    pictures = []
    for real_HWC, made_HWC, code in zip(moment.frames_THWC, simulated_THWC, [*moment.codes, None], strict=True):
        row = SheetRow("", "", np.stack([real_HWC, made_HWC]), [code, code])
        pictures.append(contact_sheet("real, simulated", [row], info.palette, frame_px=_VIDEO_PX))
    return np.stack(pictures)


def _record(
    path: Path,
    labelled: LabelledFile,
    info: ModelInfo,
    moment: Moment,
    simulated: Simulated,
    motions: list[Motion] | None,
) -> Path | None:
    """Record the episode, the simulation and the labels on one timeline; None if Rerun is not installed."""
    try:
        require_rerun()
    except GenieError:
        return None
    from genie_view.clock import Clock
    from genie_view.labels_view import LabelledViews, labels_scene
    from genie_view.recording import Recording, write_recordings
    from genie_view.simulation_view import SimulationView, Track, simulation_scene

    words = [] if motions is None else [str(motion) for motion in motions]
    tracks = [
        Track("simulated", simulated.true_THWC, moment.codes),
        *(Track(f"action {code}", frames, [code] * HORIZON) for code, frames in enumerate(simulated.by_code_NTHWC)),
    ]
    (labels,) = LabelledViews(labelled, words).of([moment.episode])
    clock = Clock(labels.fps, moment.frame, moment.step)
    simulation = SimulationView(
        moment.frames_THWC[:1], tracks, info.palette, clock, future_THWC=moment.frames_THWC[1:], words=words
    )
    scenes = [simulation_scene(simulation), labels_scene(labels)]
    write_recordings(path, [Recording("genie demo", moment.episode, scenes, labels.fps)])
    return path


__all__ = ["HORIZON", "DemoResult", "Moment", "Simulated", "liveliest_moment", "run_demo"]
