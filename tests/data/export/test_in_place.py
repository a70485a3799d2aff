"""Labels added to a LeRobot dataset itself: columns, features, statistics; videos stay; whatever kills it."""

from __future__ import annotations

import json
import os
import signal
import subprocess
import sys
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

import numpy as np
import pyarrow.parquet as pq
import pytest

from genie_core.data import LabelAlignment, Labels, LabelWriter, open_dataset, open_labelled
from genie_core.data.export.in_place import add_labels, carries_feature, is_added, labels_beside
from genie_core.data.export.run import ExportPlan, export_labels
from genie_core.data.formats.lerobot.writer_stats import number_stats
from genie_core.errors import DatasetError
from tests.factories.data import make_label_model, make_labels
from tests.factories.lerobot import LENGTHS, TOP, make_lerobot_v21, make_lerobot_v30

VERSIONS = {"v2.1": make_lerobot_v21, "v3.0": make_lerobot_v30}


def label(folder: Path, seed: int = 0, alignment: LabelAlignment | None = None) -> Path:
    dataset = open_dataset(folder)
    model = make_label_model()
    created = datetime(2026, 1, 1, second=seed, tzinfo=UTC)  # labels of one second count as made by one run
    with LabelWriter(
        labels_beside(folder), dataset, model, frames="none", alignment=alignment, created=created
    ) as writer:
        for number, episode in enumerate(writer.pending()):
            labels = make_labels(episode.num_frames, seed=seed + number)
            if alignment is not None:
                action = np.full((len(labels), 2), number, np.float32)
                labels = Labels(0, labels.code, labels.latent, labels.confidence, labels.valid, action=action)
            writer.add(episode, labels)
        return writer.finish()


def contents(folder: Path) -> dict[str, bytes]:
    return {str(path.relative_to(folder)): path.read_bytes() for path in sorted(folder.rglob("*")) if path.is_file()}


def videos(folder: Path) -> dict[str, tuple[int, bytes]]:
    return {str(path.relative_to(folder)): (path.stat().st_ino, path.read_bytes()) for path in folder.rglob("*.mp4")}


@pytest.mark.parametrize("version", VERSIONS)
def test_labels_are_columns_of_the_dataset_and_no_video_is_made_again(tmp_path: Path, version: str) -> None:
    folder = VERSIONS[version](tmp_path / "set")
    labels, before = label(folder), videos(folder)
    old_rows = {path.name: pq.read_table(path) for path in (folder / "data").rglob("*.parquet")}
    wanted = {name: open_labelled(labels).labels(name)[0] for name in open_labelled(labels).episodes}
    assert not carries_feature(folder)
    add_labels(labels, folder)
    assert carries_feature(folder)
    assert is_added(labels, folder)
    assert videos(folder) == before
    for path in (folder / "data").rglob("*.parquet"):
        rows = pq.read_table(path)
        assert rows.select(old_rows[path.name].column_names).equals(old_rows[path.name])
    dataset = open_dataset(folder)
    for episode, found in zip(dataset.episodes, wanted.values(), strict=True):
        np.testing.assert_array_equal(episode.array("latent_action"), found.code)
        np.testing.assert_array_equal(episode.array("latent_action.latent"), found.latent)
        np.testing.assert_array_equal(episode.array("latent_action.confidence"), found.confidence)
        np.testing.assert_array_equal(episode.array("latent_action.valid"), found.valid)
    info = json.loads((folder / "meta/info.json").read_text())
    assert info["features"]["latent_action"] == {"dtype": "int64", "shape": [1], "names": ["code"]}
    assert info["genie"]["bundle_name"] == make_label_model().bundle_name
    back = tmp_path / "back.hdf5"
    export_labels(folder, back, ExportPlan("robomimic"))
    for name, found in wanted.items():
        np.testing.assert_array_equal(open_labelled(back).labels(name)[0].latent, found.latent)


