import os
import resource
import signal
import subprocess
import sys
from collections.abc import Iterator
from contextlib import suppress
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import Any

import h5py
import numpy as np
import pytest

from genie_core.data import (
    Dataset,
    Existing,
    FramesMode,
    LabelModel,
    LabelWriter,
    open_dataset,
    open_labelled,
    read_labels,
)
from genie_core.data.labelled.journal import Journal
from genie_core.errors import DatasetError
from tests.factories.data import make_frames, make_label_model, make_labels, make_robomimic, make_video

MODEL = make_label_model()

NOON = datetime(2026, 7, 1, 12, tzinfo=UTC)
LATER = NOON + timedelta(hours=1)

RUNNING: dict[Path, LabelWriter] = {}


def open_writer(
    source: Path,
    output: Path,
    *,
    model: LabelModel = MODEL,
    existing: Existing = "refuse",
    frames: FramesMode | None = None,
    step: int | None = None,
    fps: float | None = None,
    created: datetime = NOON,
    may_miss: bool = False,
) -> tuple[LabelWriter, Dataset]:
    """A run; that of the same output before it in this test has stopped."""
    dataset = open_dataset(source, fps=fps)
    if output in RUNNING:
        RUNNING.pop(output).close()
    how: dict[str, Any] = {"existing": existing, "frames": frames, "step": step, "created": created}
    RUNNING[output] = LabelWriter(output, dataset, model, may_miss=may_miss, **how)
    return RUNNING[output], dataset


@pytest.fixture(autouse=True)
def stop_runs() -> Iterator[None]:
    yield
    while RUNNING:
        RUNNING.popitem()[1].close()


def label(writer: LabelWriter, count: int, seed: int = 0) -> None:
    for episode in writer.pending()[:count]:
        labels = make_labels(episode.num_frames, writer.step(episode).step, seed=seed)
        writer.add(episode, labels, episode.chunks(5))


def pending(writer: LabelWriter) -> list[str]:
    return [episode.name for episode in writer.pending()]


@pytest.fixture
def source(tmp_path: Path) -> Path:
    return make_robomimic(tmp_path / "a.hdf5", episodes=4, size=8)


def test_a_second_run_goes_on_where_the_first_stopped(tmp_path: Path, source: Path) -> None:
    output = tmp_path / "out.hdf5"
    first, _ = open_writer(source, output)
    label(first, 2, seed=1)
    assert not output.exists()
    second, _ = open_writer(source, output)
    assert pending(second) == ["demo_2", "demo_3"]
    label(second, 2, seed=2)
    assert second.finish() == output
    np.testing.assert_array_equal(read_labels(output, "demo_1")[0].code, make_labels(12, seed=1).code)
    np.testing.assert_array_equal(read_labels(output, "demo_2")[0].code, make_labels(12, seed=2).code)
    assert sorted(path.name for path in tmp_path.iterdir()) == ["a.hdf5", "out.hdf5"]


@pytest.mark.parametrize(
    ("changed", "field"),
    [
        ({"model": make_label_model(bundle_id="c" * 64)}, "bundle_id"),
        ({"model": make_label_model(codes=9)}, "codebook_sha256"),
        ({"step": 3}, "step: got None, expected 3"),
        ({"fps": 20.0}, r"fps: got None, expected 20\.0"),
        ({"frames": "copy"}, "frames: got link, expected copy"),
    ],
)
def test_labels_of_other_settings_never_mix(
    tmp_path: Path, source: Path, changed: dict[str, object], field: str
) -> None:
    output = tmp_path / "out.hdf5"
    label(open_writer(source, output)[0], 2)
    with pytest.raises(DatasetError, match=rf"out\.hdf5\.parts: .*other settings \({field}"):
        open_writer(source, output, **changed)  # type: ignore[arg-type]
    assert pending(open_writer(source, output)[0]) == ["demo_2", "demo_3"]
    anew, _ = open_writer(source, output, existing="overwrite", **changed)  # type: ignore[arg-type]
    assert len(anew.pending()) == 4


