"""Metrics: what Prometheus reads is what happened, in few series; what the dashboard asks for is there."""

from __future__ import annotations

import json
import re
import shutil
import subprocess
import urllib.request
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import grpc
import numpy as np
import promql_parser
import pytest
import yaml
from prometheus_client.parser import text_string_to_metric_families

from genie_api.v1 import labelling_pb2, models_pb2
from genie_core.errors import GenieError
from genie_service.counting import LabelCounts
from genie_service.exposition import Exposition
from genie_service.metrics import CLIENT_CLASSES, Metrics, client_class
from tests.factories.data import make_labels
from tests.support.service_messages import episode, raw, rollout, video
from tests.support.service_server import Running

Samples = dict[tuple[str, frozenset[tuple[str, str]]], float]


def scrape(running: Running) -> Samples:
    """Every sample over HTTP, as Prometheus reads them, by name and labels."""
    with urllib.request.urlopen(f"http://{running.server.metrics_address}/metrics", timeout=10) as answer:
        text = answer.read().decode()
    families = text_string_to_metric_families(text)
    return {(s.name, frozenset(s.labels.items())): s.value for family in families for s in family.samples}


def value(samples: Samples, name: str, **labels: str) -> float:
    return samples[name, frozenset(labels.items())]


@pytest.fixture
def running(start: Callable[..., Running]) -> Running:
    return start(metrics_address="127.0.0.1:0", max_play_streams=3)


def test_calls_labels_and_frames_are_counted(running: Running) -> None:
    running.labelling.LabelClip(
        labelling_pb2.LabelClipRequest(options=labelling_pb2.LabelOptions(fps=10), frames=raw(video(20)))
    )
    list(running.labelling.LabelEpisode(episode(video(40))))
    list(running.simulation.Rollout(rollout(video(1), [1, 2, 3])))
    with pytest.raises(grpc.RpcError):
        list(running.labelling.LabelEpisode(episode(video(3), fps=-1.0)))
    found = scrape(running)
    assert value(found, "genie_calls_total", method="LabelClip", code="OK") == 1
    assert value(found, "genie_calls_total", method="LabelEpisode", code="OK") == 1
    assert value(found, "genie_calls_total", method="LabelEpisode", code="INVALID_ARGUMENT") == 1
    assert value(found, "genie_call_seconds_count", method="LabelEpisode") == 2
    assert value(found, "genie_calls_open", method="LabelEpisode") == 0
    assert value(found, "genie_frames_total", method="LabelEpisode") == 40
    for method, answers in {"LabelClip": 1, "LabelEpisode": 1, "Rollout": 3}.items():
        for phase in ("queue", "batch", "device", "transport"):
            assert value(found, "genie_phase_seconds_count", method=method, phase=phase) == answers
    codes = [v for (name, _), v in found.items() if name == "genie_labels_total"]
    assert len(codes) == 8
    assert sum(codes) == 19 + 39
    assert value(found, "genie_label_confidence_count", model="alpha") == 58
    assert value(found, "genie_pieces_total", model="alpha", work="draw") == 3
    pieces, slots = (value(found, f"genie_{n}_total", model="alpha", work="encode") for n in ("pieces", "batch_slots"))
    assert 0 < pieces <= slots


def test_the_state_of_the_server_is_read_when_asked(running: Running) -> None:
    with running.busy_device(), running.waiting_work(5):
        found = scrape(running)
        assert value(found, "genie_lanes_busy") == value(found, "genie_lanes")
        queued = {labels: v for (name, labels), v in found.items() if name == "genie_queue_pieces"}
        assert len(queued) == CLIENT_CLASSES
        assert queued[frozenset({("client_class", client_class("somebody else"))})] == 5
        assert sum(queued.values()) == 5
    assert value(found, "genie_ready") == 1
    assert value(found, "genie_play_sessions_limit") == 3
    assert value(found, "genie_model_state", model="alpha", state="ready") == 1
    assert value(found, "genie_model_state", model="broken", state="failed") == 1
    info = running.models.GetModel(models_pb2.GetModelRequest()).model
    labels = {"model": "alpha", "bundle_id": info.bundle_id, "precision": "float32", "is_default": "true"}
    assert value(found, "genie_model_info", **labels) == 1
    assert value(found, "genie_memory_budget_bytes", pool="work") > 0
    assert value(found, "genie_memory_limit_bytes") > 0


def test_a_refusal_is_counted_by_the_setting_that_limits(start: Callable[..., Running]) -> None:
    running = start(metrics_address="0", max_calls=1, max_wait_seconds=0.1)
    held = running.labelling.LabelEpisode(iter(episode(video(40))))
    next(held)
    with running.other_clients(1) as (other,), running.busy_device():
        with pytest.raises(grpc.RpcError) as caught:
            list(other.LabelEpisode(episode(video(3))))
        assert caught.value.code() is grpc.StatusCode.RESOURCE_EXHAUSTED
    assert value(scrape(running), "genie_refusals_total", cause="max_calls") == 1
    held.cancel()


def test_many_clients_make_no_more_series(running: Running) -> None:
    def series() -> set[object]:
        return {key for key in scrape(running) if not key[0].endswith("_created")}

    list(running.labelling.LabelEpisode(episode(video(3))))
    before = series()
    with running.other_clients(20) as clients:
        for client in clients:
            list(client.LabelEpisode(episode(video(3))))
        assert series() == before


