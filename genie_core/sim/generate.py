"""Generates a dataset: worker processes make the missing episodes, which are then assembled into one file."""

from contextlib import closing
from pathlib import Path

from genie_core.errors import DatasetError
from genie_core.progress import Progress, silent
from genie_core.sim import backend
from genie_core.sim.config import SimConfig
from genie_core.sim.episode import make_recorder
from genie_core.sim.parts import Parts, parts_dir
from genie_core.sim.workers import MakeRecorder, run


def generate(
    config: SimConfig,
    episodes: int,
    out: Path,
    *,
    workers: int = 1,
    progress: Progress = silent,
    overwrite: bool = False,
) -> None:
    """Write `episodes` simulated episodes with known actions to `out`, an HDF5 file in robomimic's layout.

    After an interruption, a second call with the same config resumes where the first stopped, even with other numbers
    of workers or episodes: an episode depends only on the config and its number.

    Raises DatasetError if `out` exists and must not be overwritten, if unfinished work of another config is in the way,
    if the simulator or a renderer is not installed, or if an episode fails.
    """
    if episodes < 1 or workers < 1:
        raise DatasetError(f"episodes, workers: got {episodes} and {workers}, expected at least 1 each")
    refuse_existing(out, overwrite)
    backend.require_packages()
    gl = backend.choose_gl()
    fill(config, episodes, out, workers, progress, gl, backend.software(gl), make_recorder)


def refuse_existing(out: Path, overwrite: bool) -> None:
    """Raise DatasetError if `out` cannot be written, before hours of work rather than after."""
    if out.is_dir():
        raise DatasetError(f"{out}: got a folder, expected a file name")
    if out.exists() and not overwrite:
        raise DatasetError(f"{out} exists: choose another name, or ask to overwrite it")
    if not out.parent.is_dir():
        raise DatasetError(f"{out.parent}: is not a folder, expected one to write {out.name} to")


def fill(
    config: SimConfig,
    episodes: int,
    out: Path,
    workers: int,
    progress: Progress,
    gl: str,
    software: dict[str, str],
    recorders: MakeRecorder,
) -> None:
    """Do the work of `generate`, with the simulator passed in."""
    folder = parts_dir(out)
    parts = Parts(folder)
    with parts.locked():
        parts.open(config, software)
        missing = [number for number in range(episodes) if not parts.finished(number)]
        done = episodes - len(missing)
        progress("episodes", done, episodes)
        # Closed at once on Ctrl-C: workers must not outlive the lock on their folder.
        with closing(run(missing, workers, folder, config, gl, recorders)) as finished:
            for _ in finished:
                done += 1
                progress("episodes", done, episodes)
        parts.assemble(out, config, software, episodes)


__all__ = ["fill", "generate", "refuse_existing"]
