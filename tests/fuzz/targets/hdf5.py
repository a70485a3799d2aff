"""HDF5 files: data in every layout, labelled files, and journals of unfinished ones."""

from __future__ import annotations

import json
from pathlib import Path
from unittest.mock import patch

import h5py
import numpy as np

from genie_core.data import ReadOptions, open_dataset, open_labelled
from genie_core.data.inspect import inspect_dataset
from genie_core.data.labelled.journal import Journal, Manifest, journal_folder
from genie_core.data.labelled.verify import verify_labelled
from genie_core.data.storage import lock
from genie_core.data.storage.lock import OWNER, read_owner
from genie_core.errors import DatasetError
from tests.factories.data import make_aloha, make_libero, make_nested, make_robomimic
from tests.factories.labelled import label_file
from tests.fuzz.heap import variable_length_reads
from tests.fuzz.mutation import mutate_json
from tests.fuzz.target import Target
from tests.fuzz.targets.rlds import may_fail, use

_MANIFEST = Manifest(
    bundle_id="ab" * 32,
    codebook_sha256="cd" * 32,
    model_fps=10,
    step=None,
    fps=None,
    density="dense",
    camera="agentview_image",
    frames="link",
    format="robomimic",
    source="/data/d.hdf5",
)


def _read_data(data: bytes, folder: Path) -> None:
    path = folder / "d.hdf5"
    path.write_bytes(data)
    described = ReadOptions(frames_path="trajectories/*/images/front", actions_path="trajectories/*/robot/command")
    for options in (None, described):
        may_fail(lambda options=options: use(open_dataset(path, options=options)))
    inspect_dataset(path, thorough=True)


def _read_labelled(data: bytes, folder: Path) -> None:
    path = folder / "l.labelled.hdf5"
    path.write_bytes(data)
    may_fail(lambda: verify_labelled(path))
    labelled = open_labelled(path)
    for episode in labelled.episodes[:2]:
        for ask in (labelled.labels, labelled.labels_attrs, labelled.is_intact, labelled.episode):
            may_fail(lambda ask=ask, episode=episode: ask(episode))


def _read_journal(data: bytes, folder: Path) -> None:
    """Its manifest, who holds it, and one of its parts."""
    output = folder / "o.labelled.hdf5"
    journal = journal_folder(output)
    journal.mkdir(exist_ok=True)
    (journal / "manifest.json").write_bytes(data)
    (journal / OWNER).write_bytes(data)
    read_owner(journal)
    (journal / "0.hdf5").write_bytes(b"")
    try:
        with patch.object(lock, "_DEAD_S", 0.0):  # no time is spent on watching whether its holder lives
            Journal(output, _MANIFEST, start_over=False).close()
    except DatasetError:
        (journal / "manifest.json").unlink(missing_ok=True)
        raise


def _data_files(folder: Path) -> list[bytes]:
    made = [
        make_robomimic(folder / "robomimic.hdf5", episodes=1, frames=2, size=8),
        make_libero(folder / "libero.hdf5", episodes=1, frames=2),
        make_aloha(folder / "aloha.hdf5", frames=2, size=(6, 7)),
        make_aloha(folder / "compressed.hdf5", frames=2, size=(8, 8), compressed=True),
        make_nested(folder / "nested.hdf5", episodes=1, frames=2),
        make_nested(folder / "vlen.hdf5", episodes=1, frames=2, storage="vlen"),
    ]
    with h5py.File(folder / "packed.hdf5", "w", libver="latest") as file:
        file["data"] = h5py.SoftLink("/elsewhere")
        file.create_dataset(
            "elsewhere/demo_0/obs/front", data=np.zeros((3, 8, 8, 3), np.uint8), chunks=(1, 8, 8, 3), compression="gzip"
        )
        file["elsewhere/demo_0/actions"] = h5py.ExternalLink("gone.hdf5", "/x")
    return [path.read_bytes() for path in [*made, folder / "packed.hdf5"]]


def _labelled_files(folder: Path) -> list[bytes]:
    kept = []
    for number, frames in enumerate(("link", "none", "copy")):
        source = make_robomimic(folder / f"d{number}.hdf5", episodes=1, frames=3, size=8)
        kept.append(Path(label_file(source, frames=frames).path).read_bytes())  # type: ignore[arg-type]
    return kept


def _manifests(folder: Path) -> list[bytes]:
    owner = {"host": "h", "pid": 1, "since": "2026", "command": "genie label d"}
    return [_MANIFEST.model_dump_json().encode(), json.dumps(owner).encode()]


TARGETS = (
    Target(
        "hdf5",
        _read_data,
        _data_files,
        inputs=8_000,
        largest=24_000,
        memory_mib=256,
        taken=variable_length_reads,
    ),
    Target(
        "labelled",
        _read_labelled,
        _labelled_files,
        inputs=5_000,
        largest=24_000,
        memory_mib=256,
        taken=variable_length_reads,
    ),
    Target("journal", _read_journal, _manifests, inputs=5_000, largest=200_000, mutate=mutate_json),
)
