"""The command line without a server: what it offers, how it refuses, and what its exit codes are."""

from __future__ import annotations

import json
import re
from collections.abc import Callable
from importlib.metadata import EntryPoint
from pathlib import Path

import numpy as np
import pytest

from genie_api.v1 import models_pb2
from genie_cli import app
from genie_cli.label_report import mismatch_words, print_report, step_warning
from genie_client import messages
from genie_client.bulk import LabelReport
from genie_core.data import AutoSteps, Step
from genie_core.errors import GenieError
from tests.factories.data import make_robomimic
from tests.factories.labelled import label_file

Run = Callable[..., tuple[int, str, str]]


@pytest.fixture
def run(capsys: pytest.CaptureFixture[str]) -> Run:
    """Runs `genie` in this process: exit code, standard output, standard error."""

    def run(*words: str | Path) -> tuple[int, str, str]:
        with pytest.raises(SystemExit) as ended:
            app.main([str(word) for word in words])
        said = capsys.readouterr()
        return int(ended.value.code or 0), said.out, said.err

    return run


def test_help_names_every_command_and_version_says_itself(run: Run) -> None:
    code, out, _ = run("--help")
    assert code == 0
    for command in ("demo", "inspect", "label", "view", "simulate", "models", "serve", "train"):
        assert command in out
    assert run("--version")[1].startswith("genie ")
    assert "'label'" in run("labl")[2]


def test_inspect_says_what_is_there_as_text_and_as_json(run: Run, tmp_path: Path) -> None:
    data = make_robomimic(tmp_path / "lift.hdf5")
    code, out, _ = run("inspect", data)
    assert code == 0
    assert f"can be labelled: genie label {data}" in out
    code, out, _ = run("inspect", data, "--json")
    assert (code, json.loads(out)["frames"], json.loads(out)["can_label"]) == (0, 24, True)


def test_inspect_says_what_stands_in_the_way(run: Run, tmp_path: Path) -> None:
    code, out, _ = run("inspect", make_robomimic(tmp_path / "lift.hdf5", fps=None))
    assert code == 0
    assert "warning: the frame rate of 2 episodes is unknown" in out
    assert re.search(r"frames/s +unknown *\n", out)
    code, out, _ = run("inspect", make_robomimic(tmp_path / "short.hdf5", frames=1))
    assert code == 1
    assert "cannot be labelled" in out


def test_view_knows_the_episodes_there_are(run: Run, tmp_path: Path) -> None:
    source = make_robomimic(tmp_path / "lift.hdf5", episodes=10)
    output = label_file(source).path
    code, _, err = run("view", output, "--sheet", tmp_path / "x.png")
    assert code == 0
    assert "showing 8 of 10 episodes" in err
    code, _, err = run("view", output, "--episode", "12", "--save", tmp_path / "x.rrd")
    assert (code, "there are 10, demo_0 to demo_9" in err) == (2, True)
    code, _, err = run("view", source)
    assert (code, "carries no latent actions" in err) == (2, True)


def test_contradictions_are_refused_before_anything_starts(run: Run, tmp_path: Path) -> None:
    data = make_robomimic(tmp_path / "lift.hdf5")
    for words, said in {
        ("--in-place", "--out", "x.hdf5"): "--in-place",
        ("--resume", "--overwrite"): "choose one",
        ("--server", "localhost:1", "--models", "folder"): "--models: got it with --server",
        ("--keep-frames", "model"): "robomimic source",
        ("--camera", "wrist"): "the cameras are: agentview_image",
    }.items():
        code, _, err = run("label", data, *words)
        assert (code, said in err) == (2, True), err


def test_a_command_whose_package_is_missing_says_what_to_install(run: Run, monkeypatch: pytest.MonkeyPatch) -> None:
    points = [EntryPoint("fly", "torch_of_the_future.wings:fly", app.ENTRY_POINTS)]
    monkeypatch.setattr(app, "entry_points", lambda group: points)
    monkeypatch.setitem(app._EXTRAS, "torch_of_the_future", "core")
    code, _, err = run("fly", "--high")
    assert code == 2
    assert err.startswith("error: `genie fly` needs `pip install 'genie-latent[core]'`")
    assert "fly" in run("--help")[1]


