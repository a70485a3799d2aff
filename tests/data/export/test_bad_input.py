"""What `export_labels` refuses, what it says, and that it leaves nothing behind."""

import json
import subprocess
import sys
from pathlib import Path

import h5py
import numpy as np
import pyarrow as pa
import pyarrow.parquet as pq
import pytest

from genie_core.data import LabelledFile, Labels, LabelWriter, open_dataset
from genie_core.data.export.run import ExportFormat, ExportPlan, export_labels
from genie_core.errors import DatasetError
from tests.factories.data import make_label_model, make_robomimic, make_video
from tests.factories.labelled import label_file

FORMATS: tuple[ExportFormat, ...] = ("lerobot", "parquet", "robomimic")


@pytest.fixture
def labelled(tmp_path: Path) -> LabelledFile:
    return label_file(make_robomimic(tmp_path / "a.hdf5", episodes=3, frames=6, size=8))


def refused(labelled: Path, plan: ExportPlan, match: str) -> None:
    """The export fails, saying so, and leaves nothing beside the labelled file that was not there."""
    before = sorted(labelled.parent.iterdir())
    with pytest.raises(DatasetError, match=match):
        export_labels(labelled, labelled.parent / "out", plan)
    assert sorted(labelled.parent.iterdir()) == before


@pytest.mark.parametrize("to", FORMATS)
def test_an_output_that_exists_is_refused_and_kept(tmp_path: Path, labelled: LabelledFile, to: ExportFormat) -> None:
    (tmp_path / "out").write_text("precious")
    refused(labelled.path, ExportPlan(to), "out: exists already")
    assert (tmp_path / "out").read_text() == "precious"


def test_an_output_in_no_folder_is_refused(tmp_path: Path, labelled: LabelledFile) -> None:
    with pytest.raises(DatasetError, match=r"nowhere is not a folder"):
        export_labels(labelled.path, tmp_path / "nowhere/out", ExportPlan("parquet"))


def test_an_unknown_format_is_refused(labelled: LabelledFile) -> None:
    refused(labelled.path, ExportPlan("zarr"), "got zarr, expected one of lerobot, parquet, rlds, robomimic")  # type: ignore[arg-type]


def test_data_without_labels_are_refused(tmp_path: Path, labelled: LabelledFile) -> None:
    refused(tmp_path / "a.hdf5", ExportPlan("parquet"), r"a\.hdf5: carries no latent actions")
    refused(tmp_path / "nothing.hdf5", ExportPlan("parquet"), "nothing")
    (tmp_path / "folder").mkdir()
    refused(tmp_path / "folder", ExportPlan("parquet"), r"folder: got a folder without meta/genie\.json")
    pq.write_table(pa.table({"x": [1]}), tmp_path / "x.parquet")
    refused(tmp_path / "x.parquet", ExportPlan("robomimic"), r"x\.parquet: carries no latent actions")
    (tmp_path / "cut.parquet").write_bytes((tmp_path / "x.parquet").read_bytes()[:-10])
    refused(tmp_path / "cut.parquet", ExportPlan("robomimic"), r"cut\.parquet: not a Parquet file, or damaged")


@pytest.mark.parametrize("to", ["lerobot", "robomimic"])
def test_frames_that_are_gone_are_missed(tmp_path: Path, to: ExportFormat) -> None:
    labelled = label_file(make_video(tmp_path / "v.mp4", frames=6))
    (tmp_path / "v.mp4").unlink()
    refused(labelled.path, ExportPlan(to), r"v\.mp4: no longer exists")
    with pytest.raises(DatasetError) as caught:
        export_labels(labelled.path, tmp_path / "out", ExportPlan(to))
    assert "--size labelled" in caught.value.__notes__[0]
    assert export_labels(labelled.path, tmp_path / "out", ExportPlan(to, frames="labelled")).size == (48, 64)


