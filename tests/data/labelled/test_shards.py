"""Shards: a split that machines agree on without asking, and one file of many, as one process would have made it."""

from __future__ import annotations

import json
import shutil
from collections.abc import Callable
from datetime import UTC, datetime
from itertools import chain
from pathlib import Path

import h5py
import pytest
from hypothesis import given
from hypothesis import strategies as st

from genie_core.data import Dataset, LabelModel, LabelWriter, open_dataset, open_labelled
from genie_core.data.auto_step import AutoSteps, FoundStep
from genie_core.data.labelled.journal import Manifest, journal_folder
from genie_core.data.labelled.merge import Merged, merge
from genie_core.data.labelled.shards import (
    OtherStepsError,
    Shard,
    agreed_steps,
    begin_shards,
    join,
    read_entry,
    record,
    shards_folder,
)
from genie_core.errors import DatasetError
from tests.factories.data import make_label_model, make_robomimic, make_video
from tests.factories.labelled import make_labels

NOON = datetime(2026, 1, 1, 12, tzinfo=UTC)
MODEL = make_label_model()


@pytest.fixture
def source(tmp_path: Path) -> Path:
    return make_robomimic(tmp_path / "lift.hdf5", episodes=7, size=16)


@pytest.fixture
def output(tmp_path: Path) -> Path:
    return tmp_path / "lift.labelled.hdf5"


def write(
    place: Path, dataset: Dataset, *, skip: str | None = None, model: LabelModel = MODEL, step: int | None = None
) -> Manifest:
    """Label `dataset` into `place`, with labels that differ from episode to episode and not from run to run."""
    with LabelWriter(place, dataset, model, created=NOON, step=step, existing="resume") as writer:
        for episode in writer.pending():
            if episode.name != skip:
                code = sum(episode.name.encode()) % 8
                labels = make_labels(episode.num_frames, writer.step(episode).step, code)
                chunks = episode.chunks(5) if writer.settings.frames == "model" else ()
                writer.add(episode, labels, chunks)
        if len(writer.pending()) < len(dataset.episodes):
            writer.finish(allow_missing=True)
        return writer.settings


def write_shard(shard: Shard, output: Path, source: Path, skip: str | None = None, step: int | None = None) -> None:
    dataset = open_dataset(source)
    begin_shards(output)
    settings = write(shard.file(output), shard.part(dataset), skip=skip, step=step)
    plan = join(output, shard, dataset.episodes, settings)
    skipped = [(e.name, "bad") for e in shard.episodes(dataset.episodes) if e.name == skip]
    record(output, shard, plan, MODEL.bundle_name, skipped)


def write_shards(count: int, output: Path, source: Path, skip: str | None = None) -> None:
    for number in range(1, count + 1):
        write_shard(Shard(number, count), output, source, skip)


def merged(output: Path, source: Path, *, overwrite: bool = False) -> Merged:
    return merge(output, open_dataset(source), overwrite=overwrite)


@given(episodes=st.integers(0, 300), count=st.integers(1, 70))
def test_shards_part_the_episodes_in_order_and_evenly(episodes: int, count: int) -> None:
    every = list(range(episodes))
    parts = [Shard(number, count).episodes(every) for number in range(1, count + 1)]
    assert sorted(chain.from_iterable(parts)) == every
    assert all(part == sorted(part) for part in parts)
    assert max(map(len, parts)) - min(map(len, parts)) <= 1


@pytest.mark.parametrize("words", ["0/3", "4/3", "1/0", "3", "1/2/3", "-1/3", "1/1000000", "one/two", "1 / 3", "١/٣"])
def test_what_is_no_shard_is_refused(words: str) -> None:
    with pytest.raises(DatasetError, match=r"shard: got .*expected I/N"):
        Shard.parse(words)
    assert Shard.parse("3/8") == Shard(3, 8)


