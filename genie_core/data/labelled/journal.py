"""The journal of an unfinished labelled file: its finished episodes, and what every one of them was made with.

It is the folder ``<output>.parts``: one small HDF5 file an episode, whole or not there, beside ``manifest.json``.
"""

from __future__ import annotations

import hashlib
from contextlib import suppress
from glob import escape
from pathlib import Path
from typing import Literal, Self

from pydantic import BaseModel, ConfigDict, ValidationError

from genie_core.data.dataset import Format
from genie_core.data.frames.convention import Colour
from genie_core.data.labelled.labels import Density
from genie_core.data.labelled.provenance import FramesMode, Precision
from genie_core.data.storage.atomic import clear_leftovers, failures_named, write_bytes
from genie_core.data.storage.lock import FolderLock
from genie_core.errors import DatasetError

_MANIFEST = "manifest.json"


def journal_folder(output: Path) -> Path:
    """Where the journal of `output` is, or would be."""
    return output.with_name(f"{output.name}.parts")


class Manifest(BaseModel):
    """What all labels of one output have in common; labels of another manifest never mix with them.

    Attributes:
        bundle_id: SHA-256 of the bundle's contents.
        codebook_sha256: hash of the codebook's values.
        model_fps: frames a second at which the model was trained.
        step: transition length in frames as the user gave it; None: from each episode's frame rate.
        fps: frames a second as the user gave it; None: what the files say.
        density: which frames are labelled.
        camera: the camera whose frames are labelled.
        frames: where the output has its frames.
        format: of the source.
        source: path of the source, absolute, or its URL.
        colour: order of the channels as the user gave it.
        flip: whether pictures are turned over, as the user gave it.
        frames_path: where in an HDF5 file the frames are, as the user gave it.
        precision: what the networks compute in.
        transport: ``jpeg`` where frames go to the model as JPEG.
        alignment_id: SHA-256 of what decodes the robot's actions; None: nothing does.

    """

    model_config = ConfigDict(frozen=True, extra="forbid", protected_namespaces=())

    bundle_id: str
    codebook_sha256: str
    model_fps: float
    step: int | None
    fps: float | None
    density: Density
    camera: str
    frames: FramesMode
    format: Format
    source: str
    colour: Colour | None = None
    flip: bool | None = None
    frames_path: str | None = None
    precision: Precision = "float32"
    transport: Literal["jpeg"] | None = None
    alignment_id: str | None = None

    def difference(self, wanted: Self) -> str | None:
        """The first field in which this manifest is not `wanted`, in words; None where there is none."""
        for field in type(self).model_fields:
            there, want = getattr(self, field), getattr(wanted, field)
            if there != want:
                return f"{field}: there is {there}, wanted {want}"
        return None


class Journal:
    """The finished episodes of one output; nobody else's while it is open. For one thread at a time.

    Attributes:
        folder: where they are.
        is_old: whether an earlier run has left it.

    """

    def __init__(self, output: Path, manifest: Manifest, *, start_over: bool) -> None:
        """Open the journal of `output`, or begin one.

        Raises:
            DatasetError: another process has it open, and which; there is one with another manifest and a finished
                episode, and `start_over` is not set; or it cannot be written.

        """
        self.folder = journal_folder(output)
        self._old_temporaries = f"{escape(output.name)}.tmp-*"  # of versions before 0.2
        self.is_old = self.folder.is_dir()
        self._lock = FolderLock(self.folder, f"labels into {output.name}")
        try:
            self._begin(manifest, start_over)
        except BaseException:
            self.close()
            raise

    def _begin(self, manifest: Manifest, start_over: bool) -> None:
        there = self._read_manifest()
        difference = None if there is None else there.difference(manifest)
        if difference and not start_over and any(self.folder.glob("*.hdf5")):
            raise DatasetError(
                f"{self.folder}: holds episodes of an unfinished run with other settings ({difference}); "
                "finish that run with its own settings, or overwrite it"
            )
        if difference:
            self._remove_files()
        if difference or there is None:
            path = self.folder / _MANIFEST
            with failures_named(path):
                write_bytes(path, manifest.model_dump_json(indent=2).encode())

    def part(self, episode: str) -> Path:
        """Where the labels of an episode are, or will be; any name makes a short and valid file name."""
        return self.folder / f"{hashlib.sha256(episode.encode()).hexdigest()[:32]}.hdf5"

    def parts(self) -> list[Path]:
        """The files of the finished episodes."""
        return sorted(self.folder.glob("*.hdf5"))

    def remove(self) -> None:
        """Delete the journal, what killed runs have left of it and of the output, and its folder if that is empty.

        Killed half way, it is still a journal: its manifest goes last.
        """
        self._remove_files()
        self.close()

    def close(self) -> None:
        """Let others use the journal, which stays where it holds a finished episode; may be called again."""
        if not any(self.folder.glob("*.hdf5")):
            (self.folder / _MANIFEST).unlink(missing_ok=True)
        self._lock.release()
        with suppress(OSError):
            self.folder.rmdir()

    def _remove_files(self) -> None:
        clear_leftovers(self.folder, held=True)
        clear_leftovers(self.folder.parent)
        parts = [*self.folder.glob("*.hdf5"), *self.folder.glob("*.tmp-*"), self.folder / _MANIFEST]
        for file in [*self.folder.parent.glob(self._old_temporaries), *parts]:
            file.unlink(missing_ok=True)

    def _read_manifest(self) -> Manifest | None:
        path = self.folder / _MANIFEST
        try:
            return Manifest.model_validate_json(path.read_bytes())
        except FileNotFoundError:
            return None
        except (OSError, ValidationError) as error:
            raise DatasetError(f"{path}: not a manifest that this version reads; remove the folder it is in") from error


__all__ = ["Journal", "Manifest", "journal_folder"]
