"""A suite from files to its report, on squares whose displacement is the action."""

from __future__ import annotations

import json
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import typer
from typer.testing import CliRunner

from genie_cli.evaluate import evaluate as command
from genie_core.data import hold_out_episodes, open_dataset
from genie_core.data.storage.location import source_path
from genie_core.errors import DatasetError
from genie_core.evaluation.suite.config import Suite, SuiteSet
from genie_core.evaluation.suite.report import to_markdown
from genie_core.evaluation.suite.rows import Reading, choose_episodes, read_rows, step_of
from genie_core.evaluation.suite.run import run_suite
from genie_core.evaluation.suite.tables import suite_tables
from genie_core.models.bundle import load_bundle
from tests.factories.bundles import make_motion_bundle, make_nano_bundle
from tests.factories.data import make_video
from tests.factories.squares import make_squares

TARGET = {"array": "obs/square", "groups": {"rows": [0], "columns": [1]}}
MOODS = {"mood": {"array": "obs/mood", "values": {"calm": [1], "wild": [2]}}}


def entry(name: str, path: str = "squares.hdf5", **changes: Any) -> SuiteSet:
    given = {"name": name, "path": path, "role": "held-out", "seconds": 0.1, **changes}
    return SuiteSet.model_validate({k: v for k, v in given.items() if v is not None})


@pytest.fixture(scope="module")
def root(tmp_path_factory: pytest.TempPathFactory) -> Path:
    folder = tmp_path_factory.mktemp("root")
    make_squares(folder / "squares.hdf5")
    make_squares(folder / "unclocked.hdf5", episodes=2, frames=5, fps=None)
    make_video(folder / "clip.mp4", frames=9, size=(32, 32), fps=10)
    return folder


