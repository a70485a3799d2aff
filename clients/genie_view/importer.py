"""The program `rerun-importer-genie`, which Rerun's viewer runs for every file that it is asked to open.

Rerun takes any program on the PATH of a name like this for an importer: it gives it a path, and reads a recording from
its standard output. Files that are not ours are declined by an exit code, quickly: nothing is imported before that.
"""

from __future__ import annotations

import argparse
import sys
from collections.abc import Sequence
from pathlib import Path

NOT_OURS = 66
"""Exit code by which an importer declines a file."""

_SUFFIXES = frozenset({".h5", ".hdf5", ".hdf"})
_MOST_EPISODES = 8


def main(arguments: Sequence[str] | None = None) -> None:
    """Write a recording of the labelled file that is named to standard output, and exit."""
    parser = argparse.ArgumentParser(
        prog="rerun-importer-genie",
        description="Lets the Rerun viewer open files that `genie label` has written. Rerun runs it by itself.",
    )
    parser.add_argument("path", type=Path)
    parser.add_argument("--recording-id", help="identity to give the first episode's recording")
    known, _ = parser.parse_known_args(arguments)  # Rerun passes more, and more with every version
    sys.exit(_import(known.path, known.recording_id))


def _import(path: Path, recording_id: str | None) -> int:
    if path.suffix.lower() not in _SUFFIXES or not path.is_file():
        return NOT_OURS
    from genie_core.data.labelled.reading import carries_labels, open_labelled
    from genie_core.errors import GenieError

    try:
        if not carries_labels(path):
            return NOT_OURS
    except GenieError:
        return NOT_OURS  # no HDF5, whatever it is called
    try:
        labelled = open_labelled(path)
        names = labelled.episodes[:_MOST_EPISODES]
        if len(names) < len(labelled.episodes):
            more = f"showing {len(names)} of {len(labelled.episodes)} episodes; genie view --episode shows others"
            print(f"{path.name}: {more}", file=sys.stderr)
        _write(labelled, names, recording_id)
    except GenieError as error:
        print(f"rerun-importer-genie: {error}", file=sys.stderr)
        return 1
    return 0


def _write(labelled: object, names: Sequence[str], recording_id: str | None) -> None:
    import shutil
    from dataclasses import replace
    from tempfile import TemporaryDirectory

    from genie_core.data import LabelledFile
    from genie_view.frame_log import Codecs
    from genie_view.labels_view import LabelledViews, labels_recording
    from genie_view.recording import write_recordings

    assert isinstance(labelled, LabelledFile)
    recordings = [labels_recording(view, Codecs.here()) for view in LabelledViews(labelled).of(names)]
    recordings[0] = replace(recordings[0], recording_id=recording_id)
    with TemporaryDirectory() as folder:
        whole = Path(folder) / "labels.rrd"
        write_recordings(whole, recordings)
        with whole.open("rb") as file:
            shutil.copyfileobj(file, sys.stdout.buffer)
        sys.stdout.buffer.flush()


__all__ = ["NOT_OURS", "main"]