def test_statistics_join_those_of_the_dataset(tmp_path: Path) -> None:
    folder = make_lerobot_v30(tmp_path / "set")
    kept = ("min", "max", "mean", "std", "count")
    stats = {"action": {name: [0.0, 0.0] for name in kept}}
    (folder / "meta/stats.json").write_text(json.dumps(stats))
    labels = label(folder)
    add_labels(labels, folder)
    codes = np.concatenate([open_labelled(labels).labels(name)[0].code for name in open_labelled(labels).episodes])
    found = json.loads((folder / "meta/stats.json").read_text())
    assert found["action"] == stats["action"]
    assert set(found["latent_action"]) == set(kept)
    assert found["latent_action"]["mean"] == pytest.approx([codes.mean()])
    assert found["latent_action"]["count"] == [sum(LENGTHS)]
    (listed,) = (folder / "meta/episodes").rglob("*.parquet")
    rows = pq.read_table(listed).to_pylist()
    wanted = number_stats(codes[: LENGTHS[0]].astype(np.int64))
    assert rows[0]["stats/latent_action/max"] == wanted["max"].tolist()


def test_labels_are_replaced_not_added_twice(tmp_path: Path) -> None:
    folder = make_lerobot_v30(tmp_path / "set")
    labels = label(folder)
    add_labels(labels, folder)
    labels.unlink()
    labels = label(folder, seed=7)
    assert not is_added(labels, folder)
    add_labels(labels, folder)
    (path,) = (folder / "data").rglob("*.parquet")
    assert pq.read_table(path).column_names.count("latent_action") == 1
    np.testing.assert_array_equal(
        open_dataset(folder).episodes[0].array("latent_action"), open_labelled(labels).labels("demo_0")[0].code
    )


@pytest.mark.parametrize("has_actions", [True, False])
def test_decoded_actions_are_the_action_only_where_there_is_none(tmp_path: Path, has_actions: bool) -> None:
    folder = make_lerobot_v21(tmp_path / "set")
    if not has_actions:
        for path in (folder / "data").rglob("*.parquet"):
            pq.write_table(pq.read_table(path).drop_columns(["action"]), path)
        info = json.loads((folder / "meta/info.json").read_text())
        del info["features"]["action"]
        (folder / "meta/info.json").write_text(json.dumps(info))
    before = open_dataset(folder).episodes[1].actions
    add_labels(label(folder, alignment=LabelAlignment("arm", "a" * 64, ("x", "y"))), folder)
    episode = open_dataset(folder).episodes[1]
    np.testing.assert_array_equal(episode.array("latent_action.action"), np.ones((LENGTHS[1], 2)))
    np.testing.assert_array_equal(episode.actions, before if has_actions else np.ones((LENGTHS[1], 2)))
    said = json.loads((folder / "meta/info.json").read_text())["genie"]["action"]
    assert said == ("robot" if has_actions else "decoded")


def test_pictures_in_the_rows_stay_as_they_are(tmp_path: Path) -> None:
    folder = make_lerobot_v21(tmp_path / "set", dtype="image")
    before = [episode.frames() for episode in open_dataset(folder).episodes]
    add_labels(label(folder), folder)
    for episode, frames in zip(open_dataset(folder).episodes, before, strict=True):
        np.testing.assert_array_equal(episode.frames(), frames)


def test_an_episode_without_labels_stops_it(tmp_path: Path) -> None:
    folder = make_lerobot_v21(tmp_path / "set")
    dataset = open_dataset(folder)
    with LabelWriter(labels_beside(folder), dataset, make_label_model(), frames="none") as writer:
        writer.add(dataset.episodes[0], make_labels(LENGTHS[0]))
        labels = writer.finish(allow_missing=True)
    before = contents(folder)
    with pytest.raises(DatasetError, match="episode_000001 has no labels for 5 frames"):
        add_labels(labels, folder)
    assert contents(folder) == before


