"""One scrape of a server's metrics."""

from __future__ import annotations

import time

import httpx
from prometheus_client.parser import text_string_to_metric_families


class Scrape:
    """The samples of one scrape.

    Args:
        url: Address of the server.
        key: API key, if the server asks for one.

    Attributes:
        seconds: How long it took.
        samples: All samples.
    """

    def __init__(self, url: str, key: str = "") -> None:
        began = time.monotonic()
        headers = {"authorization": f"Bearer {key}"} if key else {}
        answer = httpx.get(f"{url}/v1/metrics", headers=headers, timeout=20, trust_env=False)
        self.seconds = time.monotonic() - began
        assert answer.status_code == 200
        self.samples = [
            sample for family in text_string_to_metric_families(answer.text) for sample in family.samples
        ]

    def total(self, name: str, **labels: str) -> float:
        """Sum of the samples that have these labels."""
        return sum(
            sample.value
            for sample in self.samples
            if sample.name == name and labels.items() <= sample.labels.items()
        )

    def replicas(self, stage: str) -> set[str]:
        """Replicas of a stage that answered."""
        return {sample.labels["replica"] for sample in self.samples if sample.labels["stage"] == stage} - {""}