def test_a_source_that_has_changed_is_noticed(tmp_path: Path, source: Path) -> None:
    output = tmp_path / "out.hdf5"
    writer, _ = open_writer(source, output)
    label(writer, 4)
    os.utime(source, ns=(0, 0))
    with pytest.raises(DatasetError, match=r"a\.hdf5: the file changed while it was being labelled"):
        writer.finish()
    with pytest.raises(DatasetError, match="labels of demo_0: got source_mtime_ns"):
        open_writer(source, output)
    assert len(open_writer(source, output, existing="overwrite")[0].pending()) == 4


def test_an_output_that_exists_is_refused(tmp_path: Path, source: Path) -> None:
    output = tmp_path / "out.hdf5"
    output.write_text("precious")
    with pytest.raises(DatasetError, match=r"out\.hdf5: exists already; resume it, or overwrite it"):
        open_writer(source, output)
    with pytest.raises(DatasetError, match="expected an HDF5 file"):
        open_writer(source, output, existing="resume")
    writer, _ = open_writer(source, output, existing="overwrite")
    label(writer, 4)
    assert output.read_text() == "precious"
    writer.finish()
    assert len(open_labelled(output).episodes) == 4


def test_resuming_a_finished_output_changes_nothing(tmp_path: Path, source: Path) -> None:
    output = tmp_path / "out.hdf5"
    writer, _ = open_writer(source, output)
    label(writer, 4)
    writer.finish()
    before = output.read_bytes()
    again, _ = open_writer(source, output, existing="resume")
    assert again.pending() == []
    again.finish()
    assert output.read_bytes() == before
    with pytest.raises(DatasetError, match="labels of demo_0: got step 1, expected 2"):
        open_writer(source, output, existing="resume", step=2)
    assert sorted(path.name for path in tmp_path.iterdir()) == ["a.hdf5", "out.hdf5"]


@pytest.mark.parametrize("frames", ["link", "in_place"])
def test_a_run_whose_output_is_complete_finds_nothing_left_to_do(
    tmp_path: Path, source: Path, frames: FramesMode
) -> None:
    """One that was killed in its last instant has made it; the same command again is no mistake."""
    output = source if frames == "in_place" else tmp_path / "out.hdf5"
    label(open_writer(source, output, frames=frames)[0], 4)
    RUNNING.pop(output).finish()
    before = output.read_bytes()
    again, _ = open_writer(source, output, frames=frames, created=LATER)
    assert again.is_complete
    assert again.pending() == []
    again.finish()
    assert output.read_bytes() == before
    assert sorted(tmp_path.iterdir()) == sorted({source, output})


@pytest.mark.parametrize("frames", ["link", "in_place"])
def test_a_run_that_may_leave_episodes_out_finds_its_output_complete_without_them(
    tmp_path: Path, source: Path, frames: FramesMode
) -> None:
    output = source if frames == "in_place" else tmp_path / "out.hdf5"
    label(open_writer(source, output, frames=frames)[0], 3)
    RUNNING.pop(output).finish(allow_missing=True)
    before = output.read_bytes()
    with pytest.raises(DatasetError, match=r"exists already|carries labels already"):
        open_writer(source, output, frames=frames)
    again, _ = open_writer(source, output, frames=frames, may_miss=True, created=LATER)
    assert again.is_complete
    assert pending(again) == ["demo_3"]  # whether it can be labelled now is for the caller to find out
    again.finish(allow_missing=True)
    assert output.read_bytes() == before
    assert sorted(tmp_path.iterdir()) == sorted({source, output})


