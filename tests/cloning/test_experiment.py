"""The whole experiment on a drawn task: what is kept, gone on with, and never seen."""

from __future__ import annotations

import json
import shutil
from dataclasses import dataclass

import h5py
import numpy as np
import pytest

from genie_core.cloning.experiment import prepare, run_experiment, run_job
from genie_core.cloning.plan import METHODS, CloningConfig, Condition, Extent, conditions, units
from genie_core.cloning.policy import PolicyConfig
from genie_core.cloning.report import make_report, write_report
from genie_core.cloning.store import Store
from genie_core.errors import DatasetError, ModelError
from genie_core.models.bundle import load_bundle
from tests.factories.bundles import make_motion_bundle, make_nano_bundle
from tests.support.dot_task import DotTask

CONFIG = CloningConfig(demonstrations=6, policy=PolicyConfig(steps=4, batch=8))
METHODS_OF_ALL = tuple(method for method in METHODS if method != "fine")
EXTENT = Extent(methods=METHODS_OF_ALL, labelled=(5, 20), seeds=1, episodes=3)


def ignore(part, done, total):
    pass


def run_here(bundle, config, extent, folder):
    """`run_experiment` without processes of their own, which take seconds to start."""
    for job in prepare(DotTask(), bundle, config, extent, folder, 1, ignore):
        run_job(job)


@pytest.fixture(scope="module")
def bundle(tmp_path_factory):
    return load_bundle(make_nano_bundle(tmp_path_factory.mktemp("bundle") / "nano"))


@pytest.fixture(scope="module")
def run(bundle, tmp_path_factory):
    folder = tmp_path_factory.mktemp("bc") / "out"
    run_here(bundle, CONFIG, EXTENT, folder)
    return folder


def contents(folder):
    return {
        path.relative_to(folder): path.read_bytes()
        for part in ("results", "policies")
        for path in sorted((folder / part).iterdir())
    }


def test_each_condition_has_a_file_and_each_policy(run):
    assert {path.stem for path in (run / "results").iterdir()} == {c.key for c in conditions(EXTENT)}
    assert {path.stem for path in (run / "policies").iterdir()} == {
        "oracle-0", "codes-0", "latents-0", "vpt-5-0", "vpt-20-0", "flow_codes-0", "flow-0", "labels-5-0",
        "labels-20-0",
    }  # fmt: skip
    found = json.loads((run / "results" / "latents-20-0.json").read_text())
    assert len(found["steps"]) == EXTENT.episodes
    assert set(found["steps"]) <= {-1, *range(1, DotTask().max_steps + 1)}


def test_conditions_that_share_a_policy_are_one_job():
    assert [[c.key for c in unit] for unit in units(EXTENT)] == [
        ["oracle-0"], ["codes-5-0", "codes-20-0", "expected-5-0", "expected-20-0"],
        ["latents-5-0", "latents-20-0"], ["vpt-5-0"], ["vpt-20-0"], ["flow_codes-5-0", "flow_codes-20-0"],
        ["flow-5-0", "flow-20-0"], ["labels-5-0"], ["labels-20-0"],
        ["random-0"],
    ]  # fmt: skip


def test_interrupted_and_with_more_processes_it_ends_with_the_same_bytes(run, bundle, tmp_path):
    folder = tmp_path / "out"
    shutil.copytree(run, folder)
    for name in ("results/oracle-0.json", "results/codes-20-0.json", "policies/codes-0.safetensors"):
        (folder / name).unlink()
    run_experiment(DotTask(), bundle, CONFIG, EXTENT, folder, 2, ignore)
    assert contents(folder) == contents(run)


def test_more_starts_and_seeds_go_on_from_what_is_there(run, bundle, tmp_path):
    folder = tmp_path / "out"
    shutil.copytree(run, folder)
    more = EXTENT.model_copy(update={"episodes": 5, "seeds": 2, "methods": ("oracle", "random")})
    run_here(bundle, CONFIG, more, folder)
    store = Store(folder)
    before = json.loads((run / "results" / "random-0.json").read_text())["steps"]
    assert store.results(Condition("random", 0, 0))[:3] == before
    assert len(store.results(Condition("random", 0, 1))) == 5
    assert contents(folder).items() >= {k: v for k, v in contents(run).items() if "oracle-0.saf" in str(k)}.items()


def test_what_learns_latent_actions_never_sees_an_action(run, bundle, tmp_path):
    """With all actions of the demonstrations replaced, its policies are the same bytes; the oracle's is not."""
    folder = tmp_path / "out"
    shutil.copytree(run, folder)
    for path in [*(folder / "results").iterdir(), *(folder / "policies").iterdir()]:
        path.unlink()
    with h5py.File(folder / "demonstrations.hdf5", "r+") as file:
        for demo in file["data"].values():
            demo["actions"][:] = np.random.default_rng(7).uniform(-1, 1, demo["actions"].shape)
    run_here(bundle, CONFIG, EXTENT, folder)
    some, other = contents(run), contents(folder)
    changed = {path.stem for path in some if path.suffix == ".safetensors" and some[path] != other[path]}
    assert changed == {"oracle-0", "vpt-5-0", "vpt-20-0", "labels-5-0", "labels-20-0"}


