"""What `genie check` says of every set, and of made video that is no robot's: the tables of docs/check.md.

    python scripts/check_sets.py FOLDER OUT [--bundle motion] [--sets NAME ...] [--episodes N]

FOLDER is where the sets of scripts/check_sets.json are; video that is no robot's is made here. Each set is a run of
`genie check BUNDLE SET --json` as a user gives it; its answer is kept in OUT, and not asked for again.
"""

from __future__ import annotations

import argparse
import json
from collections.abc import Callable, Iterable
from contextlib import redirect_stdout
from io import StringIO
from pathlib import Path
from typing import Any

import cv2
import h5py
import numpy as np
from numpy.typing import NDArray

from genie_cli import main as main_of_genie
from genie_core.data.storage.atomic import new_folder, write_text

SETS = Path(__file__).with_suffix(".json")
SIZE, FPS, EPISODES, FRAMES = 64, 10.0, 6, 60

Film = NDArray[np.uint8]
"""(T, 64, 64, 3)."""


def noise(rng: np.random.Generator) -> Film:
    """Pictures of noise."""
    return rng.integers(0, 256, (FRAMES, SIZE, SIZE, 3), np.uint8)


def patches(rng: np.random.Generator) -> Film:
    """Coloured patches of 8 x 8 pixels that flicker."""
    return rng.integers(0, 256, (FRAMES, 8, 8, 3), np.uint8).repeat(8, axis=1).repeat(8, axis=2)