@pytest.fixture(scope="module")
def bundle(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return make_nano_bundle(tmp_path_factory.mktemp("bundles") / "nano")


@pytest.fixture(scope="module")
def reading(bundle: Path) -> Reading:
    return Reading.of(load_bundle(bundle), 0)


@pytest.fixture(scope="module")
def report(tmp_path_factory: pytest.TempPathFactory, root: Path, bundle: Path) -> tuple[dict[str, Any], Path, str]:
    """What `genie evaluate --suite` writes and prints, of a set with a truth and of one without."""
    folder = tmp_path_factory.mktemp("out")
    lary = {"array": "obs/square"}
    sets = [entry("squares", robot="Square", target=TARGET, slices=MOODS, lary=lary), entry("clip", "clip.mp4")]
    suite = Suite(name="tiny", sets=tuple(sets), means={"both halves": ("squares",)})
    (folder / "suite.json").write_text(suite.model_dump_json(exclude_none=True))
    app = typer.Typer()
    app.command()(command)
    few = pytest.MonkeyPatch()  # steps: what the networks learn is test_scoring's matter
    for steps in ("networks.LARY_STEPS", "networks.SUPERVISED_STEPS", "scoring.MLP_STEPS"):
        few.setattr(f"genie_core.evaluation.suite.{steps}", 20)
    words = [bundle, "--suite", folder / "suite.json", "--data-root", root, "--out", folder / "report"]
    printed = CliRunner().invoke(app, [str(w) for w in words], catch_exceptions=False, standalone_mode=False).output
    few.undo()
    return json.loads((folder / "report" / "suite.json").read_text()), folder / "report", printed


def test_flow_reads_the_squares_motion_and_shuffled_labels_nothing(report: tuple[dict[str, Any], Path, str]) -> None:
    metrics = report[0]["sets"]["squares"]["figures"]
    assert metrics["flow_8x8_linear"]["value"] < 0.25
    assert metrics["flow_4x4_linear"]["value"] < 0.25
    assert metrics["frame_linear"]["value"] > 0.5  # where it is says only where it cannot go
    assert 0.9 < metrics["latent_shuffled"]["value"] < 1.2
    assert metrics["supervised"] is None  # after 20 steps nobody claims a bound
    assert "no claim of a bound" in report[0]["sets"]["squares"]["missing"]["supervised"]
    # The bundle is untrained: worse than flow, and it is said.
    assert metrics["latent_linear_minus_flow_8x8_linear"]["ci95"][0] > 0
    assert "✗ worse" in report[2]


def test_the_report_holds_every_kind_of_figure(report: tuple[dict[str, Any], Path, str]) -> None:
    content, folder, printed = report
    squares, clip = content["sets"]["squares"], content["sets"]["clip"]
    assert content["one_number"] == content["means"]["all"]["latent_linear"]
    assert content["one_number"]["value"] == pytest.approx(squares["figures"]["latent_linear"]["value"])
    assert set(content["means"]) == {"all", "both halves", "role: held-out", "robot: Square"}
    assert {kind: set(of) for kind, of in squares["parts"].items()} == {
        "columns": {"rows", "columns"},
        "mood": {"calm", "wild"},
        "speed": {"slow third", "middle third", "fast third"},
    }
    assert squares["figures"]["lary_latent_absolute"]["value"] > 0
    assert squares["figures"]["moving_share"]["value"] > 0.8
    for of_set in (squares, clip):
        for name in ("shake", "flicker", "pan", "jpeg", "object", "hand"):
            assert 0 <= of_set["figures"][f"unchanged_{name}"]["value"] <= 1
        assert 0 <= of_set["frozen"]["frozen_still_share"] <= 1
    assert "latent_linear" not in clip["figures"]
    assert (squares["steps"], squares["fps"], squares["episodes"]) == ([1], [10.0], 6)
    assert squares["transitions"] == 6 * 23
    page, markdown = (folder / "index.html").read_text(), (folder / "suite.md").read_text()
    for title in ("Error over variance, by set", "Means over sets", "LARY's probe", "by speed", "Labels by themselves"):
        assert title in printed
        assert title in markdown
        assert title.replace("'", "&#x27;") in page
    assert "<script" not in page


def test_changes_means_first_rows_angles_and_columns(root: Path, reading: Reading) -> None:
    episodes = choose_episodes(entry("a"), source_path(root / "squares.hdf5"), 0, 1)
    places, moves = (episodes[0].array(key) for key in ("obs/square", "actions"))
    assert places is not None
    assert moves is not None

    def truth(**target: Any) -> Any:
        rows = read_rows(reading, entry("a", seconds=None, step=3, target=target), episodes, lambda done, total: None)
        return rows[0].truth_SK

    np.testing.assert_allclose(truth(array="obs/square"), places[3:] - places[:-3])
    np.testing.assert_allclose(truth(array="obs/square", columns=[1])[:, 0], places[3:, 1] - places[:-3, 1])
    np.testing.assert_allclose(truth(array="obs/square", read="first"), places[:-3])
    np.testing.assert_allclose(3 * truth(array="actions", read="mean"), places[3:] - places[:-3])
    np.testing.assert_allclose(truth(array="obs/turn", angles=[0]), 1.5)
    assert np.abs(truth(array="obs/turn")).max() > 4


def test_strided_sets_have_transitions_that_do_not_overlap(root: Path, reading: Reading) -> None:
    episodes = choose_episodes(entry("a"), source_path(root / "squares.hdf5"), 0, 1)
    dense, strided = (
        read_rows(reading, entry("a", seconds=0.3, density=d, target=TARGET), episodes, lambda done, total: None)[0]
        for d in ("dense", "strided")
    )
    assert (len(dense), len(strided)) == (21, 7)
    np.testing.assert_array_equal(dense.truth_SK[::3], strided.truth_SK)  # type: ignore[index]
    np.testing.assert_array_equal(dense.features["flow_8x8"][::3], strided.features["flow_8x8"])
    np.testing.assert_array_equal(dense.code_S[::3], strided.code_S)
    steps = read_rows(reading, entry("a", seconds=0.1), episodes, lambda done, total: None)[0].features["flow_8x8"]
    np.testing.assert_allclose(strided.features["flow_8x8_summed"], (steps[:-2] + steps[1:-1] + steps[2:])[::3])
    np.testing.assert_array_equal(dense.features["flow_8x8_summed"][::3], strided.features["flow_8x8_summed"])


def test_a_run_repeats_itself(root: Path, bundle: Path) -> None:
    suite = Suite(name="tiny", sets=(entry("clip", "clip.mp4"),))
    first, second = (run_suite(load_bundle(bundle), suite, str(root)) for _ in range(2))
    assert first.sets[0].metrics == second.sets[0].metrics
    assert first.means == second.means == {}


@pytest.mark.parametrize(
    ("changes", "message"),
    [
        ({"path": "nowhere.hdf5"}, "no such file or folder"),
        ({"subset": "test"}, "got the subset test, expected one of: train|got the subset test, expected one of: valid"),
        ({"path": "unclocked.hdf5"}, "got no frame rate, expected `fps` or `step`"),
        ({"target": {"array": "obs/joints"}}, "got no `obs/joints`"),
        ({"target": {"array": "obs/square", "columns": [5]}}, "got column 5, expected 0 to 1"),
        ({"seconds": None, "step": 24}, "no episode is longer than one transition"),
    ],
)
def test_what_does_not_fit_is_named(root: Path, reading: Reading, changes: dict[str, Any], message: str) -> None:
    wrong = entry("a", **changes)
    with pytest.raises(DatasetError, match=message):
        read_rows(
            reading, wrong, choose_episodes(wrong, source_path(root / wrong.path), 0, 1), lambda done, total: None
        )


def test_sets_that_are_not_at_the_data_root_are_all_named(root: Path, bundle: Path) -> None:
    suite = Suite(name="mine", sets=(entry("a"), entry("b", path="far/b.hdf5"), entry("c", path="c.hdf5")))
    words = r"data root: got .*, which lacks 2 of the 3 sets of mine, .*\(--data-root\): far/b.hdf5, c.hdf5"
    with pytest.raises(DatasetError, match=words):
        run_suite(load_bundle(bundle), suite, root)


def test_seconds_become_frames(root: Path) -> None:
    episode = choose_episodes(entry("a"), source_path(root / "squares.hdf5"), 0, 1)[0]
    assert [step_of(entry("a", seconds=s), episode) for s in (0.04, 0.1, 0.26, 0.5)] == [1, 1, 3, 5]


@pytest.mark.parametrize("words", [[], ["data.hdf5", "--suite", "zoo"]])
def test_data_or_a_suite_is_given(bundle: Path, words: list[str]) -> None:
    app = typer.Typer()
    app.command()(command)
    with pytest.raises(DatasetError, match="both or neither of DATA and --suite"):
        CliRunner().invoke(app, [str(bundle), *words], catch_exceptions=False, standalone_mode=False)


def test_labels_alone_are_probed_on_the_episodes_held_out_where_a_suite_says_so(
    root: Path, tmp_path_factory: pytest.TempPathFactory
) -> None:
    motion = load_bundle(make_motion_bundle(tmp_path_factory.mktemp("bundles") / "motion"))
    suite = Suite(name="half", sets=(entry("squares", target=TARGET, hold_out=0.5),), probes="labels")
    found = run_suite(motion, suite, str(root))
    (only,) = found.sets
    assert only.episodes == 3
    labels = {"code_linear", "fine_code_linear", "latent_linear", "feature_linear"}
    assert labels | {"flow_8x8_summed_linear", "flow_8x8_linear", "flow_4x4_linear"} < set(only.metrics)
    assert not {"unchanged_shake", "frame_linear", "random_encoder_linear", "supervised"} & set(only.metrics)
    assert "fine code" in to_markdown(found)
    less = {way: of for way, of in only.metrics.items() if way != "feature_linear"}
    means = {"all": {way: of for way, of in found.means["all"].items() if way != "feature_linear"}}
    for table in suite_tables(replace(found, sets=(only, replace(only, metrics=less)), means=means)):
        assert {len(cells) for _, cells in table.rows} == {len(table.headings) - 1}, table.title  # none moves up
    held_out = {e.name for e in hold_out_episodes(open_dataset(root / "squares.hdf5").episodes, 0.5, 0)[1]}
    assert {e.name for e in choose_episodes(suite.sets[0], root / "squares.hdf5", 0, None)} == held_out