@dataclass(frozen=True)
class Broken(DotTask):
    def environment(self):
        raise DatasetError("no renderer here")


def test_what_fails_in_a_worker_is_told(run, bundle, tmp_path):
    extent = EXTENT.model_copy(update={"methods": ("random",)})
    with pytest.raises(DatasetError, match="no renderer here"):
        run_experiment(Broken(), bundle, CONFIG, extent, tmp_path / "out", 2, ignore)


def test_another_experiment_in_the_folder_is_refused(run, bundle):
    other = CONFIG.model_copy(update={"demonstrations": 7})
    with pytest.raises(DatasetError, match="demonstrations: 6 there, 7 now"):
        run_here(bundle, other, EXTENT, run)


def test_more_labels_than_steps_are_refused(bundle, tmp_path):
    with pytest.raises(DatasetError, match="got 1000, the demonstrations have 48 transitions"):
        run_here(bundle, CONFIG, EXTENT.model_copy(update={"labelled": (1000,)}), tmp_path / "out")


def test_each_method_is_compared_with_each_rival_by_pairs(run):
    report = make_report(Store(run), 10, EXTENT)
    assert {(r.method, r.rival) for r in report.rivals} == {
        (method, rival) for method in ("expected", "latents") for rival in ("vpt", "flow_codes", "flow", "labels")
    }
    row = next(r for r in report.rivals if (r.method, r.rival, r.labelled) == ("latents", "vpt", 20))
    assert row.difference == pytest.approx(report.row("latents", 20).success - report.row("vpt", 20).success)
    verdicts = [row.model_copy(update={"ci95": ci95}).verdict for ci95 in ((0.1, 0.2), (-0.2, -0.1), (-0.1, 0.2))]
    assert verdicts == ["✓ better", "✗ worse", "no difference shown"]


def test_fine_codes_of_a_bundle_that_keeps_length(tmp_path):
    motion = load_bundle(make_motion_bundle(tmp_path / "motion", usual_norm=0.1))
    extent = Extent(methods=("fine", "latents"), labelled=(20,), seeds=1, episodes=2)
    run_here(motion, CONFIG, extent, tmp_path / "out")
    assert len(Store(tmp_path / "out").results(Condition("fine", 20, 0))) == 2
    assert len(Store(tmp_path / "out").results(Condition("latents", 20, 0))) == 2


def test_fine_codes_of_a_bundle_without_are_refused(bundle, tmp_path):
    extent = EXTENT.model_copy(update={"methods": ("fine",)})
    with pytest.raises(ModelError, match="nano: it has no fine codes"):
        run_here(bundle, CONFIG, extent, tmp_path / "out")


def test_a_bundle_of_another_rate_is_refused(bundle, tmp_path):
    with pytest.raises(ModelError, match=r"nano: got a bundle of 10 frames/s, expected 30"):
        prepare(DotTask(fps=30.0), bundle, CONFIG, EXTENT, tmp_path / "out", 1, ignore)


def test_a_folder_that_is_a_file_is_refused(bundle, tmp_path):
    (tmp_path / "out").write_text("mine")
    with pytest.raises(DatasetError, match="it is a file, expected a folder"):
        run_here(bundle, CONFIG, EXTENT, tmp_path / "out")


def test_the_report_counts_what_the_files_say(run, tmp_path):
    report = make_report(Store(run), 10, EXTENT)
    assert [(r.method, r.labelled) for r in report.rows] == [
        ("oracle", 0), ("codes", 5), ("codes", 20), ("expected", 5), ("expected", 20),
        ("latents", 5), ("latents", 20), ("vpt", 5), ("vpt", 20), ("flow_codes", 5), ("flow_codes", 20), ("flow", 5),
        ("flow", 20), ("labels", 5), ("labels", 20),
        ("random", 0),
    ]  # fmt: skip
    steps = json.loads((run / "results" / "codes-5-0.json").read_text())["steps"]
    assert report.rows[1].success == pytest.approx(sum(s > 0 for s in steps) / 3)
    write_report(tmp_path, report)
    assert json.loads((tmp_path / "report.json").read_text())["rows"][0]["method"] == "oracle"
    assert (tmp_path / "bc.svg").read_text().count("<polyline") == 9
    assert (tmp_path / "bc.md").read_text().count("\n| ") == 17 + 18


def test_a_report_of_an_unfinished_experiment_pairs_the_seeds_that_there_are(run, tmp_path):
    folder = tmp_path / "out"
    shutil.copytree(run, folder)
    store = Store(folder)
    store.write_results(Condition("random", 0, 1), [-1, 4, -1])
    report = make_report(store, 10, EXTENT.model_copy(update={"seeds": 2}))
    row = report.row("random")
    assert (row.seeds, row.success) == (2, pytest.approx(row.by_seed[0] / 2 + 1 / 6))
    assert row.against_oracle == pytest.approx(row.by_seed[0] - report.row("oracle").success)
    (folder / "results" / "oracle-0.json").unlink()
    assert make_report(store, 10, EXTENT).row("random").against_oracle is None
