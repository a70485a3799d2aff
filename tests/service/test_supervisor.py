"""Several processes behind one address: what is divided, how metrics are joined, and what cannot start."""

from __future__ import annotations

import socket
import subprocess
import sys
from pathlib import Path

import pytest
from prometheus_client.exposition import generate_latest
from prometheus_client.registry import CollectorRegistry

from genie_core.errors import GenieError
from genie_service.division import divided
from genie_service.gathering import Gathered, merged
from genie_service.settings import SettingsError, load_settings
from genie_service.supervisor import reserved

ONE = """# HELP genie_calls_total calls
# TYPE genie_calls_total counter
genie_calls_total{code="OK",method="LabelClip"} 3.0
# HELP genie_call_seconds time
# TYPE genie_call_seconds histogram
genie_call_seconds_bucket{le="1.0",method="LabelClip"} 2.0
genie_call_seconds_bucket{le="+Inf",method="LabelClip"} 3.0
genie_call_seconds_count{method="LabelClip"} 3.0
genie_call_seconds_sum{method="LabelClip"} 1.5
"""


def test_what_a_server_may_use_is_divided() -> None:
    whole = load_settings(
        {"workers": 4, "device": "cuda", "max_calls": 130, "memory_mib": 4001, "threads": 6, "metrics_address": "9464"}
    )
    some = [divided(whole, index, 50051, gpus=2, cores=16) for index in range(4)]
    assert [s.device for s in some] == ["cuda:0", "cuda:1", "cuda:0", "cuda:1"]
    assert {s.port for s in some} == {50051}
    assert {s.max_calls for s in some} == {33}
    assert {s.max_play_streams for s in some} == {4}
    assert {s.memory_mib for s in some} == {1000}
    assert {s.threads for s in some} == {1}
    assert {s.workers for s in some} == {1}
    assert {s.metrics_address for s in some} == {"127.0.0.1:0"}
    assert all(s.exit_with_stdin for s in some)
    on_cpu = load_settings({"workers": 2, "device": "cuda:1"})
    assert divided(on_cpu, 1, 1, gpus=0, cores=16).device == "cuda:1"
    assert divided(on_cpu, 1, 1, gpus=0, cores=16).threads == 8


def test_metrics_of_workers_are_one_set() -> None:
    families = {family.name: family for family in merged({0: ONE, 1: ONE.replace("3.0", "5.0")})}
    calls = families["genie_calls"]
    assert calls.type == "counter"
    assert [(sample.labels["worker"], sample.value) for sample in calls.samples] == [("0", 3.0), ("1", 5.0)]
    assert len(families["genie_call_seconds"].samples) == 8
    registry = CollectorRegistry()
    registry.register(
        Gathered(lambda: {0: "", 1: "127.0.0.1:9"}, lambda: 2)
    )  # one without an address, one that is dead
    text = generate_latest(registry).decode()
    assert 'genie_worker_up{worker="1"} 0.0' in text
    assert "genie_worker_restarts_total 2.0" in text


def test_an_address_that_others_listen_on_is_not_shared() -> None:
    with socket.socket() as other:
        other.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEPORT, 1)
        other.bind(("127.0.0.1", 0))
        other.listen()
        port = other.getsockname()[1]
        with pytest.raises(GenieError, match=f"cannot listen on 127.0.0.1:{port}"):
            reserved("127.0.0.1", port)
    with reserved("127.0.0.1", 0) as taken:
        assert taken.getsockname()[1] > 0


def test_settings_that_do_not_go_with_workers(tmp_path: Path) -> None:
    with pytest.raises(SettingsError, match="--workers needs --preload"):
        load_settings({"workers": 2, "preload": "none"})
    with pytest.raises(SettingsError, match="--profile records one process"):
        load_settings({"workers": 2, "profile": tmp_path})


def test_a_server_whose_workers_cannot_start_says_why_once_and_ends(tmp_path: Path) -> None:
    words = [sys.executable, "-m", "genie_service", "--workers", "3", "--port", "0", "--models", str(tmp_path)]
    done = subprocess.run(words, capture_output=True, text=True, timeout=120, check=False)
    assert done.returncode == 2, done.stderr
    assert done.stderr.count("error: ") == 1, done.stderr
    assert str(tmp_path) in done.stderr
    assert "genie: ready" not in done.stdout
