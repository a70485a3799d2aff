"""Makes what the checks read, by the command line that users run: the sample labelled by the shipped model, exported.

    python conformance/make_data.py FOLDER

FOLDER then holds

- ``labelled.hdf5`` (links to ``lift.hdf5``) and its exports ``robomimic.hdf5`` and ``lerobot``;
- its export ``rlds``;
- ``aligned.hdf5``, the same with actions that an alignment decoded, and its exports ``robomimic-aligned.hdf5``,
  ``lerobot-aligned`` (decoded actions beside the robot's) and ``lerobot-decoded`` (in place of them);
- ``lerobot-in-place``: the export ``lerobot`` without its labels, labelled in place: as ``relabelled.hdf5``;
- ``relabelled.hdf5``: the export ``lerobot`` labelled again, as a client elsewhere must label it, and its own export
  ``lerobot-copied``, whose video is copied from ``lerobot``;
- ``lerobot-fused``: two cameras of one robot (the sample, and the same upside down), whose labels were fused, exported
  with the video of both; ``lerobot-fused-copied``: that, labelled again and exported, its video copied;
  ``fused.hdf5`` and ``fused-again.hdf5``, their labels;
- ``aloha/episode_N.hdf5``, ALOHA's layout, labelled in place;
- ``expected.npz``: what a loader must find, all episodes one after another.
"""

from __future__ import annotations

import json
import shutil
import subprocess
import sys
from importlib.resources import files
from pathlib import Path

import h5py
import numpy as np
import pyarrow.parquet as pq

from genie_core.bundles import DEFAULT, shipped
from genie_core.data import LabelledFile, open_labelled

SAMPLE = Path(str(files("genie_core.data") / "samples" / "panda_lift.hdf5"))
ALIGNMENT = "lift"
TASK = ("--task", "Lift the cube.")
ALOHA_JOINTS = 14


def main(folder: Path) -> None:
    """Make everything anew."""
    shutil.rmtree(folder, ignore_errors=True)
    (folder / "aloha").mkdir(parents=True)
    shutil.copy(SAMPLE, folder / "lift.hdf5")
    genie("label", folder / "lift.hdf5", "--out", folder / "labelled.hdf5")
    genie("export", folder / "labelled.hdf5", folder / "robomimic.hdf5", "--to", "robomimic")
    genie("export", folder / "labelled.hdf5", folder / "lerobot", "--to", "lerobot", *TASK)
    genie("export", folder / "labelled.hdf5", folder / "rlds", "--to", "rlds", *TASK)
    genie("label", folder / "lerobot", "--out", folder / "relabelled.hdf5")
    genie("export", folder / "relabelled.hdf5", folder / "lerobot-copied", "--to", "lerobot")
    make_in_place(folder)
    make_aligned(folder)
    found = everything(open_labelled(folder / "labelled.hdf5"), open_labelled(folder / "aligned.hdf5"))
    for number in range(found["episode"].max() + 1):
        chosen = found["episode"] == number
        make_aloha(folder / "aloha" / f"episode_{number}.hdf5", found["frames"][chosen], found["actions"][chosen])
    np.savez(folder / "expected.npz", **found)
    make_fused(folder, found)


def make_fused(folder: Path, found: dict[str, np.ndarray]) -> None:
    """Label two cameras, fused, and export them; then the export itself, whose video is copied."""
    (folder / "two").mkdir()
    for number in range(found["episode"].max() + 1):
        chosen = found["episode"] == number
        path, frames_THWC = folder / f"two/episode_{number}.hdf5", found["frames"][chosen]
        write_aloha(path, frames_THWC, found["actions"][chosen])
        with h5py.File(path, "a") as file:
            file["observations/images/wrist"] = np.ascontiguousarray(frames_THWC[:, ::-1])
    genie("label", folder / "two", "--fps", "10", "--fuse", "top,wrist", "--out", folder / "fused.hdf5")
    genie("export", folder / "fused.hdf5", folder / "lerobot-fused", "--to", "lerobot", *TASK)
    genie("label", folder / "lerobot-fused", "--fuse", "top,wrist", "--out", folder / "fused-again.hdf5")
    genie("export", folder / "fused-again.hdf5", folder / "lerobot-fused-copied", "--to", "lerobot")