def squares(rng: np.random.Generator) -> Film:
    """Twenty squares of 8 pixels, each on a straight way of its own, up to 2 pixels a frame, around the edges."""
    film = np.repeat(_texture(rng, SIZE)[None] // 2, FRAMES, axis=0)
    inner, side = np.arange(8), range(SIZE)
    for _ in range(20):
        colour, place, speed = rng.integers(100, 256, 3), rng.uniform(0, SIZE, 2), rng.uniform(-2, 2, 2)
        for time in range(FRAMES):
            y, x = np.round(place + time * speed).astype(int)
            film[time][np.ix_((y + inner) % len(side), (x + inner) % len(side))] = colour
    return film


def turning(rng: np.random.Generator) -> Film:
    """A picture that turns by 3 degrees a frame."""
    return _warped(rng, lambda time: (3.0 * time, 1.0))


def nearing(rng: np.random.Generator) -> Film:
    """A picture that comes nearer: 2% larger with each frame."""
    return _warped(rng, lambda time: (0.0, 1.02**time))


MADE: dict[str, Callable[[np.random.Generator], Film]] = {
    "no robot: pictures of noise": noise,
    "no robot: coloured patches that flicker": patches,
    "no robot: twenty squares, each on its own way": squares,
    "no robot: a turning picture": turning,
    "no robot: a picture that comes nearer": nearing,
}


def _texture(rng: np.random.Generator, size: int) -> Film:
    coarse = rng.integers(20, 236, (size // 6, size // 6, 3), np.uint8)
    return np.asarray(cv2.resize(coarse, (size, size), interpolation=cv2.INTER_CUBIC), np.uint8)


def _warped(rng: np.random.Generator, degrees_and_scale: Callable[[int], tuple[float, float]]) -> Film:
    wide, middle = _texture(rng, 2 * SIZE), SIZE / 2
    frames = []
    for time in range(FRAMES):
        about = cv2.getRotationMatrix2D((SIZE, SIZE), *degrees_and_scale(time))
        about[:, 2] -= middle
        frames.append(cv2.warpAffine(wide, about, (SIZE, SIZE), flags=cv2.INTER_LINEAR))
    return np.stack(frames).astype(np.uint8)


def make(path: Path, film: Callable[[np.random.Generator], Film]) -> None:
    """Write episodes of it, in robomimic's layout."""
    with h5py.File(path, "w") as file:
        kind = {"env_name": "Made", "type": 1, "env_kwargs": {"control_freq": FPS}}
        file.create_group("data").attrs["env_args"] = json.dumps(kind)
        for index in range(EPISODES):
            demo = file.create_group(f"data/demo_{index}")
            demo.attrs["num_samples"] = np.int64(FRAMES)
            demo["obs/camera_image"] = film(np.random.default_rng([index, 11]))


def answer(out: Path, words: Iterable[object]) -> dict[str, Any]:
    """Return what `genie check` says, from OUT where it was asked before.

    Raises:
        SystemExit: the command failed.

    """
    if not out.is_file():
        said = StringIO()
        with redirect_stdout(said):
            try:
                main_of_genie(["check", *map(str, words), "--json"])
            except SystemExit as ended:
                if ended.code not in (0, 1):  # 1: do not use
                    raise
        write_text(out, said.getvalue())
    found: dict[str, Any] = json.loads(out.read_text())
    return found


def number(report: dict[str, Any], name: str, digits: int = 2) -> str:
    """A metric of a report in words; empty where it has none."""
    metric = report["metrics"].get(name)
    return "" if metric is None else rounded(metric["value"], digits)


def with_interval(report: dict[str, Any], name: str) -> str:
    """A metric with its 95% interval over episodes, where there are several."""
    metric = report["metrics"].get(name)
    if metric is None or metric["ci95"] is None:
        return number(report, name)
    low, high = metric["ci95"]
    return f"{rounded(metric['value'])} ({rounded(low)} to {rounded(high)})"


def rounded(value: float, digits: int = 2) -> str:
    """A number in words; none is -0.00."""
    return f"{round(value, digits) + 0.0:.{digits}f}"


def row(name: str, trained: str, report: dict[str, Any]) -> str:
    """A line of the table."""
    steps = sorted({of["step"] for of in report["episodes"]})
    labelled, moving = (sum(of[key] for of in report["episodes"]) for key in ("labelled", "moving"))
    reasons = ", ".join(
        f"`{of['name']}` {rounded(of['value'], 3 if of['name'] in FINE else 2)}" for of in report["decided_by"]
    )
    probes = [number(report, f"probe_{of}") for of in ("code", "latent", "flow", "frame_difference")]
    cells = [
        name,
        trained,
        f"{len(report['episodes'])}, {labelled} ({moving})",
        "/".join(map(str, steps)),
        report["verdict"],
        reasons,
        with_interval(report, "flow_left"),
        *probes,
        with_interval(report, "probe_latent_minus_flow"),
    ]
    return f"| {' | '.join(cells)} |"


FINE = {"confidence_median", "cut_share"}


def main() -> None:
    """Ask for what is not there yet, and print the table."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    for name in ("folder", "out"):
        parser.add_argument(name, type=Path)
    parser.add_argument("--bundle", default="motion")
    parser.add_argument("--sets", nargs="+", help="names of sets [default: all]")
    parser.add_argument("--episodes", type=int, help="as of genie check")
    asked = parser.parse_args()
    asked.out.mkdir(parents=True, exist_ok=True)
    bounds = [] if asked.episodes is None else ["--episodes", asked.episodes]
    wanted = {of["set"]: of for of in json.loads(SETS.read_text())} | dict.fromkeys(MADE)
    print("| set | trained on | episodes, transitions (moving) | step | verdict | decided by | `flow_left` | code "
          "| latent | flow | frame difference | latent less flow |\n" + "| -- " * 12 + "|")  # fmt: skip
    for name, of in wanted.items():
        if asked.sets is not None and name not in asked.sets:
            continue
        kept = asked.out / f"{name.replace(' ', '_').replace('/', '_')}.json"
        if of is None:
            made = asked.out / "made" / f"{list(MADE).index(name)}.hdf5"
            if not made.is_file():
                with new_folder(made.parent, replace=True) as folder:
                    for index, film in enumerate(MADE.values()):
                        make(folder / f"{index}.hdf5", film)
            words, trained = [asked.bundle, made, *bounds], "no"
        else:
            camera = ["--camera", of["camera"]] if "camera" in of else []
            words = [asked.bundle, asked.folder / of["path"], *camera, *bounds]
            trained = "yes" if of["trained"] else "no"
        print(row(name, trained, answer(kept, words)), flush=True)


if __name__ == "__main__":
    main()
