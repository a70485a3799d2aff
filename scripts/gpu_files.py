"""Fetches what ``make gpu`` needs on a GPU machine without a network: wheels for its Python, and H.264 clips to read.

Usage: ``python scripts/gpu_files.py [FOLDER] [--python 3.12] [--with-av]``. The folder travels with the repository.
"""

from __future__ import annotations

import argparse
import subprocess
import sys
from pathlib import Path

ROOT = Path(__file__).resolve().parent.parent

WHEELS = (
    "annotated-types",
    "google-crc32c",
    "googleapis-common-protos",
    "prometheus-client",
    "pydantic",
    "pydantic-core",
    "pydantic-settings",
    "python-dotenv",
    "python-json-logger",
    "typing-inspection",
)
"""What an image with PyTorch, OpenCV, h5py, pyarrow and grpcio lacks of Genie's needs, 4 MB. PyAV alone is 36 MB."""

WITH_GRPC = ("grpcio-health-checking==1.73.0", "grpcio-reflection==1.73.0")
"""Work with any newer grpcio, and refuse an older one than they are: the lowest that Genie allows."""

_PLATFORMS = ("manylinux_2_28", "manylinux_2_17", "manylinux2014")


def main() -> int:
    """Fetch and write."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("folder", nargs="?", type=Path, default=ROOT / "runs" / "gpu-files")
    parser.add_argument("--python", default="3.12", help="version of the GPU machine's Python")
    parser.add_argument("--with-av", action="store_true", help="PyAV too, which reads video where OpenCV would")
    options = parser.parse_args()
    options.folder.mkdir(parents=True, exist_ok=True)
    words = [sys.executable, "-m", "pip", "download", "--quiet", "--no-deps", "--only-binary=:all:"]
    words += ["--python-version", options.python, "--implementation", "cp", "--dest", str(options.folder)]
    words += [word for name in _PLATFORMS for word in ("--platform", f"{name}_x86_64")]
    constrained = ["--constraint", str(ROOT / "constraints.txt"), *WHEELS, *(["av"] if options.with_av else [])]
    for wanted in (constrained, WITH_GRPC):
        subprocess.run([*words, *wanted], check=True)
    sys.path.insert(0, str(ROOT))
    from benchmarks.gpu.frames import FRAMES, VIDEO_SIZES
    from benchmarks.gpu.videos import sample_video

    for height, width in VIDEO_SIZES:
        sample_video(options.folder, height, width, FRAMES)
    total = sum(file.stat().st_size for file in options.folder.iterdir())
    print(f"{len(list(options.folder.iterdir()))} files, {total / 1e6:.1f} MB, in {options.folder}")
    return 0


if __name__ == "__main__":
    sys.exit(main())
