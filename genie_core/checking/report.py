"""What a check found: the verdict with its reasons, all numbers, and a row for each episode."""

from __future__ import annotations

import shlex
from collections.abc import Mapping, Sequence
from pathlib import Path

import numpy as np
from pydantic import BaseModel, ConfigDict

from genie_core.checking.codes import CheckedEpisode
from genie_core.checking.rules import Judged, Verdict
from genie_core.data.frames.content import runs
from genie_core.data.storage.atomic import new_file
from genie_core.errors import DatasetError
from genie_core.evaluation.metrics import Metric
from genie_core.statistics.metrics import entropy

LEAST_USE = 0.1
"""Share of an episode's transitions that must move and have a label; with fewer the episode is better deleted."""


class EpisodeRow(BaseModel):
    """One episode, as a row for curation tools.

    Attributes:
        episode: its name in the labelled file.
        source: file that its frames were labelled from.
        source_name: its name in the labelled dataset.
        frames: number of frames.
        step: frames of a transition.
        labelled: number of transitions with a label.
        moving: number of those in which something moves.
        blank: transitions without a label because a picture is of one colour.
        gap: the same for a gap in time.
        frozen: the same for frozen pictures.
        top_code: most frequent code among moving transitions; -1: nothing moves.
        top_code_share: its share; 0: nothing moves.
        code_entropy_bits: entropy of the codes of moving transitions.
        confidence_median: median confidence of its labels; None without labels.
        latent_length_median: median length of its moving latents; None: nothing moves.
        longest_static: transitions in its longest row in which nothing moves.
        cuts: cuts of its video; None: its pictures were not looked at.
        delete: whether it is better deleted.
        why: why; empty otherwise.

    """

    model_config = ConfigDict(frozen=True)

    episode: str
    source: str
    source_name: str
    frames: int
    step: int
    labelled: int
    moving: int
    blank: int
    gap: int
    frozen: int
    top_code: int
    top_code_share: float
    code_entropy_bits: float
    confidence_median: float | None
    latent_length_median: float | None
    longest_static: int
    cuts: int | None
    delete: bool
    why: str


class CheckReport(BaseModel):
    """The result of `genie check`; its JSON has the same names.

    Attributes:
        path: the labelled file, or the data of which a sample was labelled.
        bundle: name of the bundle that made the labels.
        bundle_id: SHA-256 of the bundle.
        verdict: *fit*, *fit with care* or *do not use*.
        decided_by: the numbers that decided, the worst first.
        judged: every number for which there is a rule.
        metrics: every number that was measured.
        missing: what could not be measured, and why.
        code_share: share of each code among all labels.
        episodes: a row for each episode.
        delete_command: command line that deletes the episodes to delete from their LeRobot dataset; None: there are
            none, or it is no LeRobot dataset of version 3.

    """

    model_config = ConfigDict(frozen=True)

    path: str
    bundle: str
    bundle_id: str
    verdict: Verdict
    decided_by: tuple[Judged, ...]
    judged: tuple[Judged, ...]
    metrics: Mapping[str, Metric]
    missing: Mapping[str, str]
    code_share: tuple[float, ...]
    episodes: tuple[EpisodeRow, ...]
    delete_command: str | None


def episode_row(
    episode: CheckedEpisode, source: str, source_name: str, codes: int, cuts: int | None = None
) -> EpisodeRow:
    """Summarise one episode; `cuts`: how often its video is cut, None if nobody looked."""
    count_K = np.bincount(episode.code_S[episode.moving_S], minlength=codes).astype(np.float64)
    moving, labelled = int(count_K.sum()), len(episode.code_S)
    every = labelled + episode.excluded_total
    delete = moving < LEAST_USE * every or not every
    why = f"{moving} of {every} transitions move and have a label" if delete else ""
    length = np.linalg.norm(episode.latent_SD[episode.moving_S], axis=1)
    return EpisodeRow(
        episode=episode.name,
        source=source,
        source_name=source_name,
        frames=episode.frames,
        step=episode.step,
        labelled=labelled,
        moving=moving,
        blank=episode.excluded.get("blank", 0),
        gap=episode.excluded.get("gap", 0),
        frozen=episode.excluded.get("frozen", 0),
        top_code=int(count_K.argmax()) if moving else -1,
        top_code_share=float(count_K.max() / moving) if moving else 0.0,
        code_entropy_bits=float(entropy(count_K) / np.log(2)),
        confidence_median=float(np.median(episode.confidence_S)) if labelled else None,
        latent_length_median=float(np.median(length)) if moving else None,
        longest_static=max((stop - start for start, stop in runs(~episode.moving_S)), default=0),
        cuts=cuts,
        delete=delete,
        why=why,
    )


def delete_command(dataset: Path, names: Sequence[str]) -> str:
    """Return the `lerobot-edit-dataset` line that copies a LeRobot dataset without some episodes, ``episode_000003``.

    It names the dataset by its folder's name below ``HF_LEROBOT_HOME``, because `--root` has had two meanings.
    """
    indices = sorted({int(name.rpartition("_")[2]) for name in names})
    home, name = shlex.quote(str(dataset.parent)), shlex.quote(dataset.name)
    return (
        f"HF_LEROBOT_HOME={home} lerobot-edit-dataset --repo_id {name} --new_repo_id {name}_checked "
        f'--operation.type delete_episodes --operation.episode_indices "{indices}"'
    )


def write_episodes(path: Path, rows: Sequence[EpisodeRow]) -> None:
    """Write the rows as a Parquet file, whole or not at all. Raises DatasetError if it exists."""
    import pyarrow as pa
    from pyarrow.parquet import write_table

    types: dict[object, pa.DataType] = {
        bool: pa.bool_(),
        int: pa.int64(),
        int | None: pa.int64(),
        str: pa.string(),
    }
    fields = EpisodeRow.model_fields.items()
    schema = pa.schema([(name, types.get(field.annotation, pa.float64())) for name, field in fields])
    table = pa.Table.from_pylist([row.model_dump() for row in rows], schema=schema)
    try:
        with new_file(path, suffix=".parquet", replace=False) as temporary:
            write_table(table, temporary)
    except FileExistsError as error:
        raise DatasetError(f"{path} exists: choose another name for --parquet") from error


__all__ = ["CheckReport", "EpisodeRow", "delete_command", "episode_row", "write_episodes"]
