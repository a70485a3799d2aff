"""A disk that fails at each write, flush and rename in turn, and one that becomes read-only: nothing is lost."""

from __future__ import annotations

import errno
import io
import os
import shutil
from collections.abc import Callable
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

import pytest

from genie_core.data import FramesMode, LabelWriter, open_dataset
from genie_core.data.labelled.verify import verify_labelled
from genie_core.data.storage import hdf5
from genie_core.data.storage.atomic import clear_leftovers
from genie_core.errors import DatasetError
from tests.factories.data import make_label_model, make_labels, make_robomimic

EVERY = bool(os.environ.get("GENIE_EVERY_FAILURE"))
"""Let each operation fail, not every ninth or so."""

NOON = datetime(2026, 7, 1, 12, tzinfo=UTC)


class Disk:
    """Counts what is written, flushed, renamed and removed; the operation `fails_at` fails, or all from it on."""

    def __init__(self, monkeypatch: pytest.MonkeyPatch, fails_at: int | None, *, for_good: bool = False) -> None:
        self.operations = 0
        self._fails_at, self._for_good = fails_at, for_good
        self._error = errno.EROFS if for_good else errno.ENOSPC
        for name in ("fsync", "replace", "mkdir") + (("unlink", "rmdir") if for_good else ()):
            monkeypatch.setattr(os, name, self._failing(getattr(os, name)))
        monkeypatch.setattr(Path, "write_bytes", self._failing(Path.write_bytes))
        disk = self

        class File(io.FileIO):
            def write(self, data: Any) -> int:
                disk._operate()
                return super().write(data)

        monkeypatch.setattr(hdf5, "open", lambda path, mode, buffering: File(path, mode), raising=False)

    def _failing(self, real: Callable[..., Any]) -> Callable[..., Any]:
        def call(*args: Any, **options: Any) -> Any:
            self._operate()
            return real(*args, **options)

        return call

    def _operate(self) -> None:
        self.operations += 1
        at = self._fails_at
        if at is not None and (self.operations == at or (self._for_good and self.operations > at)):
            raise OSError(self._error, os.strerror(self._error))


def label(source: Path, output: Path, frames: FramesMode) -> None:
    with LabelWriter(output, open_dataset(source), make_label_model(), frames=frames, created=NOON) as writer:
        for number, episode in enumerate(writer.pending()):
            writer.add(episode, make_labels(episode.num_frames, seed=number))
        writer.finish()


@pytest.mark.parametrize("for_good", [False, True])
@pytest.mark.parametrize("frames", ["copy", "in_place"])
def test_whatever_fails_the_same_command_goes_on_and_the_file_is_the_same_to_the_byte(
    tmp_path: Path, frames: FramesMode, for_good: bool
) -> None:
    made = make_robomimic(tmp_path / "made.hdf5", episodes=1, frames=4, size=4)
    folder = tmp_path / "work"
    source = folder / "a.hdf5"
    output = source if frames == "in_place" else folder / "out.hdf5"

    def begin() -> None:
        shutil.rmtree(folder, ignore_errors=True)
        folder.mkdir()
        shutil.copy2(made, source)

    begin()
    with pytest.MonkeyPatch.context() as patch:
        disk = Disk(patch, None, for_good=for_good)
        label(source, output, frames)
        operations = disk.operations
    expected, failed = output.read_bytes(), 0
    moments = range(1, operations + 1, 1 if EVERY else max(1, operations // 12))
    for at in moments:
        begin()
        with pytest.MonkeyPatch.context() as patch:
            Disk(patch, at, for_good=for_good)
            try:
                label(source, output, frames)
            except DatasetError:
                failed += 1
        assert source.read_bytes() in (made.read_bytes(), expected)
        if output.exists():
            assert output.read_bytes() in (made.read_bytes(), expected)
        clear_leftovers(folder, held=True)  # this process, which could not, lives on
        is_whole = output.exists() and output.read_bytes() == expected
        if not is_whole or (folder / f"{output.name}.parts").exists():
            label(source, output, frames)
        assert output.read_bytes() == expected
        assert sorted(folder.iterdir()) == sorted({source, output})
        assert verify_labelled(output).is_good
    assert failed >= len(moments) - 6  # what cannot be removed at the very end hurts nobody
