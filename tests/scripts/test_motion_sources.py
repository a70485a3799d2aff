"""What `motion` was trained on can be fetched: every public source is in the page and in the card, no held-out one."""

from __future__ import annotations

from pathlib import Path

from genie_cli.sources import listed_sources
from genie_cli.train import adjusted
from genie_core.data import ReadOptions
from genie_core.models.presets import preset
from genie_core.training.config import training_preset

ROOT = Path(__file__).resolve().parents[2]
SOURCES = [
    Path(path).resolve().relative_to(ROOT).as_posix()
    for path, _ in listed_sources(ROOT / "scripts/motion_sources.json", ReadOptions())
]


def test_every_public_source_is_in_the_page_and_in_the_card() -> None:
    repositories = {path.split("/")[2] for path in SOURCES if path.startswith("runs/sources/")}
    page = (ROOT / "docs/training-data.md").read_text(encoding="utf-8")
    rows = {
        line.split("|")[1].split()[0].split("/")[1]
        for line in page.splitlines()
        if line.startswith("| ") and "/" in line.split("|")[1]
    }
    assert repositories == rows
    card = (ROOT / "genie_core/bundles/motion/card.md").read_text(encoding="utf-8")
    assert [name for name in repositories if name not in card] == []


def test_nothing_that_is_held_out_is_a_source() -> None:
    assert [path for path in SOURCES for name in ("xhand", "G1", "rlds", "ur5e", "kinova3") if name in path] == []
    assert len(SOURCES) == len(set(SOURCES))


def test_the_recipe_of_what_ships_names_its_codes_and_other_video_gets_the_best_of_many() -> None:
    usual = training_preset("motion")
    _, shipped = adjusted(preset("motion"), usual, 1.0, 0, ROOT / "scripts/motion_recipe.json")
    assert (shipped.motion_training.codes_seeds, shipped.motion_training.codes_runs) == ((33, 35), 1)
    assert usual.motion_training.codes_runs == 64
    assert shipped.model_copy(update={"motion_training": usual.motion_training}) == usual
