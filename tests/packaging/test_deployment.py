"""What is in deploy/: manifests that Kubernetes' own schemas accept, and promises that every way to run it keeps."""

from __future__ import annotations

import copy
import re
from pathlib import Path
from typing import Any

import kubernetes_validate
import pytest
import yaml

from genie_service.settings import Settings, load_settings

ROOT = Path(__file__).resolve().parents[2]
KUBERNETES = ROOT / "deploy" / "kubernetes"
VERSION = "1.30"
"""The oldest Kubernetes that the manifests are for."""

_KEYS = {"volumeMounts": "mountPath", "ports": "containerPort"}
"""By what the entries of a list are told apart when an overlay is laid over it; by name for the others."""


def documents(file: Path) -> list[Any]:
    return [found for found in yaml.safe_load_all(file.read_text(encoding="utf-8")) if found]


def laid_over(below: Any, patch: Any, key: str = "") -> Any:
    """A strategic merge patch, as far as these overlays need it: None removes."""
    if isinstance(below, dict) and isinstance(patch, dict):
        merged = {k: v for k, v in below.items() if patch.get(k, 0) is not None}
        return merged | {k: laid_over(below.get(k), v, k) for k, v in patch.items() if v is not None}
    if isinstance(below, list) and isinstance(patch, list) and patch and isinstance(patch[0], dict):
        by = _KEYS.get(key, "name")
        merged = {entry[by]: entry for entry in below}
        return list((merged | {entry[by]: laid_over(merged.get(entry[by]), entry) for entry in patch}).values())
    if isinstance(patch, dict):
        return {k: v for k, v in patch.items() if v is not None}
    return copy.deepcopy(patch)


def resources(overlay: str) -> list[Any]:
    """What kustomize would apply, images and namespaces apart; every file of the folder is used."""
    folder = KUBERNETES / overlay
    (plan,) = documents(folder / "kustomization.yaml")
    used = {entry for entry in plan["resources"] if entry.endswith(".yaml")}
    used |= {patch["path"] for patch in plan.get("patches", ())}
    assert used == {file.name for file in folder.iterdir()} - {"kustomization.yaml"}
    found = [document for name in plan["resources"] if name.endswith(".yaml") for document in documents(folder / name)]
    if "../base" in plan["resources"]:
        found += resources("base")
    for patch in (document for entry in plan.get("patches", ()) for document in documents(folder / entry["path"])):
        (at,) = [n for n, one in enumerate(found) if one["kind"] == patch["kind"] and named(one) == named(patch)]
        found[at] = laid_over(found[at], patch)
    return found


def named(resource: Any) -> str:
    return str(resource["metadata"]["name"])


def of_kind(overlay: str, kind: str) -> Any:
    (found,) = [resource for resource in resources(overlay) if resource["kind"] == kind]
    return found


@pytest.mark.parametrize("overlay", ["base", "tls", "cuda"])
def test_kubernetes_schemas_accept_every_resource(overlay: str) -> None:
    found = resources(overlay)
    assert {resource["kind"] for resource in found} >= {"Deployment", "Service", "PodDisruptionBudget", "NetworkPolicy"}
    for resource in found:
        kubernetes_validate.validate(resource, VERSION, strict=True)


def test_the_schemas_would_find_a_wrong_word() -> None:
    wrong = of_kind("base", "Deployment")
    wrong["spec"]["template"]["spec"]["containers"][0]["readinesProbe"] = {}
    with pytest.raises(kubernetes_validate.ValidationError, match="readinesProbe"):
        kubernetes_validate.validate(wrong, VERSION, strict=True)


@pytest.mark.parametrize("overlay", ["base", "tls", "cuda"])
def test_a_pod_has_no_rights_and_time_to_drain(overlay: str) -> None:
    pod = of_kind(overlay, "Deployment")["spec"]["template"]["spec"]
    (container,) = pod["containers"]
    assert pod["securityContext"]["runAsNonRoot"]
    assert not pod["automountServiceAccountToken"]
    assert container["securityContext"] == {
        "allowPrivilegeEscalation": False,
        "readOnlyRootFilesystem": True,
        "capabilities": {"drop": ["ALL"]},
    }
    (_, pause) = container["lifecycle"]["preStop"]["exec"]["command"]
    drain = float(of_kind(overlay, "ConfigMap")["data"]["GENIE_DRAIN_SECONDS"])
    assert pod["terminationGracePeriodSeconds"] > drain + float(pause)
    dead_after = container["livenessProbe"]["failureThreshold"] * container["livenessProbe"]["periodSeconds"]
    assert dead_after > drain  # a server that drains answers NOT_SERVING, and is not to be killed for it
    probes = [container[f"{name}Probe"] for name in ("startup", "readiness", "liveness")]
    ways = {frozenset(probe) & {"grpc", "exec"} for probe in probes}
    assert ways == {frozenset({"exec" if overlay == "tls" else "grpc"})}


def test_a_gpu_is_asked_for_where_there_is_one() -> None:
    (container,) = of_kind("cuda", "Deployment")["spec"]["template"]["spec"]["containers"]
    assert container["resources"]["limits"]["nvidia.com/gpu"] == 1
    assert container["resources"]["limits"]["memory"]


def settings_set() -> set[str]:
    """Environment variables of the server that the image, compose and the manifests set."""
    texts = [file.read_text(encoding="utf-8") for file in (ROOT / "deploy").rglob("*.y*ml")]
    texts.append((ROOT / "Dockerfile").read_text(encoding="utf-8"))
    found = {name for text in texts for name in re.findall(r"\bGENIE_([A-Z_]+)\b", text)}
    return {name.lower() for name in found if not name.startswith("CLIENT_")}


def test_what_is_set_is_a_setting() -> None:
    not_the_servers = {"tag", "published_port", "memory"}  # of compose
    assert settings_set() - not_the_servers <= set(Settings.model_fields)
    assert load_settings({}).drain_seconds == 30


def test_compose_publishes_on_loopback_alone_and_gives_no_rights() -> None:
    (compose,) = documents(ROOT / "deploy" / "compose.yaml")
    for name, service in compose["services"].items():
        assert all(port.startswith("127.0.0.1:") for port in service.get("ports", ())), name
        assert service["cap_drop"] == ["ALL"], name
        assert service["security_opt"] == ["no-new-privileges:true"], name
        for volume in service.get("volumes", ()):
            source = volume.split(":")[0]
            assert source in compose["volumes"] or (volume.endswith(":ro") and (ROOT / "deploy" / source).is_dir())
    genie = compose["services"]["genie"]
    assert genie["read_only"]
    assert float(genie["stop_grace_period"].removesuffix("s")) > load_settings({}).drain_seconds


def test_prometheus_and_grafana_are_told_of_what_there_is() -> None:
    (prometheus,) = documents(ROOT / "deploy/prometheus/prometheus.yml")
    for rule in prometheus["rule_files"]:
        assert (ROOT / "deploy/prometheus" / Path(rule).name).is_file()
    (job,) = prometheus["scrape_configs"]
    (manifest_port,) = [p["port"] for p in of_kind("base", "Service")["spec"]["ports"] if p["name"] == "metrics"]
    assert job["dns_sd_configs"][0]["port"] == manifest_port
    assert list((ROOT / "deploy/grafana/dashboards").glob("*.json"))


def test_the_image_runs_as_nobody_and_asks_its_own_health() -> None:
    text = (ROOT / "Dockerfile").read_text(encoding="utf-8")
    last = text[text.rindex("\nFROM ") :]
    assert "\nUSER 10001:10001\n" in last
    assert "genie health" in last
    assert "PIP_REQUIRE_HASHES=1" in text