@pytest.mark.parametrize("count", [1, 2, 3, 9])
def test_the_merged_file_is_byte_for_byte_what_one_process_writes(tmp_path: Path, source: Path, count: int) -> None:
    one, many = tmp_path / "one.hdf5", tmp_path / "many.hdf5"
    write(one, open_dataset(source))
    write_shards(count, many, source)
    assert merged(many, source).episodes == 7
    assert many.read_bytes() == one.read_bytes()


def test_so_it_is_with_frames_of_video_and_an_episode_left_out(tmp_path: Path) -> None:
    clips = tmp_path / "clips"
    clips.mkdir()
    for number in range(5):
        make_video(clips / f"{number}.mp4", frames=6 + number, size=(32, 32), fps=10)
    one, many = tmp_path / "one.hdf5", tmp_path / "many.hdf5"
    write(one, open_dataset(clips), skip="3")
    write_shards(2, many, clips, skip="3")
    done = merged(many, clips)
    assert (done.episodes, done.skipped) == (4, (("3", "bad"),))
    assert many.read_bytes() == one.read_bytes()
    assert merged(many, clips).was_complete


def test_an_entry_says_who_did_what_with_which_checksums(output: Path, source: Path) -> None:
    write_shards(3, output, source)
    entry = read_entry(Shard(2, 3).entry(output))
    assert [episode.name for episode in entry.episodes] == ["demo_1", "demo_4"]
    assert {(e.frames, e.transitions, e.step, e.step_policy) for e in entry.episodes} == {(12, 11, 1, "rates")}
    assert entry.plan.settings.bundle_id == MODEL.bundle_id
    assert entry.host
    with h5py.File(Shard(2, 3).file(output)) as file:
        sums = [file[f"data/{name}/latent_actions"].attrs["sha256"] for name in ("demo_1", "demo_4")]
    assert [episode.sha256 for episode in entry.episodes] == sums


def test_merging_again_changes_nothing_and_another_output_is_kept(output: Path, source: Path) -> None:
    write_shards(2, output, source)
    assert not merged(output, source).was_complete
    before = (output.stat().st_ino, output.stat().st_mtime_ns)
    assert merged(output, source).was_complete
    assert (output.stat().st_ino, output.stat().st_mtime_ns) == before
    with h5py.File(output, "r+") as file:
        file["data/demo_3/latent_actions/code"][0] += 1
    with pytest.raises(DatasetError, match=r"exists already, and holds other labels; --overwrite"):
        merged(output, source)
    assert not merged(output, source, overwrite=True).was_complete
    assert open_labelled(output).is_intact("demo_3")