def test_labels_without_frames_find_their_source_or_say_that_there_are_none(tmp_path: Path) -> None:
    labelled = label_file(make_robomimic(tmp_path / "a.hdf5", episodes=2, frames=6, size=8), frames="none")
    refused(labelled.path, ExportPlan("lerobot", frames="labelled"), "got no frames")
    refused(labelled.path, ExportPlan("lerobot", frames="none"), "got none, expected source")
    assert export_labels(labelled.path, tmp_path / "with", ExportPlan("robomimic")).size == (8, 8)
    (tmp_path / "a.hdf5").unlink()
    refused(labelled.path, ExportPlan("robomimic"), r"a\.hdf5: no longer exists")
    report = export_labels(labelled.path, tmp_path / "without", ExportPlan("robomimic", frames="none"))
    assert (report.size, report.action_dim) == (None, None)


def test_a_source_of_other_length_is_noticed(tmp_path: Path) -> None:
    labelled = label_file(make_video(tmp_path / "v.mp4", frames=6))
    make_video(tmp_path / "v.mp4", frames=7)
    refused(labelled.path, ExportPlan("lerobot"), r"v\.mp4: v: got 7 frames, expected 6, one for each label of demo_0")


def test_lerobot_asks_for_a_frame_rate(tmp_path: Path) -> None:
    labelled = label_file(make_robomimic(tmp_path / "a.hdf5", frames=6, size=8, fps=None), step=1)
    refused(
        labelled.path, ExportPlan("lerobot"), r"demo_0: got no frame rate, expected one for LeRobot \(--fps gives it\)"
    )
    refused(labelled.path, ExportPlan("lerobot", fps=0), "fps")
    export_labels(labelled.path, tmp_path / "out", ExportPlan("lerobot", fps=5))
    assert open_dataset(tmp_path / "out").fps == 5


def test_lerobot_asks_for_one_frame_rate_and_one_size(tmp_path: Path) -> None:
    (tmp_path / "v").mkdir()
    make_video(tmp_path / "v/a.mp4", frames=6, fps=10)
    make_video(tmp_path / "v/b.mp4", frames=6, fps=20, size=(32, 32))
    labelled = label_file(tmp_path / "v")
    refused(
        labelled.path, ExportPlan("lerobot"), "several frame rates, expected one for all episodes: demo_1 20, demo_0 10"
    )
    refused(labelled.path, ExportPlan("lerobot", fps=10), r"several sizes, .*: demo_0 48x64, demo_1 32x32")
    export_labels(labelled.path, tmp_path / "out", ExportPlan("lerobot", fps=10, frames=(16, 16)))
    assert [episode.height for episode in open_dataset(tmp_path / "out").episodes] == [16, 16]


def test_actions_of_several_widths_or_lengths_are_refused(tmp_path: Path) -> None:
    source = make_robomimic(tmp_path / "a.hdf5", episodes=2, frames=6, size=8)
    labelled = label_file(source, frames="none")
    with h5py.File(source, "a") as file:
        del file["data/demo_1/actions"]
    refused(
        labelled.path, ExportPlan("lerobot"), "robot's action: got several widths, expected one: demo_0 7, demo_1 none"
    )
    with h5py.File(source, "a") as file:
        file["data/demo_1/actions"] = np.zeros((6, 3))
    refused(
        labelled.path, ExportPlan("parquet"), "robot's action: got several widths, expected one: demo_0 7, demo_1 3"
    )
    with h5py.File(source, "a") as file:
        del file["data/demo_1/actions"]
        file["data/demo_1/actions"] = np.zeros((4, 7))
    refused(labelled.path, ExportPlan("parquet"), r"demo_1: got actions of shape \(4, 7\) for 6 frames")


@pytest.mark.parametrize("to", FORMATS)
def test_an_export_that_fails_half_way_leaves_nothing(tmp_path: Path, to: ExportFormat) -> None:
    class FullError(Exception):
        pass

    def fail(_episodes: float) -> None:
        raise FullError

    labelled = label_file(make_robomimic(tmp_path / "a.hdf5", episodes=3, frames=6, size=8))
    before = sorted(tmp_path.iterdir())
    with pytest.raises(FullError):
        export_labels(labelled.path, tmp_path / "out", ExportPlan(to), fail)
    assert sorted(tmp_path.iterdir()) == before