_KILLED = """
import os, signal, sys
from pathlib import Path
import pyarrow.parquet
from genie_core.data.export.in_place import add_labels
from genie_core.data.storage import atomic

labels, folder, how = Path(sys.argv[1]), Path(sys.argv[2]), sys.argv[3]
steps = 0

def counted(name, kill_at):
    kept = getattr(os, name)
    def step(*words, **options):
        global steps
        steps += 1
        if steps == kill_at:
            os.kill(os.getpid(), signal.SIGKILL)
        return kept(*words, **options)
    setattr(os, name, step)

for kill_at in range(1, 400, 4):
    pid = os.fork()
    if pid == 0:
        if how == "plain":
            atomic._exchange = lambda one, other: False
        for name in ("link", "fsync", "rename", "replace", "mkdir", "unlink", "rmdir"):
            counted(name, kill_at)
        add_labels(labels, folder)
        os._exit(0)
    ended = os.waitstatus_to_exitcode(os.waitpid(pid, 0)[1])
    there = folder.is_dir()
    atomic.clear_leftovers(folder.parent)
    state = "new" if (folder / "meta/genie.json").is_file() else "old"
    whole = len(pyarrow.parquet.read_table(folder / "data")) == 7 and len(list(folder.rglob("*.mp4"))) > 0
    columns = "latent_action" in pyarrow.parquet.read_table(folder / "data").column_names
    print(ended, there, state, whole, columns, flush=True)
    if ended == 0 or state == "new":
        break
"""


@pytest.mark.parametrize("how", ["exchange", "plain"])
def test_killed_at_any_step_it_is_the_old_dataset_or_the_new(tmp_path: Path, how: str) -> None:
    folder = make_lerobot_v30(tmp_path / "set", lengths=(4, 3))
    labels, old = label(folder), contents(folder)
    command = [sys.executable, "-c", _KILLED, str(labels), str(folder), how]
    lines = subprocess.run(command, check=True, stdout=subprocess.PIPE, text=True).stdout.splitlines()
    found = [line.split() for line in lines]
    assert len(found) > 3
    assert {ended for ended, *_ in found[:-1]} == {str(-signal.SIGKILL)}
    assert [state for _, _, state, _, _ in found] == ["old"] * (len(found) - 1) + ["new"]
    assert all(whole == "True" for _, _, _, whole, _ in found)
    assert all((columns == "True") == (state == "new") for _, _, state, _, columns in found)
    if how == "exchange":
        assert all(there == "True" for _, there, _, _, _ in found)
    assert is_added(labels, folder)
    assert contents(folder).keys() == old.keys() | {"meta/genie.json"} | ({"meta/stats.json"} & contents(folder).keys())
    assert [path.name for path in tmp_path.iterdir() if ".genie-" in path.name] == []


def test_links_of_a_hub_cache_stay_links(tmp_path: Path) -> None:
    folder = make_lerobot_v30(tmp_path / "set")
    video = next(folder.rglob("*.mp4"))
    blob = tmp_path / "blob"
    video.rename(blob)
    video.symlink_to(os.path.relpath(blob, video.parent))
    add_labels(label(folder), folder)
    assert video.is_symlink()
    assert len(open_dataset(folder, camera=TOP).episodes[0].frames()) == LENGTHS[0]


def test_a_newer_minor_version_is_read_and_said(tmp_path: Path) -> None:
    from genie_core.data import inspect_dataset

    folder = make_lerobot_v30(tmp_path / "set")
    info: dict[str, Any] = json.loads((folder / "meta/info.json").read_text())
    (folder / "meta/info.json").write_text(json.dumps(info | {"codebase_version": "v3.1"}))
    report = inspect_dataset(folder)
    assert report.can_label
    assert any("v3.1 is newer than v3.0, and is read as it" in warning for warning in report.warnings)
    add_labels(label(folder), folder)
    (folder / "meta/info.json").write_text(json.dumps(info | {"codebase_version": "v4.0"}))
    with pytest.raises(DatasetError, match=r"got v4\.0, expected one of"):
        open_dataset(folder)
