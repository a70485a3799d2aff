"""`genie palette` and `genie compare` as users run them, on video whose motion is known."""

from __future__ import annotations

import json
import shutil
from pathlib import Path

import numpy as np
import pytest
from safetensors.torch import load_file, save_file

from genie_cli import main
from genie_core.data import read_image
from genie_core.data.code_meanings import read_meanings, write_meanings
from genie_core.evaluation.palette import motion_words, moving_motion
from genie_core.models.bundle import read_bundle_info
from tests.factories.bundles import make_motion_bundle
from tests.factories.squares import make_squares


def run(capsys: pytest.CaptureFixture[str], *words: str | Path) -> tuple[int, str]:
    with pytest.raises(SystemExit) as ended:
        main([*map(str, words)])
    said = capsys.readouterr()
    return int(ended.value.code or 0), said.out


@pytest.fixture(scope="module")
def data(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return make_squares(tmp_path_factory.mktemp("data") / "squares.hdf5", episodes=4, frames=16)


@pytest.fixture(scope="module")
def bundle(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return make_motion_bundle(tmp_path_factory.mktemp("bundle") / "motion")


def test_a_palette_is_written_in_every_form_and_stored(
    tmp_path: Path, data: Path, bundle: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    page, picture = tmp_path / "codes.html", tmp_path / "codes.png"
    code, said = run(capsys, "palette", bundle, data, "--step", "1", "--out", page, "--out", picture)
    assert code == 0, said
    assert "60 transitions of 4 episodes" in said
    info = read_bundle_info(bundle)
    found = read_meanings(bundle, info.bundle_id, 4)
    assert found is not None
    assert sum(one.share for one in found.codes) == pytest.approx(1)
    used = [one for one in found.codes if one.share]
    assert all(one.picture and one.words != "not used" and one.round_trip is None for one in used)
    assert page.read_text().count("data:image/jpeg;base64,") == 2 * len(used)
    assert read_image(picture).shape[1] > 4 * 112
    assert info.bundle_id == read_bundle_info(bundle).bundle_id  # it is no part of what labels depend on
    code, said = run(capsys, "palette", bundle, data, "--out", page)
    assert code == 2
    write_meanings(bundle, found.model_copy(update={"data": "other.hdf5"}))
    assert "in place of what codes do in other.hdf5" in run(capsys, "palette", bundle, data, "--step", "1")[1]


def test_the_way_of_motion_is_said_in_words() -> None:
    flow = np.zeros((5, 8, 8, 2))
    flow[:, 2:4, 2:4] = [3.0, -3.0]  # a small thing moves, the rest stands still
    np.testing.assert_allclose(moving_motion(flow), [[3.0, -3.0]] * 5)
    assert motion_words(moving_motion(flow)) == "up right"
    assert motion_words(np.array([[0.0, 2.0]] * 4)) == "down"
    assert motion_words(np.array([[2.0, 0.0], [-2.0, 0.0]])) == "no one way"
    assert motion_words(np.full((3, 2), 0.01)) == "still"
    assert motion_words(np.zeros((0, 2))) == "not used"


def test_a_bundle_whose_codes_changed_places_is_translated_back(
    tmp_path: Path, data: Path, bundle: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    other = Path(shutil.copytree(bundle, tmp_path / "other"))
    tensors = load_file(other / "lam.safetensors")
    order = [2, 0, 3, 1]
    tensors["quantizer.codebook"] = tensors["quantizer.codebook"][order].contiguous()
    save_file(tensors, other / "lam.safetensors")
    code, said = run(capsys, "compare", bundle, other, data, "--step", "1", "--json")
    assert code == 0, said
    found = json.loads(said)
    used = [one for one in found["codes"] if one["share"]]
    assert [one["old"] for one in used] == [order[one["new"]] for one in used]
    assert found["agreement"]["value"] == 1.0
    assert found["held_out"]
    code, said = run(capsys, "compare", bundle, other, data, "--step", "1")
    assert "translated, the codes agree on 100%" in said
