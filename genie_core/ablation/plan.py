"""Plans the training runs of an ablation, which differ in one choice at equal cost. Trains nothing itself.

Rows of one table share data, steps, batch, clip length, optimiser and seed, and have about the same number of
parameters: the width of the feed-forwards makes up for choices that change it.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from functools import cache
from typing import Literal

from pydantic import BaseModel

from genie_core.errors import ModelError
from genie_core.models.config import (
    LatentActionConfig,
    ModelConfig,
    QuantizerConfig,
    TokenizerConfig,
    TransformerConfig,
)
from genie_core.models.genie import ParameterCount, count_parameters
from genie_core.models.presets import preset
from genie_core.training.config import (
    AugmentConfig,
    LatentActionTraining,
    StageConfig,
    TokenizerTraining,
    TrainingConfig,
    training_preset,
)

Table = Literal["tokenizer", "lam", "recipe"]
Part = Literal["tokenizer", "lam"]
TABLES: tuple[Table, ...] = ("tokenizer", "lam", "recipe")
MOST_APART = 0.1
"""Largest relative difference in number of parameters between rows of one table."""

_ROUND = 8
"""Widths of feed-forwards are multiples of this."""


@dataclass(frozen=True)
class Base:
    """The model and recipe from which every row differs."""

    model: ModelConfig
    training: TrainingConfig


@dataclass(frozen=True)
class AblationRow:
    """One training run.

    Attributes:
        name: name of its folder.
        table: table that shows it.
        title: its first column.
        part: component that the table is about, whose number of parameters is held equal.
        model: configuration of the networks.
        training: the recipe; stages that do not bear on the table have no steps.

    """

    name: str
    table: Table
    title: str
    part: Part
    model: ModelConfig
    training: TrainingConfig

    def changes(self, base: Base) -> dict[str, object]:
        """Return the fields that differ from the base's, by dotted name, except for stages left out."""
        found = {
            **_differences("model", base.model.model_dump(mode="json"), self.model.model_dump(mode="json")),
            **_differences("training", base.training.model_dump(mode="json"), self.training.model_dump(mode="json")),
        }
        return {name: value for name, value in found.items() if name != "model.name" and not name.endswith(".steps")}


@dataclass(frozen=True)
class RecipeStep:
    """One ingredient that the recipe adds to the paper's plain one, and how to take it away."""

    name: str
    title: str
    lam: Mapping[str, object]
    lam_training: Mapping[str, object]


RECIPE_STEPS = (
    RecipeStep("residual", "+ residual prediction", {"residual": False}, {}),
    RecipeStep("continuous", "+ continuous start, then k-means", {}, {"continuous_steps": 0}),
    RecipeStep("augmentation", "+ augmentation", {}, {"augment": AugmentConfig()}),
    RecipeStep("pairs", "+ convolutions over pairs of frames", {"stem": "patch", "pairs": False}, {}),
    RecipeStep("mixed", "+ half of the clips unquantized", {}, {"quantized_share": 1.0}),
)
"""In the order in which they are added; with the last, the recipe is the base's."""


def small_base() -> Base:
    """Return the design of `tiny` scaled down to one CPU core: narrow, patches of 8, minutes per stage."""
    shipped, recipe = preset("tiny"), training_preset("tiny")
    stack = TransformerConfig(layers=2, dim=128, heads=4, window=4)
    model = ModelConfig(
        name="small",
        tokenizer=TokenizerConfig(
            encoder=stack, decoder=stack, quantizer=QuantizerConfig(codes=512, dim=16), patch=8, temporal="st"
        ),
        lam=shipped.lam.model_copy(update={"encoder": stack, "decoder": stack}),
        dynamics=shipped.dynamics.model_copy(
            update={"transformer": stack.model_copy(update={"window": 6}), "group": 1}
        ),
        temperature=shipped.temperature,
    )
    lam_steps = 500
    share = recipe.lam_training.continuous_steps / recipe.lam.steps
    training = TrainingConfig(
        tokenizer=StageConfig(steps=600, batch=8, clip_frames=6, lr=1.5e-3, warmup=50),
        lam=StageConfig(steps=lam_steps, batch=16, clip_frames=6, lr=1e-3, warmup=50),
        dynamics=StageConfig(steps=600, batch=8, clip_frames=6, lr=1e-3, warmup=50),
        tokenizer_training=TokenizerTraining(continuous_steps=100, continuous_noise=0.2),
        lam_training=recipe.lam_training.model_copy(update={"continuous_steps": round(lam_steps * share)}),
        dynamics_training=recipe.dynamics_training,
    )
    return Base(model, training)


