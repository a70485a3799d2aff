"""``--profile``: a trace of real batches from all lanes, written once."""

from __future__ import annotations

import gzip
import json
from collections.abc import Callable
from pathlib import Path

import pytest

from genie_core.errors import GenieError
from genie_service import profiling
from genie_service.profiling import Profiler
from tests.support.service_messages import episode, video
from tests.support.service_server import Running


def _names(folder: Path) -> list[str]:
    (trace,) = folder.glob("genie-*.trace.json.gz")
    return [event.get("name", "") for event in json.loads(gzip.decompress(trace.read_bytes()))["traceEvents"]]


def test_a_server_told_to_writes_a_trace_of_its_batches(start: Callable[..., Running], tmp_path: Path) -> None:
    genie = start(profile=tmp_path / "traces")
    list(genie.labelling.LabelEpisode(iter(episode(video(40)))))
    genie.run(genie.server.drain(5))
    names = _names(tmp_path / "traces")
    assert names.count("alpha/encode") >= 3
    assert "aten::linear" in names


def test_only_the_first_batches_are_recorded(
    start: Callable[..., Running], tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(profiling, "BATCHES", 2)
    genie = start(profile=tmp_path)
    list(genie.labelling.LabelEpisode(iter(episode(video(100)))))
    assert len([name for name in _names(tmp_path) if name.startswith("alpha/")]) == 2
    genie.run(genie.server.drain(5))


def test_a_folder_that_cannot_be_made_is_named(tmp_path: Path) -> None:
    (tmp_path / "file").write_text("")
    with pytest.raises(GenieError, match=r"setting profile: .*file/traces"):
        Profiler(tmp_path / "file" / "traces")


def test_a_server_that_did_nothing_writes_nothing(tmp_path: Path) -> None:
    Profiler(tmp_path).close()
    assert list(tmp_path.iterdir()) == []
