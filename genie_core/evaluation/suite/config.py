"""Configuration of a suite: the datasets to evaluate on, and what to predict on each. Reads nothing but JSON."""

from __future__ import annotations

import json
from collections.abc import Mapping
from pathlib import Path, PurePosixPath
from typing import Literal, Self

from pydantic import BaseModel, ConfigDict, Field, ValidationError, field_validator, model_validator

from genie_core.data import ReadOptions
from genie_core.errors import DatasetError, problems_of

FORMAT: Literal[1] = 1
"""Version of suite files; increases when an older Genie would misread a newer file."""

SUITES = Path(__file__).parent.parent / "suites"
"""Suites shipped with Genie, by name: ``zoo`` is ``suites/zoo.json``."""

Change = Literal["change", "mean", "first"]
"""What to predict for a transition x_t -> x_{t+k}, from an array a with a row per frame. ``change``: a_{t+k} - a_t.
``mean``: the mean of a_t .. a_{t+k-1}. ``first``: a_t."""

Role = Literal["trained", "held-out"]
"""``trained``: the bundle's training saw this source (other episodes of it, or these). ``held-out``: it did not."""


class _Model(BaseModel):
    model_config = ConfigDict(frozen=True, extra="forbid")


class Target(_Model):
    """Prediction target of the probes on one set.

    Attributes:
        array: name of the array in the data, (T, A): ``observation.state``, ``actions``, ``obs/robot0_eef_pos``.
        columns: indices of its columns; None: all.
        read: how to reduce it over a transition.
        angles: those of `columns` that are angles in radians: their change is taken the short way round.
        groups: named parts of `columns` that are also reported separately.

    """

    array: str
    columns: tuple[int, ...] | None = None
    read: Change = "change"
    angles: tuple[int, ...] = ()
    groups: Mapping[str, tuple[int, ...]] = {}


class Slices(_Model):
    """Slices of transitions by a number that the data hold for every frame, reported in a separate table.

    Attributes:
        array: name of the array, (T,) or (T, 1); the value at a transition's first frame counts.
        values: values of each slice, by the slice's name.
        edges: or its range, low <= number < high.

    """

    array: str
    values: Mapping[str, tuple[float, ...]] = {}
    edges: Mapping[str, tuple[float, float]] = {}


class Lary(_Model):
    """Poses that LARY's probe predicts in chunks: the array, and the indices of its columns."""

    array: str
    columns: tuple[int, ...] | None = None


class SuiteSet(_Model):
    """One set: location, reading, transition length, targets.

    Exactly one of `seconds` and `step` gives the transition length.

    Attributes:
        name: name in the tables.
        path: below the data root, with forward slashes.
        role: whether training saw this source.
        robot, source, camera_pose: keys of the tables by robot, by source (``real``, ``simulated``) and by camera pose;
            None: none.
        camera, fps, colour, flip, frames_path, actions_path, channels: as in `ReadOptions`.
        subset: robomimic's filter key or LeRobot's split; None: all episodes.
        seconds: transition length, rounded to whole frames; needs a frame rate.
        step: transition length in frames.
        density: ``dense``: a transition from every frame; ``strided``: only those that do not overlap.
        episodes: most episodes to read, drawn by the seed.
        frames: most frames of an episode, from its start.
        hold_out: share of the episodes to take: those that `genie adapt --hold-out` keeps out with the same seed; 0:
            all.
        target: what probes predict; None: there is no ground truth, and only labels are counted.
        slices: additional tables, by name.
        lary: None: LARY's probe is left out.

    """

    name: str = Field(min_length=1)
    path: str
    role: Role
    robot: str | None = None
    source: str | None = None
    camera_pose: str | None = None
    camera: str | None = None
    fps: float | None = Field(None, gt=0)
    colour: Literal["rgb", "bgr"] | None = None
    flip: bool | None = None
    frames_path: str | None = None
    actions_path: str | None = None
    channels: Literal["first", "last"] | None = None
    subset: str | None = None
    seconds: float | None = Field(None, gt=0)
    step: int | None = Field(None, ge=1)
    density: Literal["dense", "strided"] = "dense"
    episodes: int | None = Field(None, ge=1)
    frames: int = Field(2000, ge=2)
    hold_out: float = Field(0.0, ge=0, lt=1)
    target: Target | None = None
    slices: Mapping[str, Slices] = {}
    lary: Lary | None = None

    @field_validator("path")
    @classmethod
    def _stays_below_the_root(cls, path: str) -> str:
        pure = PurePosixPath(path)
        if pure.is_absolute() or ".." in pure.parts or "\\" in path:
            raise ValueError(f"got {path}, expected a path below the data root, such as real/g1")
        return path

    @model_validator(mode="after")
    def _one_length(self) -> Self:
        if (self.seconds is None) == (self.step is None):
            raise ValueError("got both or neither of `seconds` and `step`, expected one of them")
        return self

    @property
    def reading(self) -> ReadOptions:
        """How to read the data."""
        return ReadOptions(
            camera=self.camera,
            fps=self.fps,
            colour=self.colour,
            flip=self.flip,
            frames_path=self.frames_path,
            actions_path=self.actions_path,
            channels=self.channels,
        )


class Suite(_Model):
    """Sets, and the means over some of them to report.

    Attributes:
        format: version of the file format.
        name: name of the suite.
        description: in words.
        sets: at least one, with distinct names.
        means: names of sets by the name of the mean over them; ``all`` always exists.
        probes: ``labels``: only linear probes of labels and of optical flow, which take a tenth of the time: no other
            baselines, no networks, no disturbances.

    """

    format: Literal[1] = FORMAT
    name: str
    description: str = ""
    sets: tuple[SuiteSet, ...] = Field(min_length=1)
    means: Mapping[str, tuple[str, ...]] = {}
    probes: Literal["all", "labels"] = "all"

    @model_validator(mode="after")
    def _names_fit(self) -> Self:
        names = [s.name for s in self.sets]
        twice = sorted({name for name in names if names.count(name) > 1})
        if twice:
            raise ValueError(f"got the set name {', '.join(twice)} more than once, expected a name of its own for each")
        probed = {s.name for s in self.sets if s.target is not None}
        for mean, members in self.means.items():
            unknown = sorted(set(members) - probed)
            if unknown or not members:
                raise ValueError(
                    f"the mean {mean} names {unknown or 'no set'}, expected sets of this suite with a target"
                )
        return self


def read_suite(where: str) -> Suite:
    """Read a suite: a JSON file, or the name of a shipped one (``zoo``).

    Raises:
        DatasetError: there is no such file, or it is not a valid suite; the message names the field.

    """
    shipped = SUITES / f"{where}.json"
    path = shipped if shipped.is_file() and not Path(where).is_file() else Path(where)
    try:
        content = json.loads(path.read_text(encoding="utf-8"))
    except OSError as error:
        names = ", ".join(sorted(p.stem for p in SUITES.glob("*.json")))
        raise DatasetError(
            f"{where}: {error.strerror or error}; expected a suite's JSON file, or one of: {names}"
        ) from error
    except ValueError as error:
        raise DatasetError(f"{path}: not JSON: {error}") from error
    try:
        return Suite.model_validate(content)
    except ValidationError as error:
        raise DatasetError(f"{path}: {problems_of(error)}") from error


__all__ = ["FORMAT", "SUITES", "Change", "Lary", "Role", "Slices", "Suite", "SuiteSet", "Target", "read_suite"]
