"""`genie health`, and the image's health check, which is the same: what gRPC health says is what they say."""

from __future__ import annotations

import json
import os
import subprocess
import sys
from pathlib import Path

import pytest

from genie_api.v1 import models_pb2
from genie_cli import app
from tests.factories.bundles import make_nano_bundle
from tests.support.processes import free_port
from tests.support.service_server import serving

DOCKERFILE = Path(__file__).parents[2] / "Dockerfile"


def _health(capsys: pytest.CaptureFixture[str], *words: str) -> tuple[int, str]:
    with pytest.raises(SystemExit) as ended:
        app.main(["health", *words])
    said = capsys.readouterr()
    return int(ended.value.code or 0), (said.out + said.err).strip()


def _image_check(address: str) -> int:
    """Exit code of the image's HEALTHCHECK, with the image's variables for this server."""
    line = next(line for line in DOCKERFILE.read_text().replace("\\\n", "").splitlines() if "HEALTHCHECK" in line)
    command = json.loads(line[line.index("[") :])
    path = f"{Path(sys.executable).parent}:{os.environ['PATH']}"
    environment = {**os.environ, "PATH": path, "GENIE_PORT": address.rpartition(":")[2]}
    return subprocess.run(command, env=environment, check=False, capture_output=True).returncode


def test_it_says_what_grpc_health_says(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    make_nano_bundle(tmp_path / "nano")
    with serving(tmp_path, preload="none") as genie:
        address = genie.server.address
        assert _health(capsys, address) == (1, "NOT_SERVING")
        assert _health(capsys, address, "--service", "genie_api.v1.ModelService") == (0, "SERVING")
        assert _health(capsys, address, "--service", "absent") == (1, "SERVICE_UNKNOWN")
        assert _image_check(address) == 1
        genie.models.LoadModel(models_pb2.LoadModelRequest(name="models/nano"))
        assert _health(capsys, address) == (0, "SERVING")
        assert _image_check(address) == 0
    code, said = _health(capsys, f"127.0.0.1:{free_port()}")
    assert code == 2
    assert "no server at" in said
