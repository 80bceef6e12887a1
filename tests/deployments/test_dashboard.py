"""The Grafana dashboard and the scrape configuration refer to what there is."""

from __future__ import annotations

from pathlib import Path

import pytest
import yaml
from prometheus_client.parser import text_string_to_metric_families

from recserve.telemetry.instruments import INSTRUMENTS
from recserve.telemetry.metrics import Metrics, Origin, render
from tests.support.promql import problems, queries

FOLDER = Path(__file__).parents[2] / "deployments" / "observability"


@pytest.fixture(scope="module")
def known() -> dict[str, set[str]]:
    """Labels of every series, from a scrape in which each metric was counted."""
    metrics = Metrics(Origin("ingress", "r1", "n1"))
    for instrument in INSTRUMENTS:
        labels = tuple("x" for _ in instrument.labels)
        if instrument.kind == "histogram":
            metrics.observe(instrument, 1.0, *labels)
        else:
            metrics.watch(instrument, lambda labels=labels: {labels: 1.0})  # type: ignore[misc]
    text = render([metrics.snapshot()]).decode()
    return {
        sample.name: set(sample.labels)
        for family in text_string_to_metric_families(text)
        for sample in family.samples
    }


def test_every_query_refers_to_metrics_and_labels_that_there_are(known: dict[str, set[str]]) -> None:
    found = queries(FOLDER / "grafana.json")
    assert len(found) > 20
    assert [wrong for query, legend in found for wrong in problems(query, legend, known)] == []


def test_every_metric_is_on_the_dashboard() -> None:
    text = "\n".join(query for query, _ in queries(FOLDER / "grafana.json"))
    assert [one.name for one in INSTRUMENTS if one.name not in text] == []


@pytest.mark.parametrize(
    ("query", "legend", "problem"),
    [
        ("sum(rate(recserve_request_total[1m]))", "", "no metric recserve_request_total"),
        ('recserve_queue_length{stge="x"}', "", "recserve_queue_length has no label stge"),
        ("sum by (scenario) (recserve_queue_length)", "", "recserve_queue_length has no label scenario"),
        ("recserve_queue_length", "{{route}}", "recserve_queue_length has no label route"),
        ("up", "", "no metric in up"),
    ],
)
def test_a_wrong_query_is_found(query: str, legend: str, problem: str, known: dict[str, set[str]]) -> None:
    assert problems(query, legend, known) == [problem]


def test_prometheus_scrapes_the_route_with_a_key() -> None:
    (job,) = yaml.safe_load((FOLDER / "prometheus.yml").read_text())["scrape_configs"]
    assert job["metrics_path"] == "/v1/metrics"
    assert job["honor_labels"] is True
    assert job["authorization"]["type"] == "Bearer"
