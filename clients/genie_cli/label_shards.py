"""``genie label --shard`` and ``--merge``: what they may not be combined with, and merging with its summary."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING

from genie_cli.progress import progress_bar
from genie_core.errors import GenieError

if TYPE_CHECKING:
    from genie_core.data import Dataset, FramesMode
    from genie_core.data.labelled.shards import Shard


def parse_shard(words: str, *, in_place: bool) -> Shard:
    """Read ``--shard I/N``. Raises GenieError if it is not of that form, or labels go into the data itself."""
    from genie_core.data.labelled.shards import Shard

    if in_place:
        raise GenieError("--shard: got it with --in-place: shards are files of their own")
    return Shard.parse(words)


def place_of(shard: Shard, output: Path, dataset: Dataset, frames: FramesMode) -> Path:
    """Return the file that a shard writes, in a folder beside the output that is there from now on.

    Raises:
        GenieError: the output would be a folder in the layout of the source, which cannot be merged, or the folder
            cannot be made.

    """
    from genie_core.data.labelled.output import keeps_layout
    from genie_core.data.labelled.shards import begin_shards

    if keeps_layout(dataset, frames):
        raise GenieError(
            f"--shard: got --keep-frames {frames} of {dataset.format} files, which keep their layout, "
            "expected model or none"
        )
    begin_shards(output)
    return shard.file(output)


def check_alone(**given: object) -> None:
    """Raise GenieError if `--merge` comes with options that say how to label: its shards' plan says that."""
    names = [f"--{name.replace('_', '-')}" for name, value in given.items() if value]
    if names:
        raise GenieError(
            f"--merge: got it with {', '.join(names)}: leave that out, the shards' plan says how the labels were made"
        )


def merge_shards(dataset: Dataset, output: Path, *, overwrite: bool) -> None:
    """Merge the shards of `output`, with a progress bar, and print what they have done."""
    from genie_core.data.labelled.merge import merge
    from genie_core.data.labelled.shards import read_plan

    plan = read_plan(output)
    with progress_bar("checking", plan.shards if plan else 1, "shards") as bar:
        merged = merge(output, dataset, overwrite=overwrite, advance=bar.advance)
    for entry in merged.entries:
        transitions = sum(episode.transitions for episode in entry.episodes)
        frames = sum(episode.frames for episode in entry.episodes)
        print(
            f"shard {entry.shard}/{entry.plan.shards}: {len(entry.episodes)} episodes, {frames:,} frames, "
            f"{transitions:,} transitions, on {entry.host}"
        )
    for name, reason in merged.skipped:
        print(f"left out {name}: {reason}")
    if merged.was_complete:
        print(f"{output} is complete: it holds these labels of all {merged.episodes} episodes")
    else:
        print(f"wrote {output}: {merged.episodes} episodes of {len(merged.entries)} shards")


__all__ = ["check_alone", "merge_shards", "parse_shard", "place_of"]
