"""Ground-truth depth and optical flow, from the body that each pixel shows and how that body moved."""

from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from genie_core.sim.geometry import Matrix, Vector

NOTHING = -1
"""Index of a pixel that shows no geom: what is seen there stands still."""


@dataclass(frozen=True)
class View:
    """View of a camera at one moment, S x S samples, and the poses of all geoms.

    `depth` (S, S) is in metres along the camera's axis, `geoms` (S, S) the index of the geom or `NOTHING`; `positions`
    (G, 3) and `rotations` (G, 3, 3) are the geoms' poses in the world.
    """

    depth: NDArray[np.float32]
    geoms: NDArray[np.int32]
    positions: NDArray[np.float64]
    rotations: NDArray[np.float64]
    camera: Vector
    orientation: Matrix


def flow_between(before: View, after: View, fovy_deg: float, offset_px: float) -> NDArray[np.float32]:
    """Return where each pixel of `before` has gone in `after`, (S, S, 2): columns right and rows down, in pixels.

    Exact for rigid bodies, even where another body covers the point in `after`. `offset_px` is the offset of the
    samples into each pixel, right and down.
    """
    size = before.depth.shape[0]
    focal = 0.5 * size / np.tan(np.deg2rad(fovy_deg) / 2.0)
    rows, columns = np.meshgrid(np.arange(size) + offset_px, np.arange(size) + offset_px, indexing="ij")
    depth = before.depth.astype(np.float64)
    seen = np.stack([(columns - size / 2) * depth / focal, (size / 2 - rows) * depth / focal, -depth], axis=-1)
    world = seen @ before.orientation.T + before.camera
    solid = before.geoms != NOTHING
    geoms = before.geoms[solid]
    local = np.einsum("nji,nj->ni", before.rotations[geoms], world[solid] - before.positions[geoms])
    world[solid] = np.einsum("nij,nj->ni", after.rotations[geoms], local) + after.positions[geoms]
    later = (world - after.camera) @ after.orientation
    away = np.maximum(-later[..., 2], 1e-6)  # points now behind the camera have left the picture anyway
    moved = np.stack([size / 2 + focal * later[..., 0] / away, size / 2 - focal * later[..., 1] / away], axis=-1)
    flow: NDArray[np.float32] = (moved - np.stack([columns, rows], axis=-1)).astype(np.float32)
    return flow


__all__ = ["NOTHING", "View", "flow_between"]
