"""RLDS / Open X-Embodiment format: how a folder of TFRecords is recognised, and survey of its metadata."""

from __future__ import annotations

from genie_core.data.dataset import Dataset, Format, ReadOptions, Sources, Survey, choose_camera
from genie_core.data.episode import Episode
from genie_core.data.formats.rlds.meta import read_rlds_meta, rlds_reason
from genie_core.data.formats.rlds.reader import rlds_readers
from genie_core.data.frames.convention import Convention
from genie_core.data.storage.location import SourcePath
from genie_core.errors import DatasetError

_RATE = "RLDS states no frame rate: each dataset of Open X-Embodiment has its own"


class RldsLayout:
    """A folder of TFRecord shards as TensorFlow Datasets writes them."""

    name: Format = "rlds"
    looks_for = "shards named as TFDS names them (x-train.tfrecord-00000-of-00001), or features.json"

    def recognise(self, path: SourcePath) -> str | None:
        """Recognise it by the names of its files."""
        reason = rlds_reason(path)
        return None if reason is None else f"it {reason}"

    def survey(self, sources: Sources, options: ReadOptions) -> Survey:
        """Read the metadata, and count the records if the metadata do not give their number."""
        cameras: tuple[str, ...] = ()
        try:
            meta = read_rlds_meta(sources.path)
            cameras = meta.cameras
            camera = choose_camera(meta.path, cameras, options.camera)
            convention = options.convention(Convention())
            episodes = tuple(
                Episode(reader.entry.name, reader.entry.shard.path, camera, reader, options.fps, convention)
                for reader in rlds_readers(meta, camera)
            )
            masks = meta.masks
        except DatasetError as error:
            return Survey(None, cameras, len(sources.files), obstacles=(str(error),))
        dataset = Dataset("rlds", sources.path, cameras, camera, episodes, options, masks)
        facts = () if options.fps else (_RATE,)
        return Survey(dataset, cameras, len(meta.files), facts=facts, warnings=meta.warnings)


__all__ = ["RldsLayout"]
