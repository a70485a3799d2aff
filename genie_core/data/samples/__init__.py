"""The sample shipped with Genie: three short episodes of a simulated Panda arm, in robomimic's layout.

Made by `genie make-data genie_core/data/samples/panda_lift.hdf5 --episodes 3 --frames 40 --looks laboratory --seed 7`.
"""

from __future__ import annotations

from pathlib import Path


def sample_path() -> Path:
    """Return the path of the sample's HDF5 file: 64 x 64 frames at 10 frames/s, with true actions and positions."""
    return Path(__file__).parent / "panda_lift.hdf5"


__all__ = ["sample_path"]
