"""The measurement of a GPU: that every part runs, here with tiny sizes on the CPU, and how the command carries on."""

from __future__ import annotations

import subprocess
import sys
from functools import partial
from importlib import import_module
from pathlib import Path

import numpy as np
import pytest

from benchmarks.gpu import __main__ as command
from benchmarks.gpu import parts, recipe, tokens
from benchmarks.gpu.found import Found, append, read, table
from benchmarks.gpu.labels import clips, label_in_batches
from benchmarks.gpu.parts import PARTS, Part, Setting, missing
from genie_core.bundles import models_dir
from genie_core.data import write_video
from genie_core.evaluation.options import EvaluationOptions
from genie_core.inference import Labeller
from genie_core.models.bundle import load_bundle
from genie_core.models.presets import preset
from genie_core.training import card, stages

ROOT = Path(__file__).parents[2]

_WITHOUT_AV = """
import sys
class Blocker:
    def find_spec(self, name, path=None, target=None):
        if name.split('.')[0] == 'av':
            raise ModuleNotFoundError(name, name=name)
sys.meta_path.insert(0, Blocker())
import importlib.util
found = importlib.util.find_spec
importlib.util.find_spec = lambda name, package=None: None if name == 'av' else found(name, package)
"""


@pytest.mark.parametrize("part", PARTS, ids=lambda part: part.name)
@pytest.mark.timeout(900)
def test_every_part_runs_with_tiny_sizes(part: Part, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("OMP_NUM_THREADS", "1")
    module, _, function = part.entry.partition(":")
    rows: list[Found] = list(getattr(import_module(module), function)(Setting("cpu", True, tmp_path)))
    assert rows
    assert all(np.isfinite(row.value) and row.value > 0 for row in rows), rows
    same = [row for row in rows if "same bits" in row.name and row.target is not None]
    assert len(same) == {"labels": 2 * 4, "motion-labels": 2 * 4 + 1, "serving": 1}.get(part.name, 0)
    assert all(row.value == 1 for row in same), same
    assert missing(part) == []


@pytest.mark.timeout(900)
def test_the_command_runs_a_part_in_a_process_and_keeps_its_rows(
    tmp_path: Path, capfd: pytest.CaptureFixture[str]
) -> None:
    words = ["--dry-run", "--out", str(tmp_path), "--files", str(tmp_path / "none"), "--minutes", "20", "training"]
    assert command.main(words) == 0
    assert "nano: dynamics, share of the product" in capfd.readouterr().out
    (table_file,) = tmp_path.glob("*/table.md")
    assert table_file.read_text().count("\n|") == 2 + 4
    assert command.main(words) == 0
    assert capfd.readouterr().out.count("(kept)") == 4


def test_a_part_that_fails_keeps_the_others_and_its_rows_so_far(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    quick = Part("quick", "benchmarks.gpu.parts:PARTS", "nothing", (), 10)
    lacking = Part("lacking", "nowhere:nothing", "nothing", ("no_such_module", "no.such.module"), 10)
    monkeypatch.setattr(command, "PARTS", (quick, lacking))
    done = []

    def run(words: list[str], **_: object) -> subprocess.CompletedProcess[str]:
        if "benchmarks.gpu.worker" not in words:
            return subprocess.CompletedProcess(words, 0)
        append(Path(words[4]), Found("row", 1.0, "x"))
        done.append(words[3])
        if len(done) == 1:
            raise subprocess.CalledProcessError(1, words)
        return subprocess.CompletedProcess(words, 0)

    monkeypatch.setattr(command.subprocess, "run", run)
    words = ["--dry-run", "--out", str(tmp_path), "--files", str(tmp_path / "none")]
    assert command.main([*words, "quick"]) == 1
    assert len(read(next(tmp_path.glob("*/quick.partly")))) == 1
    assert command.main(words) == 4  # measured now, and the other lacks its modules
    assert read(next(tmp_path.glob("*/quick.jsonl"))) == [Found("row", 1.0, "x")]
    assert done == ["quick", "quick"]
    assert command.main([*words, "quick", "--minutes", "0"]) == 0  # kept: no time is needed
    assert missing(lacking) == ["no_such_module", "no.such.module"]


def test_no_part_is_begun_without_time(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    words = ["--dry-run", "--out", str(tmp_path), "--files", str(tmp_path), "--minutes", "0", "training"]
    assert command.main(words) == 3
    assert "left for the next time" in capsys.readouterr().out


def test_parts_fit_into_nine_minutes() -> None:
    assert sum(part.seconds for part in PARTS) <= 9 * 60
    assert len({part.name for part in parts.PARTS}) == len(PARTS)


def test_without_pyav_video_is_read_with_opencv(tmp_path: Path) -> None:
    write_video(tmp_path / "clip.mp4", np.full((9, 48, 64, 3), (200, 60, 20), np.uint8), 10)
    script = _WITHOUT_AV + (
        "from benchmarks.gpu.videos import read_video, training_episodes\n"
        "import numpy as np, pathlib\n"
        f"(episode,) = training_episodes({str(tmp_path)!r}, None)\n"
        "frames = np.concatenate(list(read_video(episode.source)))\n"
        "print(episode.num_frames, episode.fps, frames.shape, abs(frames.mean((0, 1, 2)) - [200, 60, 20]).max() < 4)\n"
    )
    done = subprocess.run(
        [sys.executable, "-c", script], cwd=ROOT, check=True, stdout=subprocess.PIPE, text=True, timeout=120
    )
    assert done.stdout.split("\n")[0] == "9 10.0 (9, 48, 64, 3) True"


def test_the_labels_recipe_trains_on_video_and_goes_on(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(stages, "_MOTION_BATCHES", 16)  # of pairs that codes are fitted to
    monkeypatch.setattr(card, "EvaluationOptions", partial(EvaluationOptions, frames=5))
    folder = tmp_path / "video"
    folder.mkdir()
    for i, clip in enumerate(clips(dry=True) * 2):
        write_video(folder / f"{i}.mp4", clip[:9], 10)
    setting = Setting("cpu", True, tmp_path, str(tmp_path / "video"), 0.1)
    steps, *rates = recipe.measure(setting)
    assert steps.value == 6
    assert {rate.name.split(": ")[1] for rate in rates} == {"lam", "mover"}
    bundle = load_bundle(tmp_path / "recipe" / "motion128")
    assert (bundle.config.height, bundle.config.lam.fine_codes) == (128, 32)
    (again,) = recipe.measure(setting)  # all stages are done: nothing is trained again
    assert bundle.bundle_id[:12] in again.note


def test_tokens_train_on_video_for_a_moment_and_rollouts_are_compared(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    for part in (tokens.TRAIN, tokens.HELD):
        (tmp_path / "video" / part / "panda").mkdir(parents=True)
        for i, clip in enumerate(clips(dry=True)[:2]):
            write_video(tmp_path / "video" / part / "panda" / f"{i}.mp4", np.concatenate([clip] * 2)[:14], 10)
    setting = Setting("cpu", True, tmp_path, str(tmp_path / "video"), 0.1)
    rows = list(tokens.measure(setting))
    assert [row.value for row in rows[:2]] == [3, 3]
    assert {row.name.split(":")[0] for row in rows[2:]} == {"motion", "tokens"}
    assert (tmp_path / "tokens" / "rollouts.png").stat().st_size
    bundle = load_bundle(tmp_path / "tokens" / "bundle")
    assert bundle.config == preset("motion-tokens")
    shipped = load_bundle(models_dir() / "motion")
    assert np.array_equal(bundle.codebook, shipped.codebook)


def test_batches_filled_up_give_the_labels_of_a_labeller() -> None:
    """On a CPU a batch's size changes no bit either, for the shipped model: the kit's own way of labelling is right."""
    labeller = Labeller(load_bundle(models_dir() / "motion"))
    episodes = clips(dry=True)
    for ours, alone in zip(
        label_in_batches(labeller, episodes, size=2, together=2, chunk=7), labeller.label_many(episodes, 1), strict=True
    ):
        assert np.array_equal(ours.code, alone.code)
        assert np.array_equal(ours.valid, alone.valid)
        assert np.allclose(ours.latent, alone.latent, atol=1e-5)


def test_a_table_says_what_was_missed() -> None:
    text = table([Found("a", 2.0, "x", 1.0, "facts"), Found("b", 0.5, "x", 1.0), Found("c", 3.0, "s")])
    assert "| a | 2 | x | 1, yes | facts |" in text
    assert "| b | 0.5 | x | 1, **no** |  |" in text
    assert "MISSED" in Found("b", 0.5, "x", 1.0).line
