"""Labels of data that are folders: what identifies the source, whether it has changed, and finding it again."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest

from genie_core.data import LabelWriter, open_dataset, open_labelled
from genie_core.data.labelled.originals import Originals
from genie_core.data.labelled.verify import verify_labelled
from genie_core.data.storage import fingerprint
from genie_core.errors import DatasetError
from tests.factories import ros
from tests.factories.data import make_label_model, make_labels
from tests.factories.folders import write_calvin, write_pictures, write_replay


def label(path: Path, output: Path, **said: object) -> Path:
    dataset = open_dataset(path, **said)  # type: ignore[arg-type]
    with LabelWriter(output, dataset, make_label_model(), frames="none", step=1) as writer:
        for episode in writer.pending():
            writer.add(episode, make_labels(episode.num_frames, step=1))
        return writer.finish()


def make(folder: Path, kind: str) -> tuple[Path, str | None]:
    if kind == "images":
        write_pictures(folder / "set/ep_1/front", seed=1)
        write_pictures(folder / "set/ep_2/front", seed=2)
        return folder / "set", None
    if kind == "calvin":
        return write_calvin(folder / "set/training").parent, None
    if kind == "mcap":
        return ros.write_mcap(folder / "run.mcap", list(ros.entries())), ros.CAMERA
    return write_replay(folder / "set.zarr"), None


@pytest.mark.parametrize("kind", ["images", "calvin", "mcap", "zarr"])
def test_labels_know_their_source_and_find_it_again(tmp_path: Path, kind: str) -> None:
    path, camera = make(tmp_path, kind)
    output = label(path, tmp_path / "out.hdf5", camera=camera)
    assert verify_labelled(output).is_good
    labelled, originals = open_labelled(output), Originals()
    for name in labelled.episodes:
        attrs = labelled.labels_attrs(name)
        assert attrs.source_sha256
        found = originals.episode(attrs, name)
        wanted = next(each for each in open_dataset(path, camera=camera).episodes if each.name == attrs.source_name)
        np.testing.assert_array_equal(found.frames(), wanted.frames())


def test_a_picture_that_changes_is_found(tmp_path: Path) -> None:
    path, _ = make(tmp_path, "images")
    output = label(path, tmp_path / "out.hdf5")
    picture = path / "ep_1/front/im_2.png"
    picture.write_bytes((path / "ep_2/front/im_2.png").read_bytes())
    assert any("ep_1 has changed since" in note for note in verify_labelled(output).notes)


def test_a_folder_of_too_many_files_is_looked_at_in_part(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    folder = write_pictures(tmp_path / "ep", 6)
    size, newest = fingerprint.size_and_time(folder)
    assert size == sum(file.stat().st_size for file in folder.iterdir())
    assert fingerprint.cheap_sha256(folder)
    monkeypatch.setattr(fingerprint, "STAMPED_FILES", 3)
    in_part, again = fingerprint.size_and_time(folder)
    assert in_part < size
    assert again <= newest
    assert fingerprint.cheap_sha256(folder) is None
    with pytest.raises(DatasetError):
        fingerprint.size_and_time(tmp_path / "nothing")
