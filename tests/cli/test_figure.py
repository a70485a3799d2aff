"""`genie figure`: pictures as files, the same that an evaluation draws."""

from __future__ import annotations

import re
import subprocess
import sys
from collections.abc import Callable
from pathlib import Path

import numpy as np
import pytest
import typer
from numpy.typing import NDArray
from typer.testing import CliRunner

from genie_cli.figure import figure
from genie_core.data import encode_image, open_dataset, read_image, resize_frames
from genie_core.data.frames.palette import code_palette
from genie_core.errors import DatasetError, ModelError, RequestError
from genie_core.evaluation.evaluation import PARTS, evaluate
from genie_core.evaluation.options import EvaluationOptions
from genie_core.models.bundle import load_bundle
from tests.factories.bundles import make_nano_bundle
from tests.factories.data import make_frames, make_robomimic

GAP, CHIP, SIDE = 4, 5, 96
QUICK = ["--maskgit-steps", "2"]


def run(*words: str | Path) -> str:
    """The command's output; its errors are raised."""
    app = typer.Typer()
    app.command()(figure)
    return CliRunner().invoke(app, [str(w) for w in words], catch_exceptions=False, standalone_mode=False).output


def cell(sheet_HWC: NDArray[np.uint8], row: int, column: int) -> NDArray[np.uint8]:
    """The frame at that place of a grid of enlarged 32 x 32 frames, at its own size."""
    top, left = GAP + row * (CHIP + SIDE + GAP) + CHIP, GAP + column * (SIDE + GAP)
    return sheet_HWC[top : top + SIDE : 3, left : left + SIDE : 3]


def colour(sheet_HWC: NDArray[np.uint8], row: int, column: int) -> int:
    """What is painted above that frame, 0xRRGGBB."""
    red, green, blue = sheet_HWC[GAP + row * (CHIP + SIDE + GAP), GAP + column * (SIDE + GAP)].tolist()
    return int(red << 16 | green << 8 | blue)


def shape(rows: int, columns: int) -> tuple[int, int, int]:
    return rows * (CHIP + SIDE + GAP) + GAP, columns * (SIDE + GAP) + GAP, 3


