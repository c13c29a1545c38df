"""The manifests of deploy/kubernetes: valid by Kubernetes' schema, true to each other and to the image."""

from __future__ import annotations

import json
import os
import tomllib
import urllib.request
from pathlib import Path
from typing import Any

import jsonschema
import pytest
import yaml
from service import Service

from proxy.config.file import load
from proxy.policy import listen_problem

DEPLOY = Path(__file__).parents[2] / "deploy"
SCHEMA: dict[str, Any] = json.loads((DEPLOY / "kubernetes" / "schema.json").read_text(encoding="utf-8"))
MANIFESTS: list[dict[str, Any]] = list(
    yaml.safe_load_all((DEPLOY / "kubernetes" / "imgmirror.yaml").read_text(encoding="utf-8"))
)
BY_KIND = {manifest["kind"]: manifest for manifest in MANIFESTS}
POD: dict[str, Any] = BY_KIND["StatefulSet"]["spec"]["template"]["spec"]
CONTAINER: dict[str, Any] = POD["containers"][0]
KEY = "k" * 32


def validator(kind: str) -> jsonschema.Draft202012Validator:
    return jsonschema.Draft202012Validator({**SCHEMA["kinds"][kind], "$defs": SCHEMA["$defs"]})


@pytest.mark.parametrize("kind", list(BY_KIND))
def test_manifest_is_valid_by_the_schema(kind: str) -> None:
    """The schema is strict: a misspelt field is an error."""
    assert [error.message for error in validator(kind).iter_errors(BY_KIND[kind])] == []


def test_misspelt_field_is_found_by_the_schema() -> None:
    """Deep inside the pod as well."""
    wrong = json.loads(json.dumps(BY_KIND["StatefulSet"]))
    wrong["spec"]["template"]["spec"]["containers"][0]["readOnlyRootFileSystem"] = True
    assert list(validator("StatefulSet").iter_errors(wrong))


def test_pod_runs_without_rights() -> None:
    """As the image's user; its root is read-only, and what it may write is a volume."""
    pod, own = POD["securityContext"], CONTAINER["securityContext"]
    containerfile = (DEPLOY / "Containerfile").read_text(encoding="utf-8")
    assert f"USER {pod['runAsUser']}:{pod['runAsGroup']}" in containerfile
    assert pod["runAsNonRoot"] is True
    assert own["readOnlyRootFilesystem"] is True
    assert own["allowPrivilegeEscalation"] is False
    assert own["capabilities"] == {"drop": ["ALL"]}
    assert POD["automountServiceAccountToken"] is False
    mounts = {mount["mountPath"] for mount in CONTAINER["volumeMounts"]}
    assert {"/var/lib/imgmirror", "/tmp"} <= mounts


def test_names_in_the_manifests_belong_to_each_other() -> None:
    """Labels, ports and volumes."""
    labels = BY_KIND["StatefulSet"]["spec"]["template"]["metadata"]["labels"]
    assert BY_KIND["StatefulSet"]["spec"]["selector"]["matchLabels"] == labels
    assert BY_KIND["Service"]["spec"]["selector"] == labels
    assert BY_KIND["NetworkPolicy"]["spec"]["podSelector"]["matchLabels"] == labels
    ports = {port["name"] for port in CONTAINER["ports"]}
    assert {port["targetPort"] for port in BY_KIND["Service"]["spec"]["ports"]} <= ports
    claims = {claim["metadata"]["name"] for claim in BY_KIND["StatefulSet"]["spec"]["volumeClaimTemplates"]}
    volumes = {volume["name"] for volume in POD["volumes"]}
    assert {mount["name"] for mount in CONTAINER["volumeMounts"]} == claims | volumes
    assert BY_KIND["StatefulSet"]["spec"]["replicas"] == 1


def environment() -> dict[str, str]:
    """Return what the container is given, with the secrets filled in and `$(KEY)` expanded, as the kubelet does."""
    given = {entry["name"]: entry.get("value", KEY) for entry in CONTAINER["env"]}
    return {name: value.replace("$(KEY)", given["KEY"]) for name, value in given.items()}


def test_service_starts_with_the_configuration_of_the_manifests(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """On a public address it is not open to everybody, and the probes' addresses answer."""
    path = tmp_path / "config.toml"
    path.write_text(BY_KIND["ConfigMap"]["data"]["config.toml"], encoding="utf-8")
    assert tomllib.loads(path.read_text(encoding="utf-8"))["store"]["dir"].startswith("/var/lib/imgmirror/")
    for name, value in environment().items():
        monkeypatch.setenv(name, value)
    config = load(str(path), os.environ).config
    assert config.server.port == CONTAINER["ports"][0]["containerPort"]
    assert config.sources.keys == (KEY,)
    assert listen_problem(config) is None
    changed = {"STORE_DIR": str(tmp_path / "store"), "STORE_MIN_FREE": "0", "SERVER_HOST": "127.0.0.1"}
    for name, value in changed.items():
        monkeypatch.setenv(f"IMGMIRROR_{name}", value)
    with Service(path) as service:
        for probe in ("startupProbe", "livenessProbe", "readinessProbe"):
            assert answers(service, CONTAINER[probe]["httpGet"]["path"])


def answers(service: Service, path: str) -> bool:
    address = service.url(path)
    with urllib.request.urlopen(address, timeout=30) as answer:  # noqa: S310 - our own loopback address
        return bool(answer.status == 200)