def scaled(base: Base, scale: float, seed: int) -> Base:
    """Multiply the steps of every stage, as `genie train --scale` does, and set the seed."""
    training = base.training
    stages = {
        stage: config.model_copy(update={"steps": round(config.steps * scale)})
        for stage, config in (("tokenizer", training.tokenizer), ("lam", training.lam), ("dynamics", training.dynamics))
    }
    phases = {
        "tokenizer_training": _scaled_phase(training.tokenizer_training, scale),
        "lam_training": _scaled_phase(training.lam_training, scale),
    }
    return Base(base.model, training.model_copy(update={**stages, **phases, "seed": seed}))


def make_plan(base: Base, tables: Sequence[Table] = TABLES) -> list[AblationRow]:
    """Return all rows of the given tables.

    Args:
        base: its latent action model must read pixels and be trained before the dynamics model, so that rows share it.
        tables: which tables.

    Raises:
        ModelError: the base does not fit, or rows of one table cannot be given the same number of parameters.

    """
    if base.model.lam.source != "pixels" or not base.training.lam_training.lead:
        raise ModelError("an ablation starts from a latent action model of pixels, trained by itself (lead)")
    makers = {"tokenizer": _tokenizer_rows, "lam": _lam_rows, "recipe": _recipe_rows}
    rows = [row for table in TABLES if table in tables for row in makers[table](base)]
    return [_named(row) for row in rows]


def _tokenizer_rows(base: Base) -> list[AblationRow]:
    """Return the rows of the paper's Table 3; whatever the tokenizer, they share the latent action model."""
    titles = {"none": "ViT", "c": "C-ViViT", "st": "ST-ViViT"}
    rows = []
    for temporal, title in titles.items():
        model = _with(base.model, "tokenizer", {"temporal": temporal})
        rows.append(AblationRow(f"tokenizer_{temporal}", "tokenizer", title, "tokenizer", model, base.training))
    return _matched(rows, rows[-1])


def _lam_rows(base: Base) -> list[AblationRow]:
    """Return the rows of the paper's Table 2. Tokens cannot be augmented, so pixels are not either."""
    special = base.training.lam_training.model_copy(update={"augment": AugmentConfig()})
    training = base.training.model_copy(update={"lam_training": special})
    rows = [
        AblationRow(f"lam_{source}", "lam", title, "lam", _with(base.model, "lam", {"source": source}), training)
        for source, title in (("pixels", "pixels"), ("tokens", "tokens"))
    ]
    return _matched(rows, rows[0])


def _recipe_rows(base: Base) -> list[AblationRow]:
    """Return the rows from the paper's plain recipe to the base's; ingredients that the base lacks make no row."""
    rows: list[AblationRow] = []
    names = [("plain", "plain (paper)"), *((step.name, step.title) for step in RECIPE_STEPS)]
    for done, (name, title) in enumerate(names):
        model, training = undo(base, RECIPE_STEPS[done:])
        if not rows or (model.lam, training.lam_training) != (rows[-1].model.lam, rows[-1].training.lam_training):
            rows.append(AblationRow(f"recipe_{name}", "recipe", title, "lam", model, _lam_alone(training)))
    return _matched(rows, rows[-1])


def undo(base: Base, steps: Sequence[RecipeStep]) -> tuple[ModelConfig, TrainingConfig]:
    """Return the base without some ingredients of its recipe."""
    if not isinstance(base.model.lam, LatentActionConfig):
        raise ModelError("the recipe's steps are those of the paper's model: got another")
    lam = base.model.lam
    special: LatentActionTraining = base.training.lam_training
    for step in steps:
        lam = lam.model_copy(update=dict(step.lam))
        special = special.model_copy(update=dict(step.lam_training))
    model = base.model.model_copy(update={"lam": lam})
    return model, base.training.model_copy(update={"lam_training": special})


