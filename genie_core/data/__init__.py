"""Reads robot video, and writes labels. Imports no torch.

Opening: `open_dataset` returns a `Dataset` of `Episode`s; `inspect_dataset` reports whether and how it can be labelled.
Frames: `resize_frames` is the only resizing; `conform_frames` rejects anything but 8-bit RGB.
Labels: `LabelWriter` writes them beside the frames; `open_labelled` and `read_labels` read them back.
"""

from genie_core.data.auto_step import AutoSteps, FoundStep, find_steps
from genie_core.data.dataset import Dataset, Format, ReadOptions
from genie_core.data.episode import Episode, FrameReader
from genie_core.data.frames.convention import Colour, Convention
from genie_core.data.frames.images import decode_image, encode_image, read_image
from genie_core.data.frames.resize import LEAST_SIDE, Frames, conform_frames, resize_frames
from genie_core.data.frames.timing import Step, resolve_step
from genie_core.data.frames.video_write import write_video
from genie_core.data.hold_out import hold_out_episodes
from genie_core.data.inspect import DatasetReport, EpisodeReport, inspect_dataset
from genie_core.data.labelled.file_provenance import FileProvenance
from genie_core.data.labelled.kept_steps import kept_steps
from genie_core.data.labelled.labels import Density, Labels, check_code
from genie_core.data.labelled.output import Existing, default_output
from genie_core.data.labelled.part import EpisodePart
from genie_core.data.labelled.provenance import (
    Computation,
    FramesMode,
    LabelAlignment,
    LabelModel,
    Precision,
    Provenance,
    Transport,
)
from genie_core.data.labelled.reading import LabelledFile, open_labelled, read_labels
from genie_core.data.labelled.writer import LabelWriter
from genie_core.data.opening import open_dataset
from genie_core.data.storage.location import RemotePath, SourcePath, source_path

__all__ = [
    "LEAST_SIDE",
    "AutoSteps",
    "Colour",
    "Computation",
    "Convention",
    "Dataset",
    "DatasetReport",
    "Density",
    "Episode",
    "EpisodePart",
    "EpisodeReport",
    "Existing",
    "FileProvenance",
    "Format",
    "FoundStep",
    "FrameReader",
    "Frames",
    "FramesMode",
    "LabelAlignment",
    "LabelModel",
    "LabelWriter",
    "LabelledFile",
    "Labels",
    "Precision",
    "Provenance",
    "ReadOptions",
    "RemotePath",
    "SourcePath",
    "Step",
    "Transport",
    "check_code",
    "conform_frames",
    "decode_image",
    "default_output",
    "encode_image",
    "find_steps",
    "hold_out_episodes",
    "inspect_dataset",
    "kept_steps",
    "open_dataset",
    "open_labelled",
    "read_image",
    "read_labels",
    "resize_frames",
    "resolve_step",
    "source_path",
    "write_video",
]
