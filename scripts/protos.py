"""Makes the Python of the gRPC contract from protos/; with --check, fails where the committed files are stale.

The compiler is an old one on purpose: what it makes runs with its own protobuf and gRPC and with newer ones, never with
older. It lies in a folder of its own, since its package asks for a protobuf older than the tests run with.
"""

from __future__ import annotations

import subprocess
import sys
import tempfile
from pathlib import Path

COMPILER = "grpcio-tools==1.73.0"
"""Makes code for protobuf 6.31.0 and grpcio 1.73.0: the lower bounds in pyproject.toml, and what LeRobot brings."""

ROOT = Path(__file__).resolve().parent.parent / "protos"
PACKAGES = (Path("genie_api/v1"), Path("genie_api/open_inference"))


def compiler() -> Path:
    """Return the folder to import the compiler from, installed on the first call."""
    folder = Path(sys.prefix) / "protoc" / COMPILER.replace("==", "-")
    if not folder.is_dir():
        with tempfile.TemporaryDirectory(dir=sys.prefix) as name:
            fresh = Path(name) / "fresh"
            pip = [sys.executable, "-m", "pip", "install", "--quiet", "--no-deps", "--target", str(fresh), COMPILER]
            subprocess.run(pip, check=True)
            folder.parent.mkdir(exist_ok=True)
            fresh.rename(folder)
    return folder


def generate(target: Path) -> None:
    """Write every *_pb2*.py and .pyi below `target`; exits where the compiler fails."""
    tools = Path(sys.executable).parent
    plugins = [f"--plugin={name}={tools / name}" for name in ("protoc-gen-mypy", "protoc-gen-mypy_grpc")]
    outputs = [f"--{kind}_out={target}" for kind in ("python", "grpc_python")]
    outputs += [f"--{kind}_out=quiet:{target}" for kind in ("mypy", "mypy_grpc")]
    sources = [str(package / p.name) for package in PACKAGES for p in sorted((ROOT / package).glob("*.proto"))]
    protoc = [sys.executable, "-m", "grpc_tools.protoc", f"-I{ROOT}", *plugins, *outputs, *sources]
    code = subprocess.run(protoc, cwd=compiler(), check=False).returncode
    if code:
        sys.exit(code)


def generated(folder: Path) -> dict[str, bytes]:
    """Path and contents of every generated file in `folder`."""
    found = (path for package in PACKAGES for path in (folder / package).glob("*_pb2*"))
    return {str(path.relative_to(folder)): path.read_bytes() for path in found}


def main() -> None:
    """Generate in place, or compare with what is committed."""
    if "--check" not in sys.argv[1:]:
        generate(ROOT)
        return
    with tempfile.TemporaryDirectory() as name:
        generate(Path(name))
        fresh, committed = generated(Path(name)), generated(ROOT)
    stale = sorted(k for k in fresh.keys() | committed.keys() if fresh.get(k) != committed.get(k))
    if stale:
        sys.exit(f"stale: {', '.join(stale)}; run `make protos` and commit")


if __name__ == "__main__":
    main()