@pytest.mark.parametrize("what", ["settings", "model", "source", "bytes", "episodes"])
def test_an_output_that_is_not_what_the_run_would_make_is_refused(tmp_path: Path, source: Path, what: str) -> None:
    output = tmp_path / "out.hdf5"
    label(open_writer(source, output)[0], 4)
    RUNNING.pop(output).finish()
    if what == "source":
        os.utime(source, ns=(0, 0))
    elif what in ("bytes", "episodes"):
        with h5py.File(output, "r+") as file:
            if what == "bytes":
                file["data/demo_1/latent_actions/code"][3] ^= 1
            else:
                del file["data/demo_1"]
    before = output.read_bytes()
    changed: dict[str, dict[str, object]] = {"settings": {"step": 2}, "model": {"model": make_label_model(codes=9)}}
    with pytest.raises(DatasetError, match=r"out\.hdf5: exists already; resume it, or overwrite it"):
        open_writer(source, output, **changed.get(what, {}))  # type: ignore[arg-type]
    assert output.read_bytes() == before


def test_resuming_a_finished_output_adds_what_is_new(tmp_path: Path) -> None:
    videos, output = tmp_path / "v", tmp_path / "out.hdf5"
    videos.mkdir()
    make_video(videos / "b.mp4", frames=6)
    writer, dataset = open_writer(videos, output)
    label(writer, 1, seed=1)
    writer.finish()
    frames = dataset.episodes[0].frames()
    make_video(videos / "a.mp4", frames=4, seed=5)
    again, _ = open_writer(videos, output, existing="resume")
    assert pending(again) == ["a"]
    label(again, 1, seed=2)
    again.finish()
    labelled = open_labelled(output)
    assert [labelled.labels(name)[1].source_name for name in labelled.episodes] == ["a", "b"]
    np.testing.assert_array_equal(labelled.labels("demo_1")[0].code, make_labels(6, seed=1).code)
    episode = labelled.episode("demo_1")
    assert episode is not None
    np.testing.assert_array_equal(episode.frames(), frames)


def test_labelling_in_place_is_atomic_and_resumable(tmp_path: Path, source: Path) -> None:
    before = source.read_bytes()
    first, _ = open_writer(source, source, frames="in_place")
    label(first, 2, seed=1)
    assert source.read_bytes() == before
    second, _ = open_writer(source, source, frames="in_place")
    assert pending(second) == ["demo_2", "demo_3"]
    label(second, 2, seed=1)
    second.finish()
    assert list(tmp_path.iterdir()) == [source]
    with pytest.raises(DatasetError, match="carries labels already"):
        open_writer(source, source, frames="in_place", step=2)
    for existing in ("refuse", "resume"):
        assert open_writer(source, source, frames="in_place", existing=existing)[0].pending() == []


def test_labels_in_place_can_be_replaced(tmp_path: Path, source: Path) -> None:
    writer, _ = open_writer(source, source, frames="in_place")
    label(writer, 4)
    writer.finish()
    other = make_label_model(codes=3, bundle_id="c" * 64)
    anew, dataset = open_writer(source, source, frames="in_place", existing="overwrite", model=other)
    anew.add(dataset.episodes[2], make_labels(12, codes=3, seed=7))
    anew.finish(allow_missing=True)
    labelled = open_labelled(source)
    assert labelled.model.bundle_id == "c" * 64
    assert labelled.episodes == ("demo_2",)
    assert len(open_dataset(source).episodes) == 4


def test_all_episodes_must_be_labelled_unless_some_may_be_missing(tmp_path: Path, source: Path) -> None:
    writer, dataset = open_writer(source, tmp_path / "out.hdf5")
    with pytest.raises(DatasetError, match="4 episodes are not labelled yet: demo_0, demo_1"):
        writer.finish(allow_missing=True)
    writer.add(dataset.episodes[3], make_labels(12))
    with pytest.raises(DatasetError, match="3 episodes are not labelled yet: demo_0"):
        writer.finish()
    writer.finish(allow_missing=True)
    labelled = open_dataset(tmp_path / "out.hdf5")
    assert [episode.name for episode in labelled.episodes] == ["demo_3"]
    assert labelled.masks == {"train": (), "valid": ("demo_3",)}


def test_a_failed_episode_leaves_nothing(tmp_path: Path, source: Path) -> None:
    writer, dataset = open_writer(source, tmp_path / "out.hdf5")
    with pytest.raises(KeyboardInterrupt), writer.episode(dataset.episodes[0]):
        raise KeyboardInterrupt
    assert len(writer.pending()) == 4
    writer.close()
    assert list(tmp_path.iterdir()) == [source]