def test_a_merge_that_is_killed_after_or_before_its_last_step_is_merged_again(
    output: Path, source: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    class Killed(BaseException):
        pass

    def die(*_: object) -> None:
        raise Killed

    write_shards(2, output, source)
    for step in ("writer.LabelWriter._write_output", "journal.Journal.remove"):
        with monkeypatch.context() as patch:
            patch.setattr(f"genie_core.data.labelled.{step}", die)
            patch.setattr("genie_core.data.labelled.journal.Journal.close", lambda self: self._lock.release())
            with pytest.raises(Killed):
                merged(output, source)
        assert output.exists() == (step == "journal.Journal.remove")
        assert journal_folder(output).is_dir()
    assert merged(output, source).was_complete
    assert not journal_folder(output).exists()


def _lose(output: Path) -> None:
    Shard(2, 3).entry(output).unlink()


def _lose_file(output: Path) -> None:
    Shard(2, 3).file(output).unlink()


def _add_foreign(output: Path) -> None:
    shutil.copy(Shard(2, 3).entry(output), shards_folder(output) / "shard-2-of-4.json")


def _swap(output: Path) -> None:
    shutil.copy(Shard(2, 3).entry(output), Shard(3, 3).entry(output))


def _mix(output: Path) -> None:
    path = Shard(2, 3).entry(output)
    entry = json.loads(path.read_text())
    entry["plan"]["settings"]["bundle_id"] = "ef" * 32
    path.write_text(json.dumps(entry))


def _drop(output: Path) -> None:
    path = Shard(2, 3).entry(output)
    entry = json.loads(path.read_text())
    del entry["episodes"][0]
    path.write_text(json.dumps(entry))


def _tear(output: Path) -> None:
    Shard(2, 3).entry(output).write_text("{")


def _damage(output: Path) -> None:
    with h5py.File(Shard(2, 3).file(output), "r+") as file:
        file["data/demo_4/latent_actions/latent"][3] += 1


def _replace(output: Path) -> None:
    shutil.copy(Shard(1, 3).file(output), Shard(2, 3).file(output))


@pytest.mark.parametrize(
    ("spoil", "words"),
    [
        (_lose, r"1 of 3 shards are not finished: 2/3; run them with --shard"),
        (_lose_file, r"shard-2-of-3.labelled.hdf5"),
        (_add_foreign, r"shard-2-of-4.json: is not of these 3 shards"),
        (_swap, r"shard-3-of-3.json: is of other shards \(shard: got 2, expected 3\)"),
        (_mix, r"shard-2-of-3.json: is of other shards \(bundle_id: got efef"),
        (_drop, r"shard-2-of-3.json: got other episodes than those of shard 2/3"),
        (_tear, r"shard-2-of-3.json: not a shard's entry"),
        (_damage, r"shard-2-of-3.labelled.hdf5: demo_4: got labels of SHA-256 .* run shard 2/3 again"),
        (_replace, r"shard-2-of-3.labelled.hdf5: demo_0: got labels of SHA-256 .* expected none"),
    ],
)
def test_what_is_missing_foreign_mixed_or_damaged_is_refused_and_mended_by_running_it_again(
    output: Path, source: Path, spoil: Callable[[Path], None], words: str
) -> None:
    write_shards(3, output, source)
    spoil(output)
    with pytest.raises(DatasetError, match=words):
        merged(output, source)
    assert not output.exists()
    (shards_folder(output) / "shard-2-of-4.json").unlink(missing_ok=True)
    if spoil is _replace:
        Shard(2, 3).file(output).unlink()
    for number in (2, 3):
        write_shard(Shard(number, 3), output, source)
    assert merged(output, source).episodes == 7


def test_data_that_have_changed_are_not_merged(output: Path, source: Path) -> None:
    write_shards(2, output, source)
    with h5py.File(source, "r+") as file:
        file["data/demo_0/obs/agentview_image"][0] = 7
    with pytest.raises(DatasetError, match="source_"):
        merged(output, source)
    with h5py.File(source, "r+") as file:
        del file["data/demo_6"]
    with pytest.raises(DatasetError, match=r"changed since the shards began: episodes: got 6"):
        merged(output, source)
    assert not output.exists()


def test_a_shard_of_another_split_or_setting_does_not_join(output: Path, source: Path) -> None:
    write_shard(Shard(1, 3), output, source)
    with pytest.raises(DatasetError, match=r"shard 1/4 is not of these shards: shards: got 4, expected 3"):
        write_shard(Shard(1, 4), output, source)
    with pytest.raises(DatasetError, match=r"shard 2/3 is not of these shards: step: got 2, expected None"):
        write_shard(Shard(2, 3), output, source, step=2)


def test_nothing_to_merge_is_said(output: Path, source: Path) -> None:
    with pytest.raises(DatasetError, match=r"got no shards of lift\.labelled\.hdf5"):
        merged(output, source)


def test_the_first_to_find_a_step_decides_for_all(output: Path, source: Path) -> None:
    dataset = open_dataset(source)
    begin_shards(output)

    def settings(step: int) -> Manifest:
        with LabelWriter(output, dataset, MODEL, auto_steps=AutoSteps((FoundStep(10.0, step),))) as writer:
            return writer.settings

    assert agreed_steps(output, MODEL.bundle_id) is None
    join(output, Shard(2, 3), dataset.episodes, settings(4))
    with pytest.raises(OtherStepsError, match="auto_steps"):
        join(output, Shard(1, 3), dataset.episodes, settings(5))
    agreed = agreed_steps(output, MODEL.bundle_id)
    assert agreed is not None
    assert agreed.pairs == ((10.0, 4),)
    assert agreed_steps(output, "cd" * 32) is None
