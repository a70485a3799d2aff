from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest

pytest.importorskip("rerun", reason="looking at recordings is an extra")

from genie_cli import app
from genie_core.data.code_meanings import write_meanings
from genie_core.data.frames.palette import code_palette
from tests.factories.data import make_robomimic
from tests.factories.labelled import label_file
from tests.factories.meanings import make_meanings
from tests.support.recordings import column, verify

pytestmark = pytest.mark.usefixtures("strict")


def run(*words: object) -> int:
    with pytest.raises(SystemExit) as ended:
        app.main([str(word) for word in words])
    return int(ended.value.code or 0)


def test_equal_colours_mean_the_same_whatever_the_numbers(tmp_path: Path) -> None:
    """The second file's codes are the first's, in another order: each has the colour of the one it stands for."""
    import h5py

    first = label_file(make_robomimic(tmp_path / "a.hdf5", episodes=1, frames=17))
    second = label_file(make_robomimic(tmp_path / "b.hdf5", episodes=1, frames=17))
    order = np.array([3, 4, 5, 6, 7, 0, 1, 2], np.uint16)
    with h5py.File(second.path, "r+") as file:
        code = file["data/demo_0/latent_actions/code"]
        code[:16] = order[code[:16]]
    path = tmp_path / "x.rrd"
    assert run("view", first.path, "--against", second.path, "--save", path) == 0
    verify(path)
    (colors,) = column(path, "/second/code", "StateConfiguration:colors").values()
    palette = code_palette(8)
    assert [colors[1 + order[code]] >> 8 for code in range(8)] == list(palette)
    assert column(path, "/agreement", "StateChange:state") == {0: ["agree"], 16: ["-"]}


def test_a_palette_names_codes_and_that_of_another_bundle_is_refused(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    labelled = label_file(make_robomimic(tmp_path / "a.hdf5", episodes=1))
    (tmp_path / "mine").mkdir()
    write_meanings(tmp_path / "mine", make_meanings(8, labelled.model.bundle_id))
    path = tmp_path / "x.rrd"
    assert run("view", labelled.path, "--save", path, "--palette", tmp_path / "mine") == 0
    (names,) = column(path, "/labels/code", "StateConfiguration:labels").values()
    assert names[1] == "0 +x 2.4 cm"
    other = write_meanings(tmp_path / "mine", make_meanings(8, "cd" * 32))
    assert run("view", labelled.path, "--save", path, "--palette", other) == 2
    assert "got the palette of bundle cdcdcdcdcdcd" in capsys.readouterr().err


def test_files_of_other_episodes_are_refused(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    first = label_file(make_robomimic(tmp_path / "a.hdf5", episodes=2, frames=12))
    second = label_file(make_robomimic(tmp_path / "b.hdf5", episodes=1, frames=12))
    assert run("view", first.path, "--against", second.path, "--save", tmp_path / "x.rrd") == 2
    assert "has no labelled episode `demo_1`" in capsys.readouterr().err
    third = label_file(make_robomimic(tmp_path / "c.hdf5", episodes=2, frames=9))
    assert run("view", first.path, "--against", third.path, "--save", tmp_path / "x.rrd") == 2
    assert "got 9 frames, expected 12" in capsys.readouterr().err
