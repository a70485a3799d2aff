"""What a code means seen from several places: the same simulated motions, labelled from each camera.

    python scripts/codes_by_camera.py NAME=FILE ... [--bundle BUNDLE] [--picture X.png]

Each FILE is of `genie make-data` with the same seed and another camera, so that motions and looks are the same to the
bit. Prints, for each code and camera, how far the hand moves in the robot's frame (cm) and in the picture (pixels of
the frame); then how much of the hand's motion codes tell by what they mean from the same camera (other episodes) and by
what they mean from the other cameras, and how often two cameras give the same transition the same code.
"""

from __future__ import annotations

import argparse
import itertools
import sys
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path

import cv2
import numpy as np
from numpy.typing import NDArray

from genie_core.data import Frames, encode_image, open_dataset, resize_frames
from genie_core.data.frames.palette import code_palette
from genie_core.data.storage.atomic import write_bytes
from genie_core.errors import DatasetError, GenieError
from genie_core.evaluation.metrics import Metric, estimate, mean_of, of_means, ratio
from genie_core.inference import Labeller
from genie_core.models.bundle import load_bundle
from genie_core.statistics.metrics import Array
from genie_view.sheet import SheetRow, contact_sheet

SEED = 0
HAND, PICTURE = "hand, robot's frame", "hand, in the picture"
_CM, _PX = 100.0, 112
_ARROW = 5
"""Times which arrows in the picture are longer than the mean motion."""


@dataclass(frozen=True)
class Seen:
    """One camera's transitions, episode by episode.

    Attributes:
        code: (S,) each.
        moved: by `HAND` (cm) and `PICTURE` (pixels, right and down): (S, 3) and (S, 2) each.
        clearest: of each code, (frame, position of the hand in it) of the transition of highest confidence.

    """

    code: list[NDArray[np.int64]]
    moved: dict[str, list[Array]]
    clearest: dict[int, tuple[Frames, Array]]


def main() -> None:
    """Label what each camera saw, print the tables, and draw the picture."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("cameras", nargs="+", metavar="NAME=FILE")
    parser.add_argument("--bundle", type=Path, default=Path("genie_core/bundles/motion"))
    parser.add_argument("--picture", type=Path)
    arguments = parser.parse_args()
    files = dict(one.split("=", 1) for one in arguments.cameras)
    try:
        labeller = Labeller(load_bundle(arguments.bundle))
        cameras = {name: see(labeller, file) for name, file in files.items()}
        codes = labeller.bundle.config.lam.quantizer.codes
        print(meanings(cameras, codes) + "\n\n" + agreement(cameras, codes))
        if arguments.picture is not None:
            write_bytes(arguments.picture, encode_image(sheet(cameras, codes), "png"))
    except GenieError as error:
        sys.exit(str(error))


def see(labeller: Labeller, file: str) -> Seen:
    """Label every transition of a set of `genie make-data`."""
    codes: list[NDArray[np.int64]] = []
    moved: dict[str, list[Array]] = {HAND: [], PICTURE: []}
    clearest: dict[int, tuple[float, Frames, Array]] = {}
    for episode in open_dataset(file).episodes:
        frames_THWC = episode.frames(0, episode.num_frames)
        labels = labeller.label(frames_THWC, 1)
        hand_TK, pixel_TK = (episode.array(f"obs/{name}") for name in ("robot0_eef_pos", "eef_pixel"))
        if hand_TK is None or pixel_TK is None:
            raise DatasetError(
                f"{file}: {episode.name}: got no position of the hand, expected a set of genie make-data"
            )
        codes.append(labels.code[labels.valid].astype(np.int64))
        moved[HAND].append(_CM * np.diff(hand_TK.astype(np.float64), axis=0))
        moved[PICTURE].append(np.diff(pixel_TK.astype(np.float64), axis=0))
        for at in np.flatnonzero(labels.valid).tolist():
            code, sure = int(labels.code[at]), float(labels.confidence[at])
            if code not in clearest or sure > clearest[code][0]:
                clearest[code] = (sure, frames_THWC[at], pixel_TK[at].astype(np.float64))
    return Seen(codes, moved, {code: (frame, place) for code, (_, frame, place) in clearest.items()})


def meanings(cameras: Mapping[str, Seen], codes: int) -> str:
    """Markdown: the mean motion of each code from each camera, and its share of that camera's transitions."""
    lines = []
    for what, axes in ((HAND, "x, y, z, cm"), (PICTURE, "right, down, pixels")):
        lines += [
            f"| code | {' | '.join(f'{name} ({axes})' for name in cameras)} |",
            "| -: " * (len(cameras) + 1) + "|",
        ]
        for code in range(codes):
            lines.append(f"| {code} | {' | '.join(_mean(seen, what, code) for seen in cameras.values())} |")
        lines.append("")
    return "\n".join(lines[:-1])


def _mean(seen: Seen, what: str, code: int) -> str:
    moved_SK, code_S = np.concatenate(seen.moved[what]), np.concatenate(seen.code)
    having = code_S == code
    if not having.any():
        return "–"
    return ", ".join(f"{x:+.1f}" for x in moved_SK[having].mean(0)) + f" ({having.mean():.0%})"


