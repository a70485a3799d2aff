from __future__ import annotations

import re
import xml.etree.ElementTree as ET
from pathlib import Path

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from genie_core.data.frames.grid import CodedFrame, report_grid
from genie_core.data.frames.palette import code_palette
from genie_core.evaluation.catalogue import ENTRIES, Entry, Target
from genie_core.evaluation.plots import Line, Point, bar_plot, line_plot, round_ticks


def test_keys_that_scripts_rely_on_are_in_the_catalogue() -> None:
    keys = {entry.key for entry in ENTRIES}
    assert len(keys) == len(ENTRIES)
    assert keys >= {
        "tokenizer.psnr_db",
        "lam.psnr_over_copy_db",
        "lam.psnr_over_random_db",
        "lam.code_perplexity",
        "probe.code_to_displacement_r2_mean",
        "probe.latent_to_displacement_r2_mean",
        "probe.nmi",
        "dynamics.delta_t_psnr_4",
        "consistency.direction_agreement",
        "consistency.round_trip_accuracy",
    }


def test_targets_depend_on_the_number_of_codes() -> None:
    entry = Entry("a.b", "", "", "number", (Target(0.75, codes=8), Target(0.85, codes=16)))
    assert [entry.target(codes) for codes in (8, 16, 32)] == [0.75, 0.85, None]
    assert Entry("a.b", "", "", "number", (Target(1.0),)).target(32) == 1.0


@pytest.mark.parametrize(
    ("unit", "words", "interval"),
    [
        ("dB", "2.50 dB", "2.50 to 3.00 dB"),
        ("share", "250.0%", "250.0 to 300.0%"),
        ("number", "2.500", "2.500 to 3.000"),
    ],
)
def test_values_are_said_in_their_unit(unit: str, words: str, interval: str) -> None:
    entry = Entry("a.b", "", "", unit)  # type: ignore[arg-type]
    assert entry.words(2.5) == words
    assert entry.interval(2.5, 3.0) == interval


def test_a_grid_holds_every_frame_enlarged_under_its_colour() -> None:
    frame = np.random.default_rng(0).integers(256, size=(32, 32, 3), dtype=np.uint8)
    sheet = report_grid([[CodedFrame(frame), CodedFrame(frame, code=3)], [CodedFrame(frame)]])
    assert sheet.shape == (2 * (5 + 96 + 4) + 4, 2 * (96 + 4) + 4, 3)
    np.testing.assert_array_equal(sheet[9 : 9 + 96 : 3, 4 : 4 + 96 : 3], frame)
    red, green, blue = (int(v) for v in sheet[4, 104])
    assert (red << 16 | green << 8 | blue) == code_palette(4)[3]
    assert (sheet[110:, 105:] == 255).all()


def test_plots_are_well_formed_and_escape_their_words() -> None:
    line = Line("<a & b>", "red", [Point(1, 2, 1, 3), Point(2, 4, 3, 5)])
    for svg in (
        line_plot([line, Line("none", "blue", [])], "x < y", "dB"),
        bar_plot([("<0>", "red", line.points[0])], "%"),
    ):
        root = ET.fromstring(svg)
        assert root.tag == "{http://www.w3.org/2000/svg}svg"
    assert "nothing to show" in line_plot([], "", "")
    many = line_plot([Line("a", "red", [Point(4 + i / 97, 1, 1, 1) for i in range(100)])], "", "")
    assert many.count("text-anchor") < 15  # not a tick for every point
    assert "nothing to show" in bar_plot([], "")


@given(st.floats(-1e3, 1e3), st.floats(1e-4, 1e4))
def test_ticks_are_few_round_and_within(low: float, width: float) -> None:
    ticks = round_ticks(low, low + width)
    assert 2 <= len(ticks) <= 6
    assert all(low - 1e-6 * width <= tick <= low + width * (1 + 1e-6) for tick in ticks)
    step = ticks[1] - ticks[0]
    assert float(f"{step:.2e}"[0]) in (1, 2, 5)


def test_ticks_by_hand() -> None:
    assert round_ticks(0.0, 1.0) == [i * 0.2 for i in range(6)]
    assert round_ticks(12.2, 30.0) == [15, 20, 25, 30]


def test_a_point_stands_where_its_value_says() -> None:
    """Higher values stand higher, later ones further right."""
    root = ET.fromstring(line_plot([Line("", "red", [Point(1, 2, 1, 3), Point(2, 4, 3, 5)])], "", ""))
    stroke = next(element for element in root.iter() if element.tag.endswith("polyline"))
    (x1, y1), (x2, y2) = ([float(v) for v in place.split(",")] for place in stroke.attrib["points"].split())
    assert x1 < x2
    assert y1 > y2


def test_the_documentation_defines_every_figure() -> None:
    text = (Path(__file__).parents[2] / "docs" / "evaluation.md").read_text()
    for entry in ENTRIES:
        probe = re.fullmatch(r"probe\.(\w+)_to_(?:displacement|action)_(r2_mean|nmse)", entry.key)
        names = [f"`{probe[1]}`", f"`..._{probe[2]}`"] if probe else [f"`{entry.key}`"]
        assert all(name in text for name in names), entry.key
