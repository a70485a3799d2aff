"""What a suite is: the data sets that a bundle is evaluated on, and what is read off each. Reads nothing but JSON."""

from __future__ import annotations

import json
from collections.abc import Mapping
from pathlib import Path, PurePosixPath
from typing import Literal, Self

from pydantic import BaseModel, ConfigDict, Field, ValidationError, field_validator, model_validator

from genie_core.data import ReadOptions
from genie_core.errors import DatasetError, problems_of

FORMAT: Literal[1] = 1
"""Of suite files; grows when an older Genie would read a newer file wrongly."""

SUITES = Path(__file__).parent.parent / "suites"
"""Suites that are shipped, by name: ``zoo`` is ``suites/zoo.json``."""

Change = Literal["change", "mean", "first"]
"""What is predicted of a transition x_t -> x_{t+k}, from an array a with a row a frame. ``change``: a_{t+k} - a_t.
``mean``: the mean of a_t .. a_{t+k-1}. ``first``: a_t."""

Role = Literal["trained", "held-out"]
"""``trained``: the bundle's training saw this source (other episodes of it, or these). ``held-out``: it did not."""


class _Model(BaseModel):
    model_config = ConfigDict(frozen=True, extra="forbid")


class Target(_Model):
    """What the probes of one set predict.

    Attributes:
        array: its name in the data, (T, A): ``observation.state``, ``actions``, ``obs/robot0_eef_pos``.
        columns: which of its numbers; None: all.
        read: what of it, over a transition.
        angles: those of `columns` that are angles in radians: their change is taken the short way round.
        groups: names of parts of `columns` that are reported by themselves.

    """

    array: str
    columns: tuple[int, ...] | None = None
    read: Change = "change"
    angles: tuple[int, ...] = ()
    groups: Mapping[str, tuple[int, ...]] = {}


class Slices(_Model):
    """Transitions told apart by a number that the data hold for every frame, for a table of its own.

    Attributes:
        array: its name, (T,) or (T, 1): the number of the frame that a transition starts at counts.
        values: the numbers of each slice, by the slice's name.
        edges: or its range, low <= number < high.

    """

    array: str
    values: Mapping[str, tuple[float, ...]] = {}
    edges: Mapping[str, tuple[float, float]] = {}


class Lary(_Model):
    """The poses that LARY's probe predicts in chunks: the array, and which of its numbers."""

    array: str
    columns: tuple[int, ...] | None = None


class SuiteSet(_Model):
    """One set: where it is, how it is read, how long a transition is, what is probed.

    Exactly one of `seconds` and `step` says how long a transition is.

    Attributes:
        name: in the tables.
        path: below the data root, with forward slashes.
        role: whether training saw this source.
        robot, source, camera_pose: words that tables by robot, by source (``real``, ``simulated``), by camera pose are
            made of; None: none.
        camera, fps, colour, flip, frames_path, actions_path, channels: as of `ReadOptions`.
        subset: robomimic's filter key or LeRobot's split; None: all episodes.
        seconds: length of a transition, rounded to whole frames; needs a frame rate.
        step: the same in frames.
        density: ``dense``: a transition from every frame; ``strided``: only those that do not overlap.
        episodes: most that are read, drawn by the seed.
        frames: most of an episode, from its beginning.
        target: what probes predict; None: there is no truth, and labels alone are counted.
        slices: tables of their own, by name.
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
        """How the data are read."""
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
    """Sets, and the means over some of them that are reported.

    Attributes:
        format: of the file.
        name: of the suite.
        description: in words.
        sets: at least one, each of its own name.
        means: names of sets by the name of the mean over them; ``all`` is always there.

    """

    format: Literal[1] = FORMAT
    name: str
    description: str = ""
    sets: tuple[SuiteSet, ...] = Field(min_length=1)
    means: Mapping[str, tuple[str, ...]] = {}

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
    """Read a suite: a JSON file, or the name of one that is shipped (``zoo``).

    Raises:
        DatasetError: there is no such file, or it is not what a suite should be; the message names the field.

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
