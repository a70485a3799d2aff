"""`genie verify`: whatever has changed since it was written is found, with a way to mend it that mends it."""

from __future__ import annotations

import hashlib
import json
import os
import subprocess
import sys
from collections.abc import Callable
from pathlib import Path

import h5py
import numpy as np
import pytest

from genie_core.data import FramesMode, LabelWriter, open_dataset, open_labelled
from genie_core.data.labelled.checksum import group_digest
from genie_core.data.labelled.verify import Verification, verify_labelled
from genie_core.errors import DatasetError
from tests.factories.data import make_aloha, make_label_model, make_labels, make_robomimic, make_video

MODEL = make_label_model()


def label(
    source: Path, output: Path, frames: FramesMode | None = None, *, only: int | None = None, **how: object
) -> Path:
    dataset = open_dataset(source, fps=10)
    with LabelWriter(output, dataset, MODEL, frames=frames, **how) as writer:  # type: ignore[arg-type]
        for episode in writer.pending()[:only]:
            writer.add(episode, make_labels(episode.num_frames, writer.step(episode).step), episode.chunks(5))
        return writer.finish() if only is None else output


def problems(path: Path) -> list[str]:
    return [finding.problem for finding in verify_labelled(path).problems]


@pytest.fixture
def source(tmp_path: Path) -> Path:
    return make_robomimic(tmp_path / "a.hdf5", episodes=3, size=8)


@pytest.mark.parametrize("frames", ["link", "copy", "none", "in_place"])
def test_what_was_written_is_good(tmp_path: Path, source: Path, frames: FramesMode) -> None:
    output = label(source, source if frames == "in_place" else tmp_path / "out.hdf5", frames)
    found = verify_labelled(output)
    assert found.problems == []
    assert (found.episodes, found.checksums, found.bundle) == (3, 3, None)
    assert found.notes == ["bundle nano bbbbbbbbbbbb is not at hand, so it was not compared"]


def test_video_and_folders_in_their_own_layout_are_good(tmp_path: Path) -> None:
    video = label(make_video(tmp_path / "v.mp4", size=8), tmp_path / "v.labelled.hdf5")
    (tmp_path / "task").mkdir()
    for number in range(2):
        make_aloha(tmp_path / "task" / f"episode_{number}.hdf5", seed=number, cameras=("high",))
    folder = label(tmp_path / "task", tmp_path / "out", "copy")
    for path, episodes in ((video, 1), (folder, 2)):
        found = verify_labelled(path)
        assert found.problems == []
        assert (found.episodes, found.checksums) == (episodes, episodes)


def change_label(file: h5py.File) -> None:
    file["data/demo_1/latent_actions/code"][3] ^= 1


def change_latent(file: h5py.File) -> None:
    file["data/demo_1/latent_actions/latent"][3, 0] += np.float32(1e-6)


def change_step(file: h5py.File) -> None:
    file["data/demo_1/latent_actions"].attrs["step"] = 2


def drop_confidence(file: h5py.File) -> None:
    del file["data/demo_1/latent_actions/confidence"]


@pytest.mark.parametrize(
    ("change", "problem"),
    [
        (change_label, "the labels are not what was written: their SHA-256 differs"),
        (change_latent, "the labels are not what was written: their SHA-256 differs"),
        (change_step, "the labels are not what was written: their SHA-256 differs"),
        (drop_confidence, "the labels cannot be read"),
    ],
)
def test_labels_that_changed_are_found_and_resuming_mends_them(
    tmp_path: Path, source: Path, change: Callable[[h5py.File], None], problem: str
) -> None:
    output = label(source, tmp_path / "out.hdf5")
    with h5py.File(output, "a") as file:
        change(file)
    (finding,) = verify_labelled(output).problems
    assert finding.where == f"{output}: demo_1"
    assert problem in finding.problem
    assert "--resume" in finding.mend
    label(source, output, existing="resume")
    assert verify_labelled(output).is_good
    assert len(open_labelled(output).episodes) == 3