def test_a_damaged_export_is_not_believed(tmp_path: Path, labelled: LabelledFile) -> None:
    export_labels(labelled.path, tmp_path / "a.parquet", ExportPlan("parquet"))
    table = pq.read_table(tmp_path / "a.parquet")
    pq.write_table(table.slice(1), tmp_path / "short.parquet")
    refused(tmp_path / "short.parquet", ExportPlan("robomimic"), "got 17 rows, expected 18")
    order = [*range(6, 18), *range(6)]
    pq.write_table(table.take(order), tmp_path / "mixed.parquet")
    refused(tmp_path / "mixed.parquet", ExportPlan("robomimic"), "got rows out of order")
    pq.write_table(table.drop_columns("code"), tmp_path / "codeless.parquet")
    refused(tmp_path / "codeless.parquet", ExportPlan("robomimic"), "got no column `code`")
    document = json.loads(table.schema.metadata[b"genie"])
    document["model"]["codebook"][0][0] += 1
    changed = table.replace_schema_metadata({b"genie": json.dumps(document).encode()})
    pq.write_table(changed, tmp_path / "changed.parquet")
    refused(tmp_path / "changed.parquet", ExportPlan("robomimic"), "codebook: got SHA-256")
    document["version"] = 99
    pq.write_table(table.replace_schema_metadata({b"genie": json.dumps(document).encode()}), tmp_path / "newer.parquet")
    refused(
        tmp_path / "newer.parquet", ExportPlan("robomimic"), "of version 99, expected genie latent actions of version 1"
    )


def test_a_lerobot_export_that_has_lost_an_episode_is_refused(tmp_path: Path, labelled: LabelledFile) -> None:
    export_labels(labelled.path, tmp_path / "set", ExportPlan("lerobot"))
    document = json.loads((tmp_path / "set/meta/genie.json").read_text())
    document["episodes"].pop()
    (tmp_path / "set/meta/genie.json").write_text(json.dumps(document))
    refused(tmp_path / "set", ExportPlan("robomimic"), "got 3 episodes, expected the 2 that")


def test_a_file_whose_every_label_is_gone_is_refused(tmp_path: Path) -> None:
    source = make_robomimic(tmp_path / "a.hdf5", episodes=1, frames=6, size=8)
    dataset = open_dataset(source)
    writer = LabelWriter(tmp_path / "a.labelled.hdf5", dataset, make_label_model())
    writer.add(dataset.episodes[0], Labels.invalid(0, 6, 4))
    labelled = writer.finish()
    with h5py.File(labelled, "a") as file:
        del file["data/demo_0/latent_actions"]
    refused(labelled, ExportPlan("parquet"), "no episode carries labels")


_LIMITED = """
import resource, signal, sys
from pathlib import Path
from genie_core.data.export.run import ExportPlan, export_labels
from genie_core.errors import DatasetError

signal.signal(signal.SIGXFSZ, signal.SIG_IGN)
resource.setrlimit(resource.RLIMIT_FSIZE, (30_000, 30_000))
try:
    export_labels(Path(sys.argv[1]), Path(sys.argv[2]), ExportPlan(sys.argv[3]))
except DatasetError as error:
    print(error)
"""


@pytest.mark.parametrize("to", FORMATS)
def test_a_full_disk_is_named_and_leaves_nothing(tmp_path: Path, to: ExportFormat) -> None:
    labelled = label_file(make_robomimic(tmp_path / "a.hdf5", episodes=4, frames=400, size=24))
    before = sorted(tmp_path.iterdir())
    command = [sys.executable, "-c", _LIMITED, str(labelled.path), str(tmp_path / "out"), to]
    ended = subprocess.run(command, capture_output=True, text=True, timeout=100)
    assert ended.returncode == 0, ended.stderr
    assert f"{tmp_path / 'out'}: cannot be written: File too large" in ended.stdout
    assert sorted(tmp_path.iterdir()) == before