def test_episodes_may_be_written_side_by_side(tmp_path: Path, source: Path) -> None:
    writer, dataset = open_writer(source, tmp_path / "out.hdf5")
    with writer.episode(dataset.episodes[0]) as first, writer.episode(dataset.episodes[1]) as second:
        first.add_labels(make_labels(12, seed=1))
        second.add_labels(make_labels(12, seed=2))
    label(writer, 2)
    writer.finish()
    np.testing.assert_array_equal(read_labels(tmp_path / "out.hdf5", "demo_1")[0].code, make_labels(12, seed=2).code)


def test_labels_and_frames_must_fit_the_episode(tmp_path: Path) -> None:
    writer, dataset = open_writer(make_video(tmp_path / "a.mp4"), tmp_path / "out.hdf5")
    episode, frames, labels = dataset.episodes[0], make_frames(12, 8, 8), make_labels(12)
    with pytest.raises(DatasetError, match="a: got 11 labels, expected one for each of 12 frames"):
        writer.add(episode, make_labels(11), [frames])
    with pytest.raises(DatasetError, match="a: got 10 frames to keep, expected all 12"):
        writer.add(episode, labels, [frames[:10]])
    with pytest.raises(DatasetError, match="a: got 0 frames"):
        writer.add(episode, labels)
    with pytest.raises(DatasetError, match=r"a: got frames of \(4, 4\), expected \(8, 8\)"):
        writer.add(episode, labels, [frames[:6], make_frames(6, 4, 4)])
    with pytest.raises(DatasetError, match=r"codes up to \d+, expected 4 and at most 7"):
        writer.add(episode, make_labels(12, codes=60_000), [frames])
    with pytest.raises(DatasetError, match="latents of 5 "):
        writer.add(episode, make_labels(12, latent_dim=5), [frames])
    with suppress(DatasetError), writer.episode(episode) as part:
        part.add_labels(labels)
        with pytest.raises(DatasetError, match="got labels from frame 0, expected 12"):
            part.add_labels(labels)
    assert pending(writer) == ["a"]


@pytest.mark.parametrize("frames", ["link", "copy", "in_place"])
def test_a_full_disk_loses_nothing(tmp_path: Path, source: Path, frames: FramesMode) -> None:
    output = source if frames == "in_place" else tmp_path / "out.hdf5"
    before = source.read_bytes()
    writer, dataset = open_writer(source, output, frames=frames)
    label(writer, 3)
    limits = resource.getrlimit(resource.RLIMIT_FSIZE)
    resource.setrlimit(resource.RLIMIT_FSIZE, (3000, limits[1]))
    try:
        with pytest.raises(DatasetError, match=r"File too large.*what was finished is kept"):
            writer.add(dataset.episodes[3], make_labels(12))
        with pytest.raises(DatasetError, match="cannot be written: File too large"):
            writer.finish(allow_missing=True)
    finally:
        resource.setrlimit(resource.RLIMIT_FSIZE, limits)
    assert source.read_bytes() == before
    assert frames == "in_place" or not output.exists()
    again, _ = open_writer(source, output, frames=frames)
    assert pending(again) == ["demo_3"]
    label(again, 1)
    again.finish()
    assert len(open_labelled(output).episodes) == 4


KILLED_RUN = """
import os, signal, sys
from pathlib import Path
from tests.factories.data import make_label_model, make_labels
from genie_core.data import LabelWriter, open_dataset
dataset = open_dataset(Path(sys.argv[1]))
writer = LabelWriter(Path(sys.argv[2]), dataset, make_label_model())
writer.add(dataset.episodes[0], make_labels(12))
with writer.episode(dataset.episodes[1]) as part:
    part.add_labels(make_labels(12))
    os.kill(os.getpid(), signal.SIGKILL)
"""