def test_confidence_falls_into_tenths_and_codes_of_another_bundle_begin_anew() -> None:
    counts = LabelCounts()
    labels = make_labels(4, 3, codes=8)
    confidence = np.array([0.0, 0.1, 0.95, 1.0], np.float32)
    labels = type(labels)(0, np.array([0, 1, 7, 7], np.uint16), labels.latent, confidence, np.array([1, 1, 1, 0], bool))
    counts.add("m", 8, labels)
    totals = counts.models["m"]
    assert totals.codes.tolist() == [1, 1, 0, 0, 0, 0, 0, 1]
    assert totals.confidence_buckets()[0] == ("0.1", 2)
    assert totals.confidence_buckets()[-1] == ("+Inf", 3)
    counts.add("m", 16, labels)
    assert counts.models["m"].codes.sum() == 3


def test_a_port_in_use_is_an_error_of_one_line() -> None:
    first = Exposition(Metrics().registry, "127.0.0.1", 0)
    try:
        port = int(first.address.rpartition(":")[2])
        with pytest.raises(GenieError, match=f"metrics_address: cannot listen on 127.0.0.1:{port}: "):
            Exposition(Metrics().registry, "127.0.0.1", port)
    finally:
        first.close()


ROOT = Path(__file__).resolve().parents[2]
DASHBOARDS = sorted((ROOT / "deploy/grafana/dashboards").glob("*.json"))
ALERTS = sorted(path for path in (ROOT / "deploy/prometheus").glob("alerts*.yml") if "test" not in path.name)

_VARIABLES = {"$__rate_interval": "5m", "$instance": ".*"}


def panels(board: dict[str, Any]) -> Iterator[dict[str, Any]]:
    for panel in board["panels"]:
        yield panel
        yield from panel.get("panels", [])


def expressions() -> Iterator[str]:
    for path in DASHBOARDS:
        for panel in panels(json.loads(path.read_text(encoding="utf-8"))):
            for target in panel.get("targets", []):
                expression = target["expr"]
                for name, text in _VARIABLES.items():
                    expression = expression.replace(name, text)
                yield expression
    for path in ALERTS:
        for group in yaml.safe_load(path.read_text(encoding="utf-8"))["groups"]:
            yield from (rule["expr"] for rule in group["rules"])


def selectors(expression: promql_parser.Expr) -> Iterator[promql_parser.VectorSelector]:
    if isinstance(expression, promql_parser.VectorSelector):
        yield expression
    for name in ("vector_selector", "expr", "lhs", "rhs"):
        part = getattr(expression, name, None)
        if isinstance(part, promql_parser.Expr):
            yield from selectors(part)
    for argument in getattr(expression, "args", []):
        yield from selectors(argument)


def test_every_expression_parses_and_names_what_a_server_that_did_everything_exports(running: Running) -> None:
    list(running.labelling.LabelEpisode(episode(video(20))))
    list(running.simulation.Rollout(rollout(video(1), [1])))
    with pytest.raises(grpc.RpcError):
        list(running.simulation.Rollout(rollout(video(1), [1], model="models/beta")))
    running.server.metrics.counts.calls.refused["max_calls"] += 1
    labels_of: dict[str, set[str]] = {"up": {"job", "instance"}}
    for name, labels in scrape(running):
        labels_of.setdefault(name, {"job", "instance"}).update(key for key, _ in labels)
    found = list(expressions())
    assert len(found) > 40
    for expression in found:
        used = list(selectors(promql_parser.parse(expression)))
        assert used, expression
        for selector in used:
            assert selector.name in labels_of, f"{expression}: there is no {selector.name}"
            for matcher in selector.matchers.matchers:
                assert matcher.name in labels_of[selector.name], f"{expression}: {selector.name} has no {matcher.name}"


def test_the_dashboard_has_what_grafana_needs_to_load_it() -> None:
    for path in DASHBOARDS:
        board = json.loads(path.read_text(encoding="utf-8"))
        assert board["title"]
        assert board["uid"]
        assert board["schemaVersion"] >= 36
        ids = [panel["id"] for panel in panels(board)]
        assert len(set(ids)) == len(ids)
        variables = {variable["name"] for variable in board["templating"]["list"]}
        used = set(re.findall(r"\$\{?([a-z]\w*)\}?", json.dumps(board["panels"])))
        assert used <= variables
        places = [tuple(panel["gridPos"][k] for k in "xywh") for panel in panels(board)]
        for number, (x, y, w, h) in enumerate(places):
            assert x + w <= 24
            for x2, y2, w2, h2 in places[:number]:
                assert x >= x2 + w2 or x2 >= x + w or y >= y2 + h2 or y2 >= y + h, "two panels overlap"


@pytest.mark.skipif(shutil.which("promtool") is None, reason="promtool (Debian package prometheus) is not installed")
def test_prometheus_own_tool_finds_no_fault_in_the_alerts() -> None:
    folder = ROOT / "deploy/prometheus"
    for command in (["check", "rules", "alerts.yml"], ["test", "rules", "alerts_test.yml"]):
        done = subprocess.run(["promtool", *command], cwd=folder, capture_output=True, text=True, check=False)
        assert done.returncode == 0, done.stdout + done.stderr
