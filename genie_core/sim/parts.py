"""The work folder `<out>.parts`: finished episodes that survive an interruption, and assembly of the final file.

One HDF5 file per episode, each whole or absent; `plan.json` records the config and software that they were made with.
"""

import json
import shutil
from collections.abc import Generator
from contextlib import contextmanager
from pathlib import Path

import h5py
import numpy as np

from genie_core.data.storage.atomic import new_file, write_text
from genie_core.data.storage.lock import FolderLock
from genie_core.errors import DatasetError
from genie_core.sim.config import FPS, SimConfig
from genie_core.sim.episode import SimulatedEpisode
from genie_core.sim.motion import PRIMITIVES

VALID_FRACTION = 0.1
PER_FRAME_IMAGE_CHUNK = 10


def parts_dir(out: Path) -> Path:
    """Return the work folder of an output file, beside it: renaming into place must not cross file systems."""
    return out.with_name(out.name + ".parts")


class Parts:
    """Finished episodes of one plan."""

    def __init__(self, folder: Path) -> None:
        self._folder = folder

    def path(self, number: int) -> Path:
        """Return the file of one episode."""
        return self._folder / f"episode_{number:06d}.hdf5"

    def open(self, config: SimConfig, software: dict[str, str]) -> None:
        """Create the folder, or check that the episodes in it were made by the same plan."""
        plan = {"config": config.stated(), "software": software}
        file = self._folder / "plan.json"
        self._folder.mkdir(parents=True, exist_ok=True)
        if not any(self._folder.glob("episode_*.hdf5")):  # nothing to mix with: an existing plan is void
            write_text(file, json.dumps(plan, indent=2))
        found = json.loads(file.read_text())
        differing = [
            f"{section}.{key}: {found.get(section, {}).get(key)!r} there, {plan[section].get(key)!r} now"
            for section in plan
            for key in sorted(plan[section].keys() | found.get(section, {}).keys())
            if found.get(section, {}).get(key) != plan[section].get(key)
        ]
        if differing:
            raise DatasetError(
                f"{self._folder} holds episodes of another plan ({'; '.join(differing)}): run with that plan to finish"
                " it, delete the folder to start afresh, or choose another output"
            )

    @contextmanager
    def locked(self) -> Generator[None, None, None]:
        """Lock the folder against a second run; the lock ends with the process, however that ends."""
        self._folder.parent.mkdir(parents=True, exist_ok=True)
        lock = FolderLock(self._folder, "makes episodes there")
        try:
            yield
        finally:
            lock.release()

    def finished(self, number: int) -> bool:
        """Return whether this episode exists, whole."""
        return self.path(number).exists()

    def write(self, number: int, episode: SimulatedEpisode) -> None:
        """Store one episode, whole or not at all."""
        with new_file(self.path(number)) as unfinished, h5py.File(unfinished, "w") as file:
            file.attrs["env_args"] = episode.env_args
            group = file.create_group("demo")
            group.attrs["num_samples"] = len(episode.arrays["actions"])
            for name, text in episode.attrs.items():
                group.attrs[name] = text
            for name, rows in episode.arrays.items():
                # Frames in chunks, so that reading a clip need not decompress the whole episode.
                rows_a_chunk = min(len(rows), PER_FRAME_IMAGE_CHUNK) if rows.ndim == 4 else len(rows)
                group.create_dataset(
                    name, data=rows, chunks=(rows_a_chunk, *rows.shape[1:]), compression="gzip", compression_opts=9
                )

    def assemble(self, out: Path, config: SimConfig, software: dict[str, str], episodes: int) -> None:
        """Write `out` from the first `episodes` parts and remove the folder. `out` appears whole or not at all."""
        with new_file(out) as unfinished, h5py.File(unfinished, "w") as file:
            data = file.create_group("data")
            for number in range(episodes):
                with h5py.File(self.path(number), "r") as part:
                    part.copy("demo", data, name=f"demo_{number}")
                    data.attrs["env_args"] = part.attrs["env_args"]  # the same in all parts
            data.attrs["total"] = episodes * config.frames
            data.attrs["fps"] = float(FPS)
            data.attrs["generator_args"] = json.dumps(config.stated() | {"software": software})
            data.attrs["primitive_names"] = json.dumps(PRIMITIVES)
            for name, numbers in split(config.seed, episodes).items():
                file["mask/" + name] = np.array([f"demo_{number}" for number in numbers], dtype="S")
        shutil.rmtree(self._folder)


def split(seed: int, episodes: int) -> dict[str, list[int]]:
    """Split episode numbers into training and validation: a tenth for the latter, at least one if there are two."""
    count = max(1, round(VALID_FRACTION * episodes)) if episodes > 1 else 0
    shuffled = np.random.default_rng(seed).permutation(episodes).tolist()
    return {"train": sorted(shuffled[count:]), "valid": sorted(shuffled[:count])}


__all__ = ["Parts", "parts_dir", "split"]
