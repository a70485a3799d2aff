"""What an ablation would train: one choice at a time, one budget, about the same number of parameters."""

from __future__ import annotations

from dataclasses import replace
from itertools import pairwise
from typing import Any

import pytest

from genie_core.ablation.plan import (
    MOST_APART,
    RECIPE_STEPS,
    TABLES,
    Base,
    make_plan,
    part_parameters,
    scaled,
    small_base,
    stage_key,
    undo,
)
from genie_core.errors import ModelError
from genie_core.models.config import LatentActionConfig
from genie_core.models.presets import preset
from genie_core.training.config import LatentActionTraining, training_preset

SIZES = {"encoder", "decoder"}


def without(config: LatentActionConfig | LatentActionTraining, *fields: str) -> dict[str, Any]:
    return config.model_dump(exclude=set(fields))


def test_rows_of_a_table_have_one_budget_and_about_as_many_parameters() -> None:
    rows = make_plan(small_base())
    assert [row.table for row in rows] == ["tokenizer"] * 3 + ["lam"] * 2 + ["recipe"] * 6
    for table in TABLES:
        own = [row for row in rows if row.table == table]
        counts = [part_parameters(row) for row in own]
        assert max(counts) < (1 + MOST_APART) * min(counts), table
        for stage in ("tokenizer", "lam", "dynamics"):
            assert len({getattr(row.training, stage).model_dump_json() for row in own}) == 1, table
        assert len({row.training.seed for row in own}) == 1


def test_the_recipe_ends_with_what_tiny_has() -> None:
    last = [row for row in make_plan(small_base()) if row.table == "recipe"][-1]
    shipped, recipe = preset("tiny"), training_preset("tiny")
    assert without(last.model.lam, *SIZES) == without(shipped.lam, *SIZES)
    assert without(last.training.lam_training, "continuous_steps") == without(recipe.lam_training, "continuous_steps")
    share = last.training.lam_training.continuous_steps / last.training.lam.steps
    assert share == pytest.approx(recipe.lam_training.continuous_steps / recipe.lam.steps, abs=0.01)


def test_the_recipe_begins_with_what_the_paper_has() -> None:
    plain = next(row for row in make_plan(small_base()) if row.table == "recipe")
    paper, recipe = preset("robotics"), training_preset("robotics")
    assert without(plain.model.lam, *SIZES, "quantizer", "stem_width") == without(
        paper.lam, *SIZES, "quantizer", "stem_width"
    )
    # The paper trains both models at once; no gradient goes from one to the other.
    assert without(plain.training.lam_training, "lead") == without(recipe.lam_training, "lead")


def test_each_row_of_the_recipe_adds_one_thing() -> None:
    rows = [row for row in make_plan(small_base()) if row.table == "recipe"]
    base = small_base()
    for (before, after), step in zip(pairwise(rows), RECIPE_STEPS, strict=True):
        gone = set(before.changes(base)) - set(after.changes(base))
        gone = {name for name in gone if not name.endswith("ffn_ratio")}
        undone = {name.split(".")[2] for name in gone}
        assert undone == {*step.lam, *step.lam_training}, step.name
    assert rows[-1].changes(base) == {}


def test_a_step_that_the_base_does_not_have_makes_no_row() -> None:
    base = small_base()
    model, training = undo(base, RECIPE_STEPS[2:])
    names = [row.name for row in make_plan(Base(model, training), ["recipe"])]
    assert names == ["recipe_plain", "recipe_residual", "recipe_continuous"]


def test_rows_share_what_they_train_alike() -> None:
    rows = {row.name: row for row in make_plan(small_base())}
    tokenizers = [stage_key(rows[name], "tokenizer") for name in ("tokenizer_st", "lam_pixels", "lam_tokens")]
    assert len(set(tokenizers)) == 1
    assert len({stage_key(rows[f"tokenizer_{mode}"], "tokenizer") for mode in ("none", "c", "st")}) == 3
    lams = [stage_key(row, "lam") for row in rows.values()]
    # The tokenizers' own and the recipe's last are the same; all others differ.
    assert len(set(lams)) == len(rows) - 3
    assert stage_key(rows["recipe_plain"], "tokenizer") is None


def test_inputs_are_compared_without_augmentation() -> None:
    rows = make_plan(small_base(), ["lam"])
    assert [row.model.lam.source for row in rows] == ["pixels", "tokens"]
    for row in rows:
        assert not any(row.training.lam_training.augment.model_dump().values())


def test_steps_are_scaled() -> None:
    base = small_base()
    half = scaled(base, 0.5, 7)
    assert half.training.seed == 7
    assert half.training.lam.steps == base.training.lam.steps // 2
    assert half.training.tokenizer_training.continuous_steps == 50
    assert half.training.lam_training.continuous_steps == round(base.training.lam_training.continuous_steps / 2)


def test_a_base_whose_parts_train_together_is_refused() -> None:
    base = small_base()
    joint = base.training.lam_training.model_copy(update={"lead": False})
    training = base.training.model_copy(update={"lam_training": joint})
    with pytest.raises(ModelError, match="trained by itself"):
        make_plan(replace(base, training=training))


def test_rows_that_cannot_be_brought_to_one_size_are_refused() -> None:
    base = small_base()
    layerless = base.model.lam.encoder.model_copy(update={"layers": 0})  # no feed-forward to make wider
    lam = base.model.lam.model_copy(update={"encoder": layerless, "decoder": layerless})
    with pytest.raises(ModelError, match=r"recipe_plain: parameters of the lam: got [\d,]+, expected [\d,]+"):
        make_plan(replace(base, model=base.model.model_copy(update={"lam": lam})), ["recipe"])