def test_frames_and_codebook_that_changed_are_found(tmp_path: Path) -> None:
    output = label(make_video(tmp_path / "v.mp4", size=8), tmp_path / "out.hdf5")
    with h5py.File(output, "a") as file:
        file["data/demo_0/obs/video"][5, 3, 3, 0] ^= 1
    assert problems(output) == ["the frames are not what was written: their SHA-256 differs"]
    with h5py.File(output, "a") as file:
        file["latent_action_model/codebook"][0, 0] = 9
    assert problems(output)[0].startswith("codebook: got SHA-256 ")


def test_a_file_that_lost_its_end_is_a_problem_and_not_a_crash(tmp_path: Path, source: Path) -> None:
    output = label(source, tmp_path / "out.hdf5", "copy")
    output.write_bytes(output.read_bytes()[:-500])
    (finding,) = verify_labelled(output).problems
    assert "the file is truncated" in finding.problem
    assert "--overwrite" in finding.mend


def test_a_source_that_went_or_changed_matters_to_links_and_is_noted_elsewhere(tmp_path: Path, source: Path) -> None:
    links, copies = label(source, tmp_path / "l.hdf5", "link"), label(source, tmp_path / "c.hdf5", "copy")
    os.utime(source, ns=(0, 0))
    assert problems(links) == []
    content = source.read_bytes()
    source.write_bytes(content[:-1] + bytes([content[-1] ^ 1]))
    assert problems(links)[0] == "its frames are links to what has changed since: its SHA-256 differs"
    source.rename(tmp_path / "moved.hdf5")
    assert "the frames cannot be read" in problems(links)[1]
    found = verify_labelled(copies)
    assert found.is_good
    assert f"{source} no longer exists" in found.notes


def test_what_unfinished_runs_left_is_told_and_the_same_command_mends_it(tmp_path: Path, source: Path) -> None:
    output = label(source, tmp_path / "out.hdf5", only=2)
    half = "import os, sys; from pathlib import Path; from genie_core.data.storage.atomic import new_file\n"
    half += "with new_file(Path(sys.argv[1])) as file: file.write_bytes(b'half'); os.kill(os.getpid(), 9)"
    subprocess.run([sys.executable, "-c", half, output], check=False)
    parts, left = verify_labelled(output).problems
    assert parts.problem == "holds 2 finished episodes of a run that is under way or was stopped"
    assert left.problem == "was left by a killed process"
    label(source, output)
    assert verify_labelled(output).is_good
    with pytest.raises(DatasetError, match="no such file"):
        verify_labelled(tmp_path / "nothing.hdf5")


def test_the_bundle_is_asked_for_by_its_identity(tmp_path: Path, source: Path) -> None:
    output = label(source, tmp_path / "out.hdf5")
    found = verify_labelled(output, {"b" * 64: "models/nano"}.get)
    assert (found.bundle, found.notes) == ("models/nano", [])


def test_labels_without_checksums_are_told_from_damaged_ones(tmp_path: Path, source: Path) -> None:
    output = label(source, tmp_path / "out.hdf5")
    with h5py.File(output, "a") as file:
        for name in file["data"]:
            del file[f"data/{name}/latent_actions"].attrs["sha256"]
    found = verify_labelled(output)
    assert (found.is_good, found.checksums) == (True, 0)
    assert "3 episodes have no checksum: they were labelled by a version before 0.2" in found.notes


def test_the_checksum_is_the_same_on_every_machine_and_for_all_time(tmp_path: Path) -> None:
    with h5py.File(tmp_path / "a.hdf5", "w") as file:
        file["code"] = np.array([1, 2], ">u2")
        file["valid"] = np.array([True, False])
        file.attrs.update({"step": 3, "camera": "top", "fps": 10.0, "sha256": "not itself"})
        digest = group_digest(file)
    written = (
        b"code <u2 (2,)\n\1\0\2\0" + b"valid |b1 (2,)\n\1\0" + b"@camera str 'top'\n@fps float 10.0\n@step int 3\n"
    )
    assert digest == hashlib.sha256(written).hexdigest()


def test_problems_are_counted_in_the_json(tmp_path: Path, source: Path) -> None:
    output = label(source, tmp_path / "out.hdf5")
    found = Verification.model_validate_json(verify_labelled(output).model_dump_json())
    assert json.loads(found.model_dump_json())["problems"] == []