def test_a_killed_run_can_be_resumed(tmp_path: Path, source: Path) -> None:
    output = tmp_path / "out.hdf5"
    environment = {**os.environ, "PYTHONPATH": os.pathsep.join(sys.path)}
    killed = subprocess.run([sys.executable, "-c", KILLED_RUN, source, output], env=environment, check=False)
    assert killed.returncode == -signal.SIGKILL
    (tmp_path / f"out.hdf5.tmp-{os.getpid() + 1}").write_bytes(b"half of an output that was being written")
    writer, _ = open_writer(source, output)
    assert pending(writer) == ["demo_1", "demo_2", "demo_3"]
    label(writer, 3)
    writer.finish()
    assert sorted(path.name for path in tmp_path.iterdir()) == ["a.hdf5", "out.hdf5"]


@pytest.mark.parametrize(
    ("output", "frames", "message"),
    [
        ("a.hdf5", None, "is the source itself"),
        (".", None, "it is a folder, or lies in none that exists"),
        ("gone/out.hdf5", None, "it is a folder, or lies in none that exists"),
        ("out.hdf5", "in_place", "expected the source"),
        ("out.hdf5", "model", "frames: got model, expected one of link, copy, in_place, none for a robomimic source"),
    ],
)
def test_places_that_must_not_be_written_are_refused(
    tmp_path: Path, source: Path, output: str, frames: FramesMode | None, message: str
) -> None:
    before = source.read_bytes()
    with pytest.raises(DatasetError, match=message):
        open_writer(source, tmp_path / output, frames=frames, existing="overwrite")
    assert source.read_bytes() == before
    assert list(tmp_path.iterdir()) == [source]


def test_an_output_among_its_sources_must_be_known_as_one(tmp_path: Path) -> None:
    make_video(tmp_path / "a.mp4")
    with pytest.raises(DatasetError, match="lies among its sources"):
        open_writer(tmp_path, tmp_path / "out.hdf5")
    writer, _ = open_writer(tmp_path, tmp_path / "out.labelled.hdf5")
    label(writer, 1)
    writer.finish()
    assert open_writer(tmp_path, tmp_path / "out.labelled.hdf5", existing="resume")[0].pending() == []


def test_a_journal_that_cannot_be_read_is_named(tmp_path: Path, source: Path) -> None:
    (tmp_path / "out.hdf5.parts").mkdir()
    (tmp_path / "out.hdf5.parts" / "manifest.json").write_text("{}")
    with pytest.raises(DatasetError, match=r"manifest\.json: not a manifest that this version reads"):
        open_writer(source, tmp_path / "out.hdf5")


def test_files_of_others_in_the_journals_folder_stay(tmp_path: Path, source: Path) -> None:
    writer, _ = open_writer(source, tmp_path / "out.hdf5")
    (tmp_path / "out.hdf5.parts" / "notes.txt").write_text("mine")
    label(writer, 4)
    writer.finish()
    assert [path.name for path in (tmp_path / "out.hdf5.parts").iterdir()] == ["notes.txt"]


@pytest.mark.parametrize("frames", ["link", "in_place"])
@pytest.mark.parametrize("removed", [None, 0, 2, "parts", "manifest"])
@pytest.mark.parametrize("existing", ["refuse", "overwrite"])
def test_a_run_that_is_killed_after_its_output_is_there_is_finished_by_the_same_command(
    tmp_path: Path,
    source: Path,
    monkeypatch: pytest.MonkeyPatch,
    frames: FramesMode,
    removed: int | str | None,
    existing: Existing,
) -> None:
    """`removed`: how much of the journal was gone when it was killed; None: it had not begun."""
    output = source if frames == "in_place" else tmp_path / "out.hdf5"
    writer, _ = open_writer(source, output, frames=frames)
    label(writer, 4)
    folder = writer.journal.folder
    monkeypatch.setattr(Journal, "remove", lambda journal: None)  # SIGKILL, as far as the disk can tell
    writer.finish()
    monkeypatch.undo()
    before, parts = output.read_bytes(), sorted(folder.glob("*.hdf5"))
    gone = parts[:removed] if isinstance(removed, int) else parts if removed else []
    for part in gone:
        part.unlink()
    RUNNING.pop(output).journal._lock.release()
    if removed == "manifest":
        (folder / "manifest.json").unlink()
    again, dataset = open_writer(source, output, frames=frames, existing=existing)
    if existing == "refuse" or not isinstance(removed, str):
        assert again.pending() == []
    else:  # to overwrite, nothing says that it has been done already
        label(again, len(dataset.episodes))
    again.finish()
    assert existing == "overwrite" or output.read_bytes() == before
    assert len(open_labelled(output).episodes) == 4
    assert sorted(tmp_path.iterdir()) == sorted({source, output})


