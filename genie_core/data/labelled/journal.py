"""Journal of an unfinished labelled file: its finished episodes, and the settings common to all of them.

It is the folder ``<output>.parts``: one small HDF5 file per episode, whole or absent, beside ``manifest.json``.
"""

from __future__ import annotations

import hashlib
from contextlib import suppress
from glob import escape
from pathlib import Path
from typing import Any, Literal, Self

from pydantic import BaseModel, ConfigDict, ValidationError

from genie_core.data.dataset import Dataset, Format
from genie_core.data.frames.convention import Colour
from genie_core.data.frames.turning import Rotation
from genie_core.data.labelled.labels import Density
from genie_core.data.labelled.provenance import FramesMode, LabelModel, Precision
from genie_core.data.storage.atomic import clear_leftovers, failures_named, write_bytes
from genie_core.data.storage.location import absolute
from genie_core.data.storage.lock import FolderLock, Owner
from genie_core.errors import DatasetError

_MANIFEST = "manifest.json"


def journal_folder(output: Path) -> Path:
    """Return the path of the journal of `output`, whether or not it exists."""
    return output.with_name(f"{output.name}.parts")


def part_file(folder: Path, episode: str) -> Path:
    """Return the path of an episode's labels in a journal's folder; valid and short for any episode name."""
    return folder / f"{hashlib.sha256(episode.encode()).hexdigest()[:32]}.hdf5"


class Manifest(BaseModel):
    """Settings common to all labels of one output; labels made under different manifests never mix.

    Attributes:
        bundle_id: SHA-256 of the bundle's contents.
        codebook_sha256: hash of the codebook's values.
        model_fps: frames a second at which the model was trained.
        step: transition length in frames given by the user; None: from each episode's frame rate.
        feature_dim: size of the features beside the labels; None: there are none.
        auto_steps: frame rates and the transition lengths that were found for them; None: none were looked for.
        fps: frames a second given by the user; None: from the files.
        density: which frames are labelled.
        camera: camera whose frames are labelled.
        fused: cameras whose labels are fused; None: of one camera.
        frames: how the output holds its frames.
        format: format of the source.
        source: absolute path of the source, or its URL.
        colour: channel order given by the user.
        flip: whether pictures are turned over, as given by the user.
        rotate: by how many degrees clockwise they are turned, as given by the user.
        frames_path: path of the frames in an HDF5 file, given by the user.
        precision: number format that the networks compute in.
        transport: ``jpeg`` if frames are sent to the model as JPEG.
        alignment_id: SHA-256 of the alignment that decodes the robot's actions; None: none does.
        frozen: ``kept`` if transitions of frozen pictures are labelled all the same.

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
    rotate: Rotation | None = None
    frames_path: str | None = None
    precision: Precision = "float32"
    transport: Literal["jpeg"] | None = None
    alignment_id: str | None = None
    feature_dim: int | None = None
    auto_steps: tuple[tuple[float | None, int], ...] | None = None
    frozen: Literal["kept"] | None = None
    fused: tuple[str, ...] | None = None

    @classmethod
    def of(cls, dataset: Dataset, model: LabelModel, **settings: Any) -> Self:
        """Return the manifest of labels of `dataset` by `model`; `settings`: the fields that neither of them says."""
        options = dataset.options
        return cls(
            bundle_id=model.bundle_id,
            codebook_sha256=model.codebook_sha256,
            model_fps=model.model_fps,
            precision=model.computation.precision,
            fps=dataset.fps_override,
            camera=dataset.camera,
            fused=dataset.fused or None,
            format=dataset.format,
            source=str(absolute(dataset.path)),
            colour=options.colour,
            flip=options.flip,
            rotate=options.rotate,
            frames_path=options.frames_path,
            **settings,
        )

    def difference(self, wanted: Self) -> str | None:
        """Describe the first field in which this manifest differs from `wanted`; None if they agree."""
        for field in type(self).model_fields:
            there, want = getattr(self, field), getattr(wanted, field)
            if there != want:
                return f"{field}: got {there}, expected {want}"
        return None


class Journal:
    """Finished episodes of one output, locked for this process while open. Not thread-safe.

    Attributes:
        folder: folder that holds them.
        is_old: whether an earlier run has left it behind.

    """

    def __init__(self, output: Path, manifest: Manifest, *, start_over: bool) -> None:
        """Open the journal of `output`, or start one.

        Raises:
            DatasetError: another process has it open (the message names it); it has another manifest and a finished
                episode, and `start_over` is False; or it cannot be written.

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

    @property
    def owner(self) -> Owner:
        """The process that has it open, as the journal records it; others may write for it as long as that holds."""
        return self._lock.owner

    def check_held(self) -> None:
        """Raise DatasetError if another machine has taken the journal over meanwhile."""
        self._lock.check()

    def part(self, episode: str) -> Path:
        """Return the path of an episode's labels, whether or not it exists."""
        return part_file(self.folder, episode)

    def parts(self) -> list[Path]:
        """Return the files of the finished episodes."""
        return sorted(self.folder.glob("*.hdf5"))

    def remove(self) -> None:
        """Delete the journal, leftovers of killed runs in it and beside the output, and its folder if then empty.

        If killed half way, it is still a journal: the manifest is deleted last.
        """
        try:
            with failures_named(self.folder):
                self._remove_files()
        finally:
            self.close()

    def close(self) -> None:
        """Release the journal, which stays if it holds a finished episode; may be called again."""
        with suppress(OSError):
            if self._lock.is_held and not any(self.folder.glob("*.hdf5")):
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
        return read_manifest(self.folder)


def read_manifest(folder: Path) -> Manifest | None:
    """Return the manifest of a journal's folder; None if there is none. Raises DatasetError if it cannot be read."""
    path = folder / _MANIFEST
    try:
        return Manifest.model_validate_json(path.read_bytes())
    except FileNotFoundError:
        return None
    except (OSError, ValidationError) as error:
        raise DatasetError(f"{path}: not a manifest that this version reads; remove the folder it is in") from error


__all__ = ["Journal", "Manifest", "journal_folder", "part_file", "read_manifest"]