@pytest.fixture(scope="module")
def bundle(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return make_nano_bundle(tmp_path_factory.mktemp("bundles") / "nano")


@pytest.fixture(scope="module")
def data(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return make_robomimic(tmp_path_factory.mktemp("data") / "lift.hdf5", episodes=5, frames=12, size=32)


@pytest.fixture(scope="module")
def pictures(tmp_path_factory: pytest.TempPathFactory) -> list[Path]:
    """A noisy drawing of another shape, and a photo."""
    folder = tmp_path_factory.mktemp("pictures")
    noise = np.random.default_rng(0).integers(256, size=(50, 70, 3), dtype=np.uint8)
    (folder / "sketch.png").write_bytes(encode_image(noise))
    (folder / "photo.JPG").write_bytes(encode_image(make_frames(1, 64, 64)[0], "jpeg"))
    return [folder / "sketch.png", folder / "photo.JPG"]


def test_fig10_has_rollouts_of_every_picture(bundle: Path, pictures: list[Path], tmp_path: Path) -> None:
    out = tmp_path / "deep" / "ten.png"
    printed = run("fig10", bundle, *pictures, "--out", out, "--rows", "3", *QUICK)
    sheet = read_image(out)[0]
    assert sheet.shape == shape(2 * 3, 1 + 9)
    for row in range(6):
        np.testing.assert_array_equal(cell(sheet, row, 0), resize_frames(read_image(pictures[row // 3]), 32, 32)[0])
    # Rows of one picture take other codes, columns are other frames.
    assert not np.array_equal(cell(sheet, 0, 9), cell(sheet, 1, 9))
    assert not np.array_equal(cell(sheet, 0, 1), cell(sheet, 0, 9))
    assert f"wrote {out}" in printed.replace("\n", " ")


def test_fig13_has_a_start_a_row_and_a_code_a_column(bundle: Path, data: Path, tmp_path: Path) -> None:
    out = tmp_path / "thirteen.png"
    run("fig13", bundle, data, "--out", out, "--rows", "4", "--codes", "6,1,3", "--applications", "2", *QUICK)
    sheet = read_image(out)[0]
    assert sheet.shape == shape(4, 1 + 3)
    palette = code_palette(8)
    assert [colour(sheet, 2, column) for column in range(4)] == [0xFFFFFF, palette[6], palette[1], palette[3]]
    assert not np.array_equal(cell(sheet, 0, 1), cell(sheet, 0, 2))
    frames = np.concatenate([episode.frames() for episode in open_dataset(data).episodes])
    starts = [cell(sheet, row, 0) for row in range(4)]
    assert all((frames == start).all(axis=(1, 2, 3)).any() for start in starts)


@pytest.mark.parametrize("source", ["data", "picture"])
def test_fig14_goes_many_ways_from_one_frame(
    bundle: Path, data: Path, pictures: list[Path], tmp_path: Path, source: str
) -> None:
    given = data if source == "data" else pictures[1]
    run("fig14", bundle, given, "--out", tmp_path / "x.png", "--rows", "5", "--codes", "2,5", *QUICK)
    sheet = read_image(tmp_path / "x.png")[0]
    assert sheet.shape == shape(5, 1 + 9)
    firsts = [cell(sheet, row, 0) for row in range(5)]
    assert all(np.array_equal(first, firsts[0]) for first in firsts)
    lasts = {cell(sheet, row, 9).tobytes() for row in range(5)}
    assert len(lasts) > 1
    used = {colour(sheet, row, column) for row in range(5) for column in range(1, 10)}
    assert used == {code_palette(8)[2], code_palette(8)[5]}


def test_figures_are_those_of_the_evaluation(
    bundle: Path, data: Path, pictures: list[Path], tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Same bundle, data, options and seed: the same picture, pixel for pixel, that stands in the report."""
    monkeypatch.chdir(tmp_path)
    options = EvaluationOptions(
        rollouts=1,
        starts=8,
        applications=2,
        supervised_steps=0,
        maskgit_steps=2,
        subset="all",
        images=tuple(pictures),
        seed=3,
    )
    report = evaluate(load_bundle(bundle), open_dataset(data), options)
    assert len(PARTS) >= 6
    common = ["--applications", "2", "--seed", "3", "--subset", "all", "--threads", "1", *QUICK]
    run("fig10", bundle, *pictures, *common)
    run("fig13", bundle, data, *common)
    run("fig14", bundle, data, *common)
    for picture in report.findings.images:
        if picture.name != "rollouts":
            np.testing.assert_array_equal(read_image(tmp_path / f"{picture.name}.png")[0], picture.image_HWC)


def test_another_seed_draws_another_picture_and_replaces_it_only_when_told(
    bundle: Path, data: Path, tmp_path: Path
) -> None:
    out = tmp_path / "x.png"
    run("fig14", bundle, data, "--out", out, *QUICK)
    first = out.read_bytes()
    with pytest.raises(DatasetError, match="exists; replace it with --overwrite"):
        run("fig14", bundle, data, "--out", out, *QUICK)
    run("fig14", bundle, data, "--out", out, "--overwrite", *QUICK)
    assert out.read_bytes() == first
    run("fig14", bundle, data, "--out", out, "--overwrite", "--seed", "1", *QUICK)
    assert out.read_bytes() != first
    assert [p.name for p in tmp_path.iterdir()] == ["x.png"]


Words = Callable[[Path, Path, Path], list[str | Path]]


@pytest.mark.parametrize(
    ("words", "error", "message"),
    [
        (lambda b, d, p: ["fig10", b, d], DatasetError, ", expected one picture or more (PNG, JPEG)"),
        (lambda b, d, p: ["fig10", b, p, d], DatasetError, "expected one picture or more"),
        (lambda b, d, p: ["fig13", b, p], DatasetError, "expected one dataset of robot video"),
        (lambda b, d, p: ["fig13", b, d, d], DatasetError, "expected one dataset of robot video"),
        (lambda b, d, p: ["fig14", b, p, p], DatasetError, "expected one picture (PNG, JPEG) or dataset"),
        (lambda b, d, p: ["fig14", b, p, "--codes", "1,b"], RequestError, "codes: got '1,b', expected"),
        (lambda b, d, p: ["fig14", b, p, "--codes", "8"], RequestError, "codes: latent action 8 is out of range"),
        (lambda b, d, p: ["fig14", b, p, "--maskgit-steps", "17"], RequestError, "maskgit_steps: got 17, expected 1"),
        (lambda b, d, p: ["fig14", b, p, "--out", "x.jpg"], DatasetError, "x.jpg, expected a name that ends in .png"),
        (lambda b, d, p: ["fig14", p.parent, p], ModelError, "is not a bundle"),
        (lambda b, d, p: ["fig10", b, p.with_name("no.png")], DatasetError, "no.png: No such file"),
        (lambda b, d, p: ["fig13", b, d, "--subset", "test"], DatasetError, "no filter key `test`"),
    ],
)
def test_bad_input_is_named(
    bundle: Path,
    data: Path,
    pictures: list[Path],
    tmp_path: Path,
    monkeypatch: pytest.MonkeyPatch,
    words: Words,
    error: type[Exception],
    message: str,
) -> None:
    monkeypatch.chdir(tmp_path)
    with pytest.raises(error, match=re.escape(message)):
        run(*words(bundle, data, pictures[0]))
    assert not list(tmp_path.iterdir())


def test_the_command_is_found_without_torch() -> None:
    code = "import sys, genie_cli.figure; sys.exit('torch' in sys.modules)"
    assert subprocess.run([sys.executable, "-c", code], check=False).returncode == 0
