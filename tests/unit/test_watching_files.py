"""The alerts and the dashboard of deploy/ ask for metrics and labels that exist, and Prometheus accepts them."""

from __future__ import annotations

import json
import re
import shutil
import subprocess
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest
import yaml

from proxy.cli import COMMANDS
from proxy.observe.metrics import Metrics

DEPLOY = Path(__file__).parents[2] / "deploy"
RULES: list[dict[str, Any]] = yaml.safe_load(
    (DEPLOY / "prometheus" / "alerts.yml").read_text(encoding="utf-8")
)["groups"][0]["rules"]
DASHBOARD: dict[str, Any] = json.loads((DEPLOY / "grafana" / "imgmirror.json").read_text(encoding="utf-8"))

OF_PROMETHEUS = {"instance", "job", "le"}
"""Labels that every series, or every histogram, has."""
promtool = pytest.mark.skipif(shutil.which("promtool") is None, reason="promtool is not installed")


def queries() -> list[str]:
    """Return each expression of the alerts and of the dashboard, with the dashboard's variables filled in."""
    shown = [target["expr"] for panel in DASHBOARD["panels"] for target in panel["targets"]]
    filled = [text.replace("$__rate_interval", "5m").replace("$instance", ".*") for text in shown]
    return [rule["expr"] for rule in RULES] + filled


def names_of(query: str) -> Iterator[str]:
    yield from re.findall(r"\b(?:imgmirror|process)_[a-z_]+\b|\bup\b", query)


def known_names() -> dict[str, set[str]]:
    """Return every metric that `/metrics` shows, with its labels; a labelled one has no sample before it is counted."""
    metrics = Metrics()
    shown = re.findall(r"^(\w+)(?:\{([^}]*)\})? ", metrics.text().decode(), re.MULTILINE)
    known: dict[str, set[str]] = {"up": set()}
    for name, labels in shown:
        known.setdefault(name, set()).update(re.findall(r'(\w+)="', labels))
    for value in vars(metrics).values():
        labelnames = getattr(value, "_labelnames", ())
        for suffix in ("_total", "_bucket", "_count") if labelnames else ():
            known.setdefault(value._name + suffix, set()).update(labelnames)
    return known


@pytest.mark.parametrize("query", queries())
def test_query_asks_for_metrics_and_labels_that_exist(query: str) -> None:
    """A metric that is renamed would leave an alert that never fires."""
    known = known_names()
    used = set(names_of(query))
    assert used
    assert used <= known.keys()
    selected = set(re.findall(r"(\w+)=~?\"|(\w+)!=\"", query))
    grouped = re.findall(r"\bby \(([^)]*)\)", query)
    labels = {label for pair in selected for label in pair if label}
    labels |= {label.strip() for group in grouped for label in group.split(",")}
    labels -= OF_PROMETHEUS
    assert labels <= {label for name in used for label in known[name]}


def test_every_alert_says_what_to_do() -> None:
    """Its commands exist, and its severity is one of two."""
    for rule in RULES:
        assert rule["labels"]["severity"] in {"page", "ticket"}
        told = rule["annotations"]
        assert told["summary"]
        assert told["description"].endswith(".")
        assert set(
            re.findall(r"imgmirror ([a-z]+)", told["description"].replace("systemctl status imgmirror", ""))
        ) <= {*COMMANDS}


def test_panels_of_the_dashboard_have_places_of_their_own() -> None:
    """No two overlap, and none is wider than the grid."""
    taken: set[tuple[int, int]] = set()
    for panel in DASHBOARD["panels"]:
        place = panel["gridPos"]
        cells = {
            (place["x"] + across, place["y"] + down)
            for across in range(place["w"])
            for down in range(place["h"])
        }
        assert place["x"] + place["w"] <= 24
        assert not cells & taken, panel["title"]
        taken |= cells
    assert len({panel["id"] for panel in DASHBOARD["panels"]}) == len(DASHBOARD["panels"])


@promtool
def test_alerts_fire_when_they_should() -> None:
    """promtool runs deploy/prometheus/alerts_test.yml: a service in trouble, and a healthy one."""
    told = subprocess.run(
        ["promtool", "test", "rules", "alerts_test.yml"],  # noqa: S607 - wherever the system has it
        cwd=DEPLOY / "prometheus",
        capture_output=True,
        text=True,
        check=False,
    )
    assert told.returncode == 0, told.stdout + told.stderr


@promtool
def test_queries_are_understood_by_prometheus(tmp_path: Path) -> None:
    """Those of the dashboard too, written as rules."""
    rules = [{"record": f"query:{number}", "expr": text} for number, text in enumerate(queries())]
    path = tmp_path / "rules.yml"
    path.write_text(yaml.safe_dump({"groups": [{"name": "queries", "rules": rules}]}), encoding="utf-8")
    told = subprocess.run(
        ["promtool", "check", "rules", path],  # noqa: S607 - wherever the system has it
        capture_output=True,
        text=True,
        check=False,
    )
    assert told.returncode == 0, told.stdout + told.stderr
