"""ACT's own loader on ALOHA files that carry latent actions. Run by `run.py`, with ACT's code on the path."""

from __future__ import annotations

import sys
from importlib.metadata import version
from pathlib import Path

import h5py
import numpy as np
import torch
from utils import EpisodicDataset, get_norm_stats, load_data  # ACT's utils.py


def main(data: Path) -> None:
    """Load every episode, alone and in batches; raises where something is not as it was written."""
    print("torch", torch.__version__, "h5py", version("h5py"))
    folder, count = str(data / "aloha"), len(list((data / "aloha").glob("episode_*.hdf5")))
    for number in range(count):
        with h5py.File(data / "aloha" / f"episode_{number}.hdf5") as file:
            found = []
            file.visit(lambda name, found=found: found.append(name) if name.endswith("latent_actions/code") else None)
            assert found, f"episode_{number}.hdf5 carries no latent actions, so nothing would be shown"
            print(f"episode_{number}.hdf5: /{found[0]} {file[found[0]].shape}")
    stats = get_norm_stats(folder, count)
    dataset = EpisodicDataset(range(count), folder, ["top"], stats)
    for index in range(len(dataset)):
        image, qpos, action, is_pad = dataset[index]
        with h5py.File(data / "aloha" / f"episode_{index}.hdf5") as file:
            frames = file["observations/images/top"][()]
            assert action.shape == file["action"].shape
        shown = np.round(image[0].numpy().transpose(1, 2, 0) * 255).astype(np.uint8)
        assert any(np.array_equal(shown, frame) for frame in frames), "a picture that the file does not have"
        assert (len(qpos), is_pad.shape) == (action.shape[1], (len(frames),))
    train, valid, _, is_sim = load_data(folder, count, ["top"], 2, 1)
    batches = [tuple(part.shape) for loader in (train, valid) for batch in loader for part in batch]
    print(f"{count} episodes, sim {is_sim}; shapes of a batch: {batches[:4]}")


if __name__ == "__main__":
    main(Path(sys.argv[1]))