def make_in_place(folder: Path) -> None:
    """A LeRobot dataset without labels, from an export whose features of ours are taken out, labelled in place."""
    bare = folder / "lerobot-in-place"
    shutil.copytree(folder / "lerobot", bare)
    for path in sorted(bare.rglob("*.parquet")):
        table = pq.read_table(path, partitioning=None)
        ours = [name for name in table.column_names if "latent_action" in name]
        pq.write_table(table.drop_columns(ours), path)
    for name in ("info", "stats"):
        content = json.loads((bare / f"meta/{name}.json").read_text())
        content.pop("genie", None)
        held = content["features"] if name == "info" else content
        for key in [key for key in held if key.startswith("latent_action")]:
            del held[key]
        (bare / f"meta/{name}.json").write_text(json.dumps(content))
    (bare / "meta/genie.json").unlink()
    genie("label", bare, "--in-place")


def make_aligned(folder: Path) -> None:
    """Label the sample with decoded actions, by an alignment to its own, and export them both ways."""
    bundle = folder / "models" / DEFAULT  # a copy: an alignment lies beside its bundle
    shutil.copytree(shipped(DEFAULT), bundle)
    fitted = ("--name", ALIGNMENT, "--hold-out", "0", "--threads", "1")
    genie("align", folder / "labelled.hdf5", "--bundle", bundle, *fitted)
    aligned = folder / "aligned.hdf5"
    genie("label", folder / "lift.hdf5", "--out", aligned, "--models", bundle.parent, "--alignment", ALIGNMENT)
    genie("export", aligned, folder / "robomimic-aligned.hdf5", "--to", "robomimic")
    genie("export", aligned, folder / "lerobot-aligned", "--to", "lerobot", *TASK)
    genie("export", aligned, folder / "lerobot-decoded", "--to", "lerobot", *TASK, "--actions", "decoded")


def everything(labelled: LabelledFile, aligned: LabelledFile) -> dict[str, np.ndarray]:
    """What the files hold, all episodes one after another: labels, ``decoded`` actions, and the source's own arrays."""
    found: dict[str, list[np.ndarray]] = {}
    for number, name in enumerate(labelled.episodes):
        labels, _ = labelled.labels(name)
        decoded = aligned.labels(name)[0].action
        episode = labelled.episode(name)
        assert decoded is not None
        assert episode is not None
        parts = {
            "code": labels.code,
            "latent": labels.latent,
            "confidence": labels.confidence,
            "valid": labels.valid,
            "decoded": decoded,
            "frames": episode.frames(),
            "actions": episode.actions,
            "episode": np.full(len(labels), number),
        }
        for key, values in parts.items():
            found.setdefault(key, []).append(values)
    return {key: np.concatenate(values) for key, values in found.items()}


def make_aloha(path: Path, frames_THWC: np.ndarray, actions: np.ndarray) -> None:
    """Write an episode and label it in place."""
    write_aloha(path, frames_THWC, actions)
    genie("label", path, "--fps", "10", "--in-place")


def write_aloha(path: Path, frames_THWC: np.ndarray, actions: np.ndarray) -> None:
    """An episode as ACT's ``record_sim_episodes.py`` writes it; joints beyond the robot's own stand still."""
    joints = np.zeros((len(actions), ALOHA_JOINTS))
    joints[:, : actions.shape[1]] = actions
    with h5py.File(path, "w") as file:
        file.attrs["sim"] = True
        file.create_dataset("observations/images/top", data=frames_THWC, chunks=(1, *frames_THWC.shape[1:]))
        file["observations/qpos"] = np.cumsum(joints, axis=0)
        file["observations/qvel"] = joints
        file["action"] = joints


def genie(*words: str | Path) -> None:
    """Run the command line in a process of its own."""
    command = "from genie_cli import main; main()"
    subprocess.run([sys.executable, "-c", command, *map(str, words)], check=True, stdout=subprocess.DEVNULL)


if __name__ == "__main__":
    main(Path(sys.argv[1]))