def agreement(cameras: Mapping[str, Seen], codes: int) -> str:
    """Markdown: error over variance by what codes mean from the same and from the other cameras; equal codes."""
    lines = ["| camera | | by the same camera's means | by the other cameras' means |", "| -- | -- | -: | -: |"]
    for name, seen in cameras.items():
        others = [other for key, other in cameras.items() if key != name]
        for what in (HAND, PICTURE):
            own = _words(_error(seen, what, codes, [seen]))
            theirs = _words(_error(seen, what, codes, others))
            lines.append(f"| {name} | {what} | {own} | {theirs} |")
    lines += ["", "| cameras | same code | Cohen's kappa |", "| -- | -: | -: |"]
    for (one, first), (two, second) in itertools.combinations(cameras.items(), 2):
        rng = np.random.default_rng(SEED)
        same = [(a == b).astype(np.float64) for a, b in zip(first.code, second.code, strict=True)]
        eye = np.eye(codes)
        both = [np.stack([eye[a], eye[b]], axis=1) for a, b in zip(first.code, second.code, strict=True)]
        chance = _chance(np.concatenate(both))
        packed = [np.concatenate([s[:, None], b.reshape(len(b), -1)], axis=1) for s, b in zip(same, both, strict=True)]
        kappa = of_means(packed, lambda mean_R: _kappa(mean_R, codes), rng)
        lines.append(f"| {one}, {two} | {_words(mean_of(same, rng))} (chance {chance:.2f}) | {_words(kappa)} |")
    return "\n".join(lines)


def _chance(both_S2K: Array) -> float:
    first_K, second_K = both_S2K.mean(axis=0)
    return float(first_K @ second_K)


def _kappa(mean_RX: Array, codes: int) -> Array:
    first_RK, second_RK = mean_RX[:, 1 : 1 + codes], mean_RX[:, 1 + codes :]
    chance_R = (first_RK * second_RK).sum(axis=1)
    kappa_R: Array = (mean_RX[:, 0] - chance_R) / (1 - chance_R)
    return kappa_R


def _error(seen: Seen, what: str, codes: int, by: Sequence[Seen]) -> object:
    """Squared error over variance of the axes that vary, where each transition is told by its code's mean in `by`.

    Transitions of the same episode, of whichever camera, are left out of the means: motions are the same there.
    """
    spread_K = np.concatenate(seen.moved[what]).std(axis=0)
    varies_K = spread_K > 0
    sums = []
    for place, (code_S, moved_SK) in enumerate(zip(seen.code, seen.moved[what], strict=True)):
        rest = [i for i in range(len(seen.code)) if i != place]
        codes_N = np.concatenate([of.code[i] for of in by for i in rest])
        moved_NK = np.concatenate([of.moved[what][i] for of in by for i in rest])
        mean_CK = np.stack(
            [moved_NK[codes_N == c].mean(0) if (codes_N == c).any() else moved_NK.mean(0) for c in range(codes)]
        )
        error_SK = ((moved_SK - mean_CK[code_S])[:, varies_K] / spread_K[varies_K]) ** 2
        sums.append([error_SK.mean(axis=1).sum(), len(code_S)])
    sums_E2 = np.array(sums)
    return estimate(sums_E2, ratio, int(sums_E2[:, 1].sum()), np.random.default_rng(SEED))


def sheet(cameras: Mapping[str, Seen], codes: int) -> NDArray[np.uint8]:
    """Draw a row for each camera: of each code the clearest transition, and the arrow of its mean motion there."""
    rows = []
    for name, seen in cameras.items():
        pictures: list[Frames] = []
        for code in range(codes):
            if code not in seen.clearest:
                pictures.append(np.zeros((_PX, _PX, 3), np.uint8))
                continue
            frame, place_2 = seen.clearest[code]
            having = np.concatenate(seen.code) == code
            mean_2 = np.concatenate(seen.moved[PICTURE])[having].mean(axis=0)
            pictures.append(_with_arrow(frame, place_2, mean_2))
        rows.append(SheetRow(name, "", np.stack(pictures), list(range(codes))))
    heading = f"each code from {len(rows)} cameras: clearest transition, mean motion of the hand x {_ARROW}"
    return contact_sheet(heading, rows, code_palette(codes), frame_px=_PX)


def _with_arrow(frame_HWC: Frames, place_2: Array, moved_2: Array) -> Frames:
    scale = _PX / frame_HWC.shape[0]
    large = np.ascontiguousarray(resize_frames(frame_HWC[None], _PX, _PX)[0])
    start, end = (tuple(np.round(p * scale).astype(int).tolist()) for p in (place_2, place_2 + _ARROW * moved_2))
    for colour, thick in (((0, 0, 0), 4), ((255, 255, 255), 2)):
        cv2.arrowedLine(large, start, end, colour, thick, cv2.LINE_AA, tipLength=0.3)
    return large


def _words(got: object) -> str:
    if not isinstance(got, Metric):
        return "–"
    low, high = got.ci95 or (got.value, got.value)
    return f"{got.value:.2f} ({low:.2f} to {high:.2f})"


if __name__ == "__main__":
    main()