def test_a_package_that_is_not_ours_to_explain_is_a_bug(monkeypatch: pytest.MonkeyPatch) -> None:
    points = [EntryPoint("fly", "feathers:fly", app.ENTRY_POINTS)]
    monkeypatch.setattr(app, "entry_points", lambda group: points)
    with pytest.raises(ModuleNotFoundError, match="feathers"):
        app.main(["fly"])


@pytest.mark.parametrize(
    ("error", "code", "words"),
    [
        (GenieError("what is wrong"), 2, "error: what is wrong"),
        (PermissionError(13, "Permission denied", "x.mp4"), 2, "Permission denied: 'x.mp4'"),
        (KeyboardInterrupt(), 130, ""),
    ],
)
def test_errors_are_one_line_and_an_exit_code(
    run: Run, monkeypatch: pytest.MonkeyPatch, error: BaseException, code: int, words: str
) -> None:
    def fail() -> None:
        raise error

    monkeypatch.setattr(app, "view", fail)
    ended, _, err = run("fail")
    assert ended == code
    assert words in err
    assert "Traceback" not in err


def report_of(steps: set[Step]) -> LabelReport:
    info = messages.model_info(models_pb2.Model(name="models/tiny", model_fps=10, num_codes=8, precision="float32"))
    report = LabelReport(info, Path("x.hdf5"), episodes=3, found=1, labelled=1, frames=30, seconds=2.0, steps=steps)
    report.skipped.append(("demo_2", "has 1 frame [sic]"))
    report.transitions = 4
    report.histogram[:] = [4, 0, 0, 0, 0, 0, 0, 0]
    report.confidence_sum[0] = 2.0
    return report


def test_the_summary_says_everything_and_warns_of_a_rate_that_is_off(capsys: pytest.CaptureFixture[str]) -> None:
    print_report(report_of({Step(1, 15.0), Step(3, 10.0)}))
    out = " ".join(capsys.readouterr().out.split())
    for words in ("2 of 3 labelled, 1 of them by an earlier run", "15 frames/s", "100.0% 0.50", "left out demo_2"):
        assert words in out
    assert "[sic]" in out
    assert out.count("warning:") == 1
    assert "50% faster" in out


def test_a_rate_that_is_nearly_right_is_not_warned_of(capsys: pytest.CaptureFixture[str]) -> None:
    print_report(report_of({Step(3, 10.5), Step(2, None)}))
    assert "warning" not in capsys.readouterr().out
    assert "looks larger" in mismatch_words(-0.2, Step(1, 8.0), 10)


def test_a_step_that_was_found_by_motion_is_held_against_no_rate(capsys: pytest.CaptureFixture[str]) -> None:
    report = report_of({Step(2, 15.0)})
    print_report(report)
    assert "(model: 10 frames/s)" in capsys.readouterr().out
    report.auto_steps = AutoSteps.of([(30.0, 2)])
    print_report(report)
    assert "(model: " not in capsys.readouterr().out


def test_a_model_of_motion_warns_of_short_transitions_and_of_frames_far_apart() -> None:
    info = messages.model_info(
        models_pb2.Model(name="models/motion", model_fps=10, precision="float32", usual_latent_norm=1.0)
    )
    assert step_warning(info, Step(1, 10.0)) is None
    assert step_warning(info, Step(20, 0.5)) is None  # two seconds, summed from frame to frame
    assert "transitions are 0.01 s long" in str(step_warning(info, Step(1, 100.0)))
    assert "frames are 2 s apart" in str(step_warning(info, Step(2, 0.25)))


def test_the_mean_confidence_is_that_of_the_labels_counted() -> None:
    report = report_of(set())
    np.testing.assert_array_equal(report.confidence, [0.5, 0, 0, 0, 0, 0, 0, 0])