def test_an_output_of_before_an_unfinished_run_is_not_taken_for_that_runs_own(tmp_path: Path, source: Path) -> None:
    output = tmp_path / "out.hdf5"
    label(open_writer(source, output)[0], 4, seed=1)
    RUNNING.pop(output).finish()
    label(open_writer(source, output, existing="overwrite", created=LATER)[0], 2, seed=2)
    with pytest.raises(DatasetError, match=r"out\.hdf5: exists already; resume it, or overwrite it"):
        open_writer(source, output)
    assert pending(open_writer(source, output, existing="overwrite")[0]) == ["demo_2", "demo_3"]


def test_a_file_that_appears_while_labels_are_made_is_not_replaced(tmp_path: Path, source: Path) -> None:
    output = tmp_path / "out.hdf5"
    writer, _ = open_writer(source, output)
    label(writer, 4)
    output.write_text("precious")
    with pytest.raises(DatasetError, match=r"out\.hdf5: exists already"):
        writer.finish()
    assert output.read_text() == "precious"
    output.unlink()
    open_writer(source, output)[0].finish()
    assert len(open_labelled(output).episodes) == 4


def test_a_run_whose_output_another_machine_has_taken_over_writes_nothing_more(tmp_path: Path, source: Path) -> None:
    output = tmp_path / "out.hdf5"
    writer, _ = open_writer(source, output)
    label(writer, 2)
    owner = tmp_path / "out.hdf5.parts" / "owner.json"
    theirs = owner.read_text().replace('"machine": "', '"machine": "another ')
    owner.write_text(theirs)
    for write in (lambda: label(writer, 1), lambda: label(writer, 2)):
        with pytest.raises(DatasetError, match="no longer held by this process but by process"):
            write()
    RUNNING.pop(output).close()
    assert owner.read_text() == theirs
    assert len(list(owner.parent.glob("*.hdf5"))) == 2
    assert not output.exists()


def test_two_writers_of_one_output_never_mix_and_the_second_is_told_who_holds_it(tmp_path: Path, source: Path) -> None:
    output = tmp_path / "out.hdf5"
    first = LabelWriter(output, open_dataset(source), MODEL, step=1)
    for step in (1, 3):
        with pytest.raises(
            DatasetError, match=rf"out\.hdf5\.parts: in use: process {os.getpid()} on \S+, since 20\S+ \(\S"
        ):
            LabelWriter(output, open_dataset(source), MODEL, step=step)
    label(first, 4)
    first.finish()
    assert {open_labelled(output).labels(name)[1].step for name in open_labelled(output).episodes} == {1}
    LabelWriter(output, open_dataset(source), MODEL, step=3, existing="overwrite").close()
    assert sorted(tmp_path.iterdir()) == [source, output]


def test_a_writer_that_is_killed_holds_nothing(tmp_path: Path, source: Path) -> None:
    held = "import sys, os; from pathlib import Path; from genie_core.data.storage.lock import FolderLock; "
    held += "FolderLock(Path(sys.argv[1]), 'labels'); os.kill(os.getpid(), 9)"
    output = tmp_path / "out.hdf5"
    subprocess.run([sys.executable, "-c", held, f"{output}.parts"], check=False)
    assert (tmp_path / "out.hdf5.parts" / "owner.json").exists()
    label(open_writer(source, output)[0], 4)
    RUNNING.pop(output).finish()
    assert sorted(tmp_path.iterdir()) == [source, output]
