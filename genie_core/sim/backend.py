"""Set-up of the simulator and of off-screen OpenGL, before either is imported.

MuJoCo and Mesa read the environment once, on import; `prepare` therefore runs first in every worker.
"""

import ctypes
import ctypes.util
import os
import sys
from importlib.metadata import PackageNotFoundError, version
from importlib.util import find_spec
from pathlib import Path

from genie_core.errors import DatasetError

PACKAGES = ("robosuite", "mujoco", "fast_simplification", "trimesh")
INSTALL = "pip install 'genie-latent[sim]'"


def require_packages() -> None:
    """Raise DatasetError, saying what to install, if the `[sim]` extra is absent."""
    missing = [name for name in PACKAGES if find_spec(name) is None]
    if missing:
        raise DatasetError(f"Making simulated data needs {', '.join(missing)}: {INSTALL}")
    major, minor, *_ = (int(part) for part in version("mujoco").split(".")[:2])
    if not (3, 3) <= (major, minor) < (3, 10):
        raise DatasetError(
            f"mujoco {version('mujoco')} does not work with robosuite (3.3 to 3.9 do): pip install 'mujoco>=3.3,<3.10'"
        )


def _loads(library: str) -> bool:
    name = ctypes.util.find_library(library)  # PyOpenGL looks it up the same way, so what loads here loads there
    if name is None:
        return False
    try:
        ctypes.CDLL(name)
    except OSError:
        return False
    return True


def choose_gl() -> str:
    """Return the value of MUJOCO_GL for off-screen rendering: the user's own if set, else what loads on this machine.

    OSMesa is the fastest without a GPU and needs no device files; with a GPU, EGL is. Empty outside Linux, where
    MuJoCo's own default is right.
    """
    chosen = os.environ.get("MUJOCO_GL")
    if chosen:
        return chosen
    if sys.platform != "linux":
        return ""
    preferred = (("egl", "EGL"), ("osmesa", "OSMesa"))
    if not Path("/dev/nvidiactl").exists():
        preferred = preferred[::-1]
    for name, library in preferred:
        if _loads(library):
            return name
    raise DatasetError(
        "Rendering needs OSMesa or EGL and neither is on this machine: apt-get install libosmesa6 (or libegl1 and"
        " libgl1-mesa-dri), or set MUJOCO_GL"
    )


def prepare(gl: str) -> None:
    """Configure this process to render with `gl` on one thread; parallelism comes from the workers.

    Call it before importing mujoco or robosuite, in a separate process: it changes the environment.
    """
    if gl:
        os.environ["MUJOCO_GL"] = gl
    os.environ["LP_NUM_THREADS"] = "0"  # llvmpipe, Mesa's rasterizer, would start a thread per core in every worker
    for variable in ("OMP_NUM_THREADS", "OPENBLAS_NUM_THREADS", "NUMBA_NUM_THREADS"):
        os.environ[variable] = "1"


def software(gl: str) -> dict[str, str]:
    """Return the software versions that rendered, for the provenance: episodes of different software are not mixed."""
    found: dict[str, str] = {"gl": gl or "default"}
    for name in (*PACKAGES, "numpy"):  # sums differ in the last bit between numpy versions
        try:
            found[name] = version(name)
        except PackageNotFoundError:  # present only as a source tree
            found[name] = "unknown"
    return found


__all__ = ["INSTALL", "PACKAGES", "choose_gl", "prepare", "require_packages", "software"]