def part_parameters(row: AblationRow) -> int:
    """Return the number of trained parameters of the row's `part`."""
    count = _count(row.model.model_copy(update={"name": ""}))
    return count.tokenizer if row.part == "tokenizer" else count.lam


@cache
def _count(model: ModelConfig) -> ParameterCount:
    """Counting builds the networks without weights, in a third of a second; rows of a recipe repeat them."""
    return count_parameters(model)


def stage_key(row: AblationRow, stage: Literal["tokenizer", "lam"]) -> str | None:
    """Return the key that is equal for rows that train the stage alike; None if a row skips the stage."""
    model, training = row.model, row.training
    own: dict[str, tuple[StageConfig, tuple[BaseModel, ...]]] = {
        "tokenizer": (training.tokenizer, (model.tokenizer, training.tokenizer_training)),
        "lam": (training.lam, (model.lam, training.lam_training)),
    }
    config, others = own[stage]
    if not config.steps:
        return None
    key = "\n".join(part.model_dump_json() for part in (config, *others))
    if stage == "lam" and model.lam.source == "tokens":
        key += f"\n{stage_key(row, 'tokenizer')}"
    return key


def _matched(rows: Sequence[AblationRow], reference: AblationRow) -> list[AblationRow]:
    """Return rows with their feed-forwards scaled so that they have as many parameters as the reference."""
    target = part_parameters(reference)
    return [row if row is reference else _widened(row, target) for row in rows]


def _widened(row: AblationRow, target: int) -> AblationRow:
    at_first = part_parameters(row)
    doubled = part_parameters(_with_ratio(row, 2.0)) - at_first
    result = _with_ratio(row, 1 + (target - at_first) / doubled) if doubled else row
    reached = part_parameters(result)
    if abs(reached - target) > MOST_APART * target:
        raise ModelError(
            f"{row.name}: parameters of the {row.part}: got {reached:,}, expected {target:,} as in its table"
        )
    return result


def _with_ratio(row: AblationRow, factor: float) -> AblationRow:
    """Return the row with the feed-forwards of its part scaled in width by `factor`."""
    part = getattr(row.model, row.part)
    update = {}
    for name in ("encoder", "decoder"):
        stack: TransformerConfig = getattr(part, name)
        hidden = max(_ROUND, round(stack.dim * stack.ffn_ratio * factor / _ROUND) * _ROUND)
        update[name] = stack.model_copy(update={"ffn_ratio": hidden / stack.dim})
    return AblationRow(row.name, row.table, row.title, row.part, _with(row.model, row.part, update), row.training)


def _with(model: ModelConfig, part: str, update: Mapping[str, object]) -> ModelConfig:
    changed = getattr(model, part).model_copy(update=dict(update))
    return ModelConfig.model_validate(model.model_copy(update={part: changed}).model_dump())


def _named(row: AblationRow) -> AblationRow:
    model = row.model.model_copy(update={"name": f"ablation-{row.name.replace('_', '-')}"})
    return AblationRow(row.name, row.table, row.title, row.part, model, row.training)


def _lam_alone(training: TrainingConfig) -> TrainingConfig:
    idle = {stage: getattr(training, stage).model_copy(update={"steps": 0}) for stage in ("tokenizer", "dynamics")}
    return training.model_copy(update=idle)


def _scaled_phase(
    special: TokenizerTraining | LatentActionTraining, scale: float
) -> TokenizerTraining | LatentActionTraining:
    return special.model_copy(update={"continuous_steps": round(special.continuous_steps * scale)})


def _differences(name: str, base: Mapping[str, object], other: Mapping[str, object]) -> dict[str, object]:
    found: dict[str, object] = {}
    for key, value in other.items():
        before = base[key]
        if isinstance(value, dict) and isinstance(before, dict):
            found |= _differences(f"{name}.{key}", before, value)
        elif value != before:
            found[f"{name}.{key}"] = value
    return found


__all__ = [
    "MOST_APART",
    "RECIPE_STEPS",
    "TABLES",
    "AblationRow",
    "Base",
    "RecipeStep",
    "Table",
    "make_plan",
    "part_parameters",
    "scaled",
    "small_base",
    "stage_key",
    "undo",
]
