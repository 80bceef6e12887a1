"""`/v1/bundles`: what there is, how good it is, and which one is served."""

from __future__ import annotations

import shutil
from typing import Any

import pytest

from recserve.api.schemas.bundles import (
    BundleDetailsAnswer,
    BundlesAnswer,
    ComparisonOfBundlesAnswer,
    PromotedAnswer,
)
from recserve.training.retraining.status import RetrainingStatus, write_status
from tests.support.bundles import UNTIL, promoted, write_bundle

UNKNOWN = "20260101-000000000000"


@pytest.fixture
def two(served: Any) -> tuple[str, str]:
    """The current bundle, and a better one."""
    first = write_bundle(served.folder, served.store, seed=1, ndcg=0.1, created=UNTIL)
    second = write_bundle(served.folder, served.store, seed=2, ndcg=0.15, created=UNTIL + 1)
    promoted(served.store, [first])
    return first, second


def answer(response: Any, model: Any = None) -> dict[str, Any]:
    assert response.status_code == 200, response.text
    plain: dict[str, Any] = response.json()
    if model is not None:
        model.model_validate(plain)
    return plain


def refusal(response: Any, status: int) -> dict[str, Any]:
    assert response.status_code == status, response.text
    error: dict[str, Any] = response.json()["error"]
    return error


def test_there_may_be_none(served: Any) -> None:
    assert answer(served.get("/v1/bundles"), BundlesAnswer) == {
        "current": None,
        "serving": "test-bundle",
        "known": 0,
        "bundles": [],
        "promotions": [],
        "retraining": None,
    }
    assert refusal(served.post("/v1/bundles/rollback", {}), 409)["code"] == "no_earlier_bundle"


def test_they_are_listed_newest_first(served: Any, two: tuple[str, str]) -> None:
    first, second = two
    found = answer(served.get("/v1/bundles"), BundlesAnswer)
    assert [one["bundle_id"] for one in found["bundles"]] == [second, first]
    assert [one["current"] for one in found["bundles"]] == [False, True]
    assert found["current"] == first
    assert found["bundles"][1]["metrics"]["ndcg@10"]["mean"] == pytest.approx(0.1)
    assert [one["bundle_id"] for one in found["bundles"][1]["promotions"]] == [first]
    assert all(one["present"] and one["report"] for one in found["bundles"])
    shortened = answer(served.get("/v1/bundles?limit=1"))
    assert (shortened["known"], len(shortened["bundles"])) == (2, 1)
    assert refusal(served.get("/v1/bundles?limit=0"), 422)["field"] == "limit"


def test_a_retraining_is_told_of(served: Any, two: tuple[str, str]) -> None:
    first, _ = two
    write_status(
        served.folder,
        RetrainingStatus.begun(1).model_copy(update={"step": "Fitting mf", "done": 1, "total": 3}),
    )
    served.store.record_bundle(first, UNTIL, {"postponed": ["ranker.bert_lstm"]})
    found = answer(served.get("/v1/bundles"), BundlesAnswer)
    running = found["retraining"]
    assert (running["state"], running["step"], running["done"], running["total"]) == (
        "running",
        "Fitting mf",
        1,
        3,
    )
    assert {one["bundle_id"]: one["postponed"] for one in found["bundles"]}[first] == ["ranker.bert_lstm"]


def test_one_tells_what_made_it_without_secrets(served: Any, two: tuple[str, str]) -> None:
    found = answer(served.get(f"/v1/bundles/{two[0]}"), BundleDetailsAnswer)
    assert found["seed"] == 1
    assert found["data"]["users"] == 200
    assert found["components"]["retriever.popular"]["facts"] == {"seconds": 1}
    assert found["config"]["encoder"]["params"]["api_key"] == "***"
    assert found["bytes"] > 0
    assert refusal(served.get(f"/v1/bundles/{UNKNOWN}"), 404)["field"] == "bundle_id"
    assert refusal(served.get("/v1/bundles/..%2F..%2Fetc"), 404)["code"] == "not_found"
    assert refusal(served.get("/v1/bundles/.hidden"), 422)["field"] == "bundle_id"


def test_one_whose_files_are_gone_is_still_known(served: Any, two: tuple[str, str]) -> None:
    shutil.rmtree(served.folder / "bundles" / two[1])
    found = answer(served.get(f"/v1/bundles/{two[1]}"), BundleDetailsAnswer)
    assert (found["present"], found["components"]) == (False, None)
    assert refusal(served.post(f"/v1/bundles/{two[1]}/promote", {}), 503)["code"] == "bundle_error"


