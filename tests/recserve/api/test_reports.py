"""`/v1/reports/outcomes`: what became of what this server recommended."""

from __future__ import annotations

from typing import Any

import pytest

from recserve.api.schemas.reports import OutcomesAnswer


def report(served: Any, **asked: Any) -> dict[str, Any]:
    served.store.flush()
    response = served.call("GET", "/v1/reports/outcomes", params=asked)
    assert response.status_code == 200, response.text
    answer: dict[str, Any] = response.json()
    OutcomesAnswer.model_validate(answer)
    return answer


def test_a_click_is_in_the_next_report(served: Any) -> None:
    answer = served.post("/v1/recommend", {"user_id": "ada", "n": 4}).json()
    assert report(served)["total"]["clicks"] == 0
    item = answer["items"][1]
    named = {"recommendation_id": answer["recommendation_id"], "item_id": item["item_id"]}
    served.post("/v1/events", {"user_id": "ada", "event": "purchase", "value": 3.5, **named})
    found = report(served, by="retriever")
    total = found["total"]
    assert (total["impressions"], total["clicks"], total["conversions"], total["value"]) == (4, 1, 1, 3.5)
    clicked = {row["group"]: row["clicks"] for row in found["rows"]}
    assert clicked[item["sources"][0]] == 1
    assert found["freshness"]["newest_answer"] is not None


@pytest.mark.parametrize(
    ("asked", "field"),
    [
        ({"by": "colour"}, "by"),
        ({"since": "2026-13-01"}, "since"),
        ({"since": "2026-02-02", "until": "2026-02-01"}, "since"),
        ({"limit": 0}, "limit"),
        ({"form": "csv"}, "form"),
    ],
)
def test_bad_questions_are_refused(shared: Any, asked: dict[str, Any], field: str) -> None:
    response = shared.call("GET", "/v1/reports/outcomes", params=asked)
    assert response.status_code == 422
    assert response.json()["error"]["field"] == field
