"""Which machine labelled which episode: a file beside an output that several machines have worked on."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from datetime import UTC, datetime
from itertools import count
from pathlib import Path
from typing import Literal

from pydantic import BaseModel, ConfigDict, ValidationError

from genie_core import __version__
from genie_core.data.formats.robomimic.reader import LABEL_GROUP
from genie_core.data.labelled.assembly import StoredLabels
from genie_core.data.labelled.checksum import CHECKSUM
from genie_core.data.labelled.journal import Manifest
from genie_core.data.labelled.part_writer import host_of
from genie_core.data.labelled.schema import read_attrs_of
from genie_core.data.labelled.shards import ShardEpisode
from genie_core.data.storage.atomic import failures_named, write_bytes
from genie_core.data.storage.hdf5 import read_array, read_hdf5
from genie_core.errors import DatasetError


class MachineEpisode(ShardEpisode):
    """An episode, and who labelled it.

    Attributes:
        host: machine that wrote its labels; None: not known, as an earlier run left it in the output.
        processor: on which the networks ran; None: not known.
        torch_version: version of PyTorch there.

    """

    host: str | None
    processor: str | None
    torch_version: str | None


class Machines(BaseModel):
    """What several machines have done for one output.

    Attributes:
        engine: what ran them.
        settings: settings of all labels.
        bundle_name: name of the model.
        episodes: in the dataset's order.
        skipped: name and reason of each that could not be labelled.
        finished: when this was written, ISO 8601, UTC.
        tool_version: version of Genie.

    """

    model_config = ConfigDict(frozen=True, extra="forbid")

    schema_version: Literal[1] = 1
    engine: Literal["ray"]
    settings: Manifest
    bundle_name: str
    episodes: tuple[MachineEpisode, ...]
    skipped: tuple[tuple[str, str], ...]
    finished: str
    tool_version: str


def machines_file(output: Path) -> Path:
    """Return the path of the file, whether or not it exists."""
    return output.with_name(f"{output.name}.machines.json")


def record_machines(
    output: Path,
    stored: Mapping[str, StoredLabels],
    settings: Manifest,
    bundle_name: str,
    skipped: Sequence[tuple[str, str]],
) -> str | None:
    """Write who labelled the finished episodes in `stored`, by name, before they leave the journal.

    Of an episode that lies in the output already, what this file said before is kept, if its labels are the same. A
    file that this version cannot read is kept under another name.

    Returns:
        What to tell the user of such a file; None: there was none.

    Raises:
        DatasetError: an episode cannot be read, or the file not be read or written.

    """
    path = machines_file(output)
    before, problem = _before(path)
    episodes = []
    for name, place in stored.items():
        found = _episode(name, place)
        there = before.get(name)
        episodes.append(there if found.host is None and there is not None and there.sha256 == found.sha256 else found)
    machines = Machines(
        engine="ray",
        settings=settings,
        bundle_name=bundle_name,
        episodes=tuple(episodes),
        skipped=tuple(skipped),
        finished=datetime.now(UTC).isoformat(timespec="seconds"),
        tool_version=__version__,
    )
    with failures_named(path):
        write_bytes(path, machines.model_dump_json(indent=2).encode())
    return problem


def read_machines(path: Path) -> Machines:
    """Read such a file. Raises DatasetError if it cannot be read, is damaged, or of another version."""
    try:
        return Machines.model_validate_json(path.read_bytes())
    except OSError as error:
        raise DatasetError(f"{path}: cannot be read: {error.strerror}") from error
    except ValidationError as error:
        raise DatasetError(f"{path}: does not say which machines labelled, as this version reads it") from error


def _before(path: Path) -> tuple[dict[str, MachineEpisode], str | None]:
    """Return what an earlier run wrote, by episode, and what to tell of a file that had to be put aside."""
    if not path.exists():
        return {}, None
    try:
        return {episode.name: episode for episode in read_machines(path).episodes}, None
    except DatasetError as error:
        if not isinstance(error.__cause__, ValidationError):
            raise
        with failures_named(path):
            aside = _free_name(path)
            path.rename(aside)
        return {}, f"{error}; kept as {aside.name}: which machine labelled what earlier runs left is not known any more"


def _free_name(path: Path) -> Path:
    """Return a name beside `path` that nothing has."""
    names = (path.with_name(f"{path.name}.damaged{'' if number == 1 else f'-{number}'}") for number in count(1))
    return next(name for name in names if not name.exists())


def _episode(name: str, place: StoredLabels) -> MachineEpisode:
    """Read who labelled an episode; of its labels only which are valid, as a run checked the others."""
    with read_hdf5(place.path) as file:
        demo = file[place.group]
        attrs = read_attrs_of(demo)
        valid_T = read_array(demo[LABEL_GROUP]["valid"])
        return MachineEpisode(
            name=name,
            frames=len(valid_T),
            transitions=int(valid_T.sum()),
            step=attrs.step,
            step_policy=attrs.step_policy,
            sha256=str(demo[LABEL_GROUP].attrs[CHECKSUM]),
            host=host_of(file) if place.group == "/" else None,
            processor=attrs.computation.processor,
            torch_version=attrs.computation.torch_version,
        )


__all__ = ["MachineEpisode", "Machines", "machines_file", "read_machines", "record_machines"]