def test_a_report_is_a_page_that_can_do_nothing(served: Any, two: tuple[str, str]) -> None:
    response = served.get(f"/v1/bundles/{two[0]}/report")
    assert "<h1>Evaluation, temporal split</h1>" in response.text
    assert "<script" not in response.text
    assert response.headers["content-type"].startswith("text/html")
    policy = response.headers["content-security-policy"]
    assert "default-src 'none'" in policy
    assert policy.endswith("sandbox")
    (served.folder / "reports" / f"{two[0]}.html").unlink()
    assert "no report" in refusal(served.get(f"/v1/bundles/{two[0]}/report"), 404)["message"]
    assert refusal(served.get(f"/v1/bundles/{UNKNOWN}/report"), 404)["message"].startswith("unknown bundle")


def test_two_are_compared_over_the_same_users(served: Any, two: tuple[str, str]) -> None:
    found = answer(served.get(f"/v1/bundles/compare?a={two[0]}&b={two[1]}"), ComparisonOfBundlesAnswer)
    difference = found["measured"]["difference"]
    assert difference["value"] == pytest.approx(0.05)
    assert 0 < difference["low"] <= difference["high"]
    assert found["same_data"]
    differing = {one["key"]: (one["a"], one["b"]) for one in found["differs"]}
    assert differing == {"seed": (1, 2), "config.train.seed": (1, 2)}
    (metric,) = found["metrics"]
    assert metric["a"]["mean"] < metric["b"]["mean"]
    assert refusal(served.get(f"/v1/bundles/compare?a={two[0]}&b={two[0]}"), 422)["field"] == "b"
    assert refusal(served.get(f"/v1/bundles/compare?a={two[0]}&b={UNKNOWN}"), 404)
    assert refusal(served.get(f"/v1/bundles/compare?a={two[0]}"), 422)["field"] == "b"


def test_what_was_measured_on_other_data_is_not_compared(served: Any, two: tuple[str, str]) -> None:
    other = write_bundle(served.folder, served.store, seed=3, data="other", params={"days": 7})
    found = answer(served.get(f"/v1/bundles/compare?a={two[0]}&b={other}"), ComparisonOfBundlesAnswer)
    assert found["measured"] is None
    assert not found["same_data"]
    assert "components.retriever.popular.params.days" in {one["key"] for one in found["differs"]}
    error = refusal(served.post(f"/v1/bundles/{other}/promote", {"reason": "new"}), 409)
    assert error["code"] == "not_measured"
    assert served.store.current_bundle() == two[0]


def test_a_better_one_is_promoted_and_rolled_back(served: Any, two: tuple[str, str]) -> None:
    first, second = two
    found = answer(served.post(f"/v1/bundles/{second}/promote", {"reason": "it is better"}), PromotedAnswer)
    assert (found["before"], found["changed"]) == (first, True)
    assert [one["source"] for one in found["findings"]] == ["offline"]
    assert not answer(served.post(f"/v1/bundles/{second}/promote", {}))["changed"]
    (newest, *_) = answer(served.get("/v1/bundles"))["promotions"]
    assert (newest["bundle_id"], newest["action"], newest["reason"]) == (second, "promote", "it is better")
    assert newest["actor"] == "anonymous"
    assert newest["evidence"]["offline"]["difference"] == pytest.approx(0.05)
    back = answer(served.post("/v1/bundles/rollback", {"reason": "CTR fell"}), PromotedAnswer)
    assert (back["bundle_id"], back["before"]) == (first, second)
    assert served.store.current_bundle() == first
    actions = [(entry.action, entry.target) for entry in served.store.audit(10)]
    assert ("bundle.promote", second) in actions
    assert ("bundle.rollback", first) in actions


def test_a_worse_one_is_refused_unless_forced(served: Any, two: tuple[str, str]) -> None:
    worse = write_bundle(served.folder, served.store, seed=4, ndcg=0.02)
    error = refusal(served.post(f"/v1/bundles/{worse}/promote", {"reason": "mine"}), 409)
    assert error["code"] == "worse_bundle"
    assert "`force`" in error["message"]
    assert ("bundle.refuse", worse) in [(one.action, one.target) for one in served.store.audit(10)]
    assert refusal(served.post(f"/v1/bundles/{worse}/promote", {"force": True}), 422)
    forced = answer(served.post(f"/v1/bundles/{worse}/promote", {"force": True, "reason": "the law"}))
    assert (forced["changed"], forced["findings"]) == (True, [])
    assert served.store.promotions(1)[0].grounds.evidence == {"forced": True}


def test_a_damaged_one_is_not_served(served: Any, two: tuple[str, str]) -> None:
    (served.folder / "bundles" / two[1] / "items.parquet").write_bytes(b"nothing")
    body = {"force": True, "reason": "now"}
    assert refusal(served.post(f"/v1/bundles/{two[1]}/promote", body), 503)["code"] == "bundle_error"
    assert served.store.current_bundle() == two[0]


def test_the_first_one_needs_no_evidence(served: Any) -> None:
    only = write_bundle(served.folder, served.store, measured=False)
    assert answer(served.post(f"/v1/bundles/{only}/promote", {}))["before"] is None
    assert served.store.current_bundle() == only
