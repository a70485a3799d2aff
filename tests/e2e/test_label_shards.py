"""`genie label --shard` and `--merge` as Slurm and Kubernetes run them, against one real server."""

from __future__ import annotations

import signal
import subprocess
from pathlib import Path

import h5py
import numpy as np
import pytest
import yaml

from genie_client.embedded import embedded_server
from genie_core.data import open_labelled
from genie_core.data.labelled.shards import Shard, read_entry, shards_folder
from tests.factories.bundles import make_motion_bundle
from tests.factories.data import make_robomimic
from tests.support.processes import Genie
from tests.support.service_server import serving
from tests.support.waiting import wait_until

EXAMPLES = Path(__file__).resolve().parents[2] / "examples"
TIMES = {"created", "sha256"}
"""Attributes that differ from run to run: when it began, and the checksum over all of them."""


def structure(path: Path) -> dict[str, object]:
    """All groups, arrays and links of a file with their attributes, but for times, in order."""
    found: dict[str, object] = {}

    def look(name: str, group: h5py.Group) -> None:
        found[f"{name}@"] = {key: repr(value) for key, value in group.attrs.items() if key not in TIMES}
        for key in group:
            link = group.get(key, getlink=True)
            if isinstance(link, h5py.ExternalLink):
                found[f"{name}/{key}"] = (link.filename, link.path)
            elif isinstance(group[key], h5py.Group):
                look(f"{name}/{key}", group[key])
            else:
                array = group[key]
                values = np.asarray(array[()]).tobytes()
                found[f"{name}/{key}"] = (array.dtype.str, array.shape, array.chunks, array.compression, values)

    with h5py.File(path) as file:
        look("", file)
    return found


def test_three_shards_one_of_them_killed_give_the_file_of_one_process(
    genie_process: Genie, genie: Genie, models_folder: Path, server: str, tmp_path: Path
) -> None:
    data = make_robomimic(tmp_path / "lift.hdf5", episodes=11, frames=120, size=32)
    output, one = tmp_path / "lift.labelled.hdf5", tmp_path / "one.hdf5"
    words = ("label", data, "--server", server, "--jobs", "1")
    first = Shard(1, 3).file(output)
    journal = first.with_name(f"{first.name}.parts")
    # Slow, so that it is killed half way however late this process looks.
    with serving(models_folder, max_frames_per_second=120) as slow:
        address = slow.server.address
        killed = genie_process.start("label", data, "--server", address, "--jobs", "1", "--shard", "1/3")
        wait_until(lambda: any(journal.glob("*.hdf5")) or killed.poll() is not None)
        killed.send_signal(signal.SIGKILL)
        killed.communicate()
    assert not first.exists()
    for shard in ("2/3", "3/3"):
        genie.run(*words, "--shard", shard)
    assert "1 of 3 shards are not finished: 1/3" in genie.fail("label", data, "--merge")
    assert "by an earlier run" in genie.run(*words, "--shard", "1/3")
    said = genie.run("label", data, "--merge")
    assert "shard 1/3: 4 episodes, 480 frames, 476 transitions, on " in said
    assert "11 episodes of 3 shards" in said
    genie.run(*words, "--out", one)
    assert structure(output) == structure(one)
    assert output.stat().st_size == one.stat().st_size
    assert "is complete" in genie.run("label", data, "--merge")
    genie.run("verify", output)


def test_a_shard_takes_the_step_of_all_data_and_its_own_may_be_empty(genie: Genie, tmp_path: Path) -> None:
    models = tmp_path / "models"
    models.mkdir()
    make_motion_bundle(models / "motion", usual_norm=1e-3)
    data = make_robomimic(tmp_path / "lift.hdf5", episodes=2, frames=20, size=32)
    output = tmp_path / "lift.labelled.hdf5"
    with embedded_server(models) as address:
        for number in (3, 2, 1):  # the empty one comes first, and finds the step of what others label
            said = genie.run("label", data, "--server", address, "--shard", f"{number}/3")
            assert f"step: 1 frames of 10 frames/s, 0.1 s: {'the shortest' if number == 3 else 'as an'}" in said
    entries = [read_entry(Shard(number, 3).entry(output)) for number in (1, 2, 3)]
    assert [len(entry.episodes) for entry in entries] == [1, 1, 0]
    assert {entry.plan.settings.auto_steps for entry in entries} == {((10.0, 1),)}
    assert {e.step_policy for entry in entries for e in entry.episodes} == {"auto"}
    genie.run("label", data, "--merge")
    assert len(open_labelled(output).episodes) == 2


def test_what_does_not_go_together_is_refused(genie: Genie, server: str, tmp_path: Path) -> None:
    data = make_robomimic(tmp_path / "lift.hdf5", episodes=3)
    words = ("label", data, "--server", server)
    assert "expected I/N" in genie.fail(*words, "--shard", "4/3")
    assert "--shard: got it with --in-place" in genie.fail(*words, "--shard", "1/3", "--in-place")
    refused = genie.fail(*words, "--merge", "--shard", "1/3")
    assert "--merge: got it with --shard, --server: leave that out" in refused
    assert "got no shards" in genie.fail("label", data, "--merge")
    assert not shards_folder(tmp_path / "lift.labelled.hdf5").exists()


def test_the_script_for_slurm_is_bash_and_labels_its_part(tmp_path: Path) -> None:
    script = EXAMPLES / "label_slurm.sh"
    subprocess.run(["bash", "-n", script], check=True)
    genie = tmp_path / "genie"
    genie.write_text('#!/bin/sh\necho "$@"\n')
    genie.chmod(0o755)
    environment = {
        "PATH": f"{tmp_path}:/usr/bin:/bin",
        "SLURM_ARRAY_TASK_ID": "3",
        "SLURM_ARRAY_TASK_COUNT": "8",
        "SLURM_CPUS_PER_TASK": "4",
    }
    run = subprocess.run(
        ["bash", script, "/data/x", "/out/x.labelled.hdf5"], env=environment, capture_output=True, text=True, check=True
    )
    out = ["--out", "/out/x.labelled.hdf5"]
    assert run.stdout.split() == ["label", "/data/x", *out, "--shard", "3/8", "--skip-bad"]


def test_the_kubernetes_job_labels_each_part_once() -> None:
    kubernetes_validate = pytest.importorskip("kubernetes_validate")
    documents = list(yaml.safe_load_all((EXAMPLES / "label_kubernetes.yaml").read_text(encoding="utf-8")))
    for document in documents:
        kubernetes_validate.validate(document, "1.30", strict=True)
    (job,) = documents
    spec = job["spec"]
    assert (spec["completionMode"], spec["completions"]) == ("Indexed", spec["parallelism"])
    command = spec["template"]["spec"]["containers"][0]["args"][0]
    assert f"--shard $((JOB_COMPLETION_INDEX + 1))/{spec['completions']}" in command
    subprocess.run(["bash", "-n", "-c", command], check=True)
