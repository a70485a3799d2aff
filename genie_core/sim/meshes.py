"""Simplified copies of a robot's visual meshes, made once and kept in the user's cache folder.

Software rendering is bound by vertices, and the vendors' meshes have tens of thousands. At 64 x 64 pixels the
difference is invisible, and rendering gets several times faster. Collision meshes are left alone: they affect the
physics.
"""

import hashlib
import os
import xml.etree.ElementTree as ET
from importlib import import_module
from importlib.metadata import version
from pathlib import Path
from typing import Any

import numpy as np

from genie_core.data.storage.atomic import new_file


def cache_dir() -> Path:
    """Return the folder of simplified meshes: `genie/meshes` in XDG_CACHE_HOME, or in ~/.cache."""
    base = os.environ.get("XDG_CACHE_HOME")
    return (Path(base) if base else Path.home() / ".cache") / "genie" / "meshes"


def plain_visual_meshes(model: ET.Element) -> list[ET.Element]:
    """Return the `mesh` elements of an MJCF model that are visual, untextured and not used for collision.

    Simplification would lose a mesh's texture coordinates, and one used by a collision geom must keep its shape.
    robosuite puts visual geoms in group 1, and only those.
    """
    textured = {m.get("name") for m in model.iter("material") if m.get("texture")}
    kept = {g.get("mesh") for g in model.iter("geom") if g.get("group") != "1" or g.get("material") in textured}
    return [m for m in model.iter("mesh") if m.get("file") and m.get("name") not in kept]


def _simplify(source: Path, target: Path, faces: int) -> None:
    fast_simplification: Any = import_module("fast_simplification")
    trimesh: Any = import_module("trimesh")

    mesh = trimesh.load(str(source), force="mesh", process=False)
    mesh = trimesh.Trimesh(mesh.vertices, mesh.faces, process=True)  # merges vertices that were split for normals
    if len(mesh.faces) > faces:
        points, triangles = fast_simplification.simplify(
            np.asarray(mesh.vertices, np.float32), np.asarray(mesh.faces, np.int32), target_count=faces
        )
        mesh = trimesh.Trimesh(points, triangles, process=True)
    target.parent.mkdir(parents=True, exist_ok=True)
    with new_file(target, suffix=".stl") as unfinished:  # workers may make the same mesh at once: the results are equal
        mesh.export(str(unfinished))


def lighten(model: ET.Element, faces: int, cache: Path) -> int:
    """Replace the plain visual meshes of `model` by copies of at most `faces` triangles; returns their number.

    A copy is named after the source's content, so an upgraded robot or simplifier never finds a stale one.
    """
    maker = version("fast-simplification")
    meshes = plain_visual_meshes(model)
    for mesh in meshes:
        source = Path(mesh.attrib["file"])
        digest = hashlib.sha256(source.read_bytes() + f"{source.suffix} {faces} {maker}".encode()).hexdigest()
        target = cache / f"{digest[:32]}.stl"
        if not target.exists():
            _simplify(source, target, faces)
        mesh.set("file", str(target))
    return len(meshes)


__all__ = ["cache_dir", "lighten", "plain_visual_meshes"]
