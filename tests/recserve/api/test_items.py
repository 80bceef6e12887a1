"""`/v1/items`: the catalogue is kept up to date over the wire, and every change counts at once."""

from __future__ import annotations

from typing import Any

import pytest

from recserve.api.schemas.browsing import ItemsAnswer
from recserve.api.schemas.responses import (
    ChangedAnswer,
    DeletedAnswer,
    ItemAnswer,
    ItemsStoredAnswer,
)


def send(served: Any, method: str, body: Any, path: str = "/v1/items") -> Any:
    response = served.call(method, path, json=body)
    assert response.status_code == 200, response.text
    return response.json()


def item(item_id: str, title: str, **more: Any) -> dict[str, Any]:
    return {"item_id": item_id, "attributes": {"title": title, "year": 2024, "genres": ["Comedy"]}, **more}


def found(served: Any, **body: Any) -> list[str]:
    answer = served.post("/v1/recommend", {"n": 1000, **body})
    assert answer.status_code == 200, answer.text
    return [one["item_id"] for one in answer.json()["items"]]


def found_soon(served: Any, item_id: str, **body: Any) -> list[str]:
    """New items are promised within seconds."""
    served.until(lambda: item_id in found(served, **body))
    return found(served, **body)


def gone_at_once(served: Any, item_id: str) -> None:
    assert item_id not in found(served)
    assert item_id not in found(served, query="star wars", seen="allow")
    similar = served.post("/v1/similar", {"item_id": "1196", "n": 1000}).json()
    assert item_id not in [one["item_id"] for one in similar["items"]]
    ranked = served.post("/v1/rank", {"items": ["1", item_id]}).json()
    assert [one["item_id"] for one in ranked["items"]] == ["1"]
    assert ranked["left_out"] == [item_id]


class TestUpsert:
    def test_a_new_item_is_stored_encoded_and_found_by_its_text(self, served: Any) -> None:
        answer = send(served, "POST", {"items": [item("t-1", "Lighthouse keeper")]})
        ItemsStoredAnswer.model_validate(answer)
        assert answer == {"accepted": 1, "encoded": 1}
        assert served.store.items(["t-1"])["t-1"].title == "Lighthouse keeper"
        assert found_soon(served, "t-1", query="lighthouse keeper")[0] == "t-1"

    def test_an_item_is_replaced_as_a_whole(self, served: Any) -> None:
        send(served, "POST", {"items": [item("t-1", "First", hidden=True, expires_at=1_896_091_200)]})
        send(served, "POST", {"items": [item("t-1", "Second")]})
        answer = served.get("/v1/items/t-1").json()
        ItemAnswer.model_validate(answer)
        assert answer == {
            "item_id": "t-1",
            "title": "Second",
            "attributes": {"title": "Second", "year": 2024, "genres": ["Comedy"]},
            "hidden": False,
            "expires_at": None,
        }

    def test_of_equal_ids_the_last_counts(self, served: Any) -> None:
        answer = send(served, "POST", {"items": [item("t-1", "First"), item("t-1", "Second")]})
        assert answer == {"accepted": 1, "encoded": 1}
        assert served.get("/v1/items/t-1").json()["title"] == "Second"

    def test_ten_thousand_items_in_one_call(self, served: Any) -> None:
        items = [item(f"t-{n}", f"Title {n} " + "x" * 200) for n in range(10_000)]
        answer = send(served, "POST", {"items": items})
        assert answer["accepted"] == 10_000
        assert served.store.counts().items == 10_025
        response = served.post("/v1/items", {"items": [*items, item("one more", "")]})
        assert response.status_code == 422
        assert response.json()["error"]["field"] == "items"

    def test_a_lost_encoder_costs_the_vector_not_the_item(self, served: Any) -> None:
        served.client.broken = {"encoding"}
        assert send(served, "POST", {"items": [item("t-1", "Zebra")]}) == {"accepted": 1, "encoded": 0}
        assert served.get("/v1/items/t-1").json()["title"] == "Zebra"

    @pytest.mark.parametrize(
        ("wrong", "field"),
        [
            ({"item_id": ""}, "items[1].item_id"),
            ({"item_id": "a\x00"}, "items[1].item_id"),
            ({"attributes": []}, "items[1].attributes"),
            ({"hidden": None}, "items[1].hidden"),
            ({"hidden": "no"}, "items[1].hidden"),
            ({"expires_at": "soon"}, "items[1].expires_at"),
            ({"expires_at": -1}, "items[1].expires_at"),
            ({"title": "x"}, "items[1].title"),
        ],
    )
    def test_one_wrong_item_refuses_them_all(self, served: Any, wrong: dict[str, Any], field: str) -> None:
        response = served.post("/v1/items", {"items": [item("t-1", "Good"), {**item("t-2", "Bad"), **wrong}]})
        assert response.status_code == 422
        assert response.json()["error"]["field"] == field
        assert served.get("/v1/items/t-1").status_code == 404

    @pytest.mark.parametrize("body", [{}, {"items": []}, [], {"items": {}}, {"item_id": "1"}])
    def test_other_shapes_are_refused(self, shared: Any, body: Any) -> None:
        assert shared.post("/v1/items", body).status_code == 422

    @pytest.mark.parametrize("sent", [1_896_091_200, 1_896_091_200_000, "2030-01-31T12:00:00Z"])
    def test_a_time_in_any_notation(self, served: Any, sent: Any) -> None:
        send(served, "POST", {"items": [item("t-1", "Later", expires_at=sent)]})
        assert served.get("/v1/items/t-1").json()["expires_at"] == 1_896_091_200_000

    def test_any_json_attribute_comes_back(self, served: Any) -> None:
        attributes = {
            "title": "☃",
            "deep": {"a": [1, None, {"b": 2.5}]},
            "big": 2**70,
            "nul": "a\x00b",
            "": True,
        }
        send(served, "POST", {"items": [{"item_id": "t-1", "attributes": attributes}]})
        assert served.get("/v1/items/t-1").json()["attributes"] == attributes


class TestPatch:
    def test_hidden_is_gone_and_comes_back(self, served: Any) -> None:
        assert "260" in found(served)
        answer = send(served, "PATCH", {"items": [{"item_id": "260", "hidden": True}]})
        ChangedAnswer.model_validate(answer)
        assert answer == {"changed": 1, "unknown": []}
        gone_at_once(served, "260")
        shown = served.get("/v1/items/260").json()
        assert (shown["hidden"], shown["title"]) == (True, "Star Wars")
        send(served, "PATCH", {"items": [{"item_id": "260", "hidden": False}]})
        assert "260" in found(served)

    def test_expired_is_gone_and_null_means_never(self, served: Any) -> None:
        send(served, "PATCH", {"items": [{"item_id": "260", "expires_at": "2001-01-01"}]})
        gone_at_once(served, "260")
        send(served, "PATCH", {"items": [{"item_id": "260", "hidden": False}]})
        assert served.get("/v1/items/260").json()["expires_at"] == 978_307_200_000
        gone_at_once(served, "260")
        send(served, "PATCH", {"items": [{"item_id": "260", "expires_at": None}]})
        assert served.get("/v1/items/260").json()["expires_at"] is None
        assert "260" in found(served)

    def test_attributes_are_set_and_removed_and_the_item_is_found_by_its_new_text(self, served: Any) -> None:
        patch = {"item_id": "47", "attributes": {"title": "Lighthouse keeper", "genres": None}}
        send(served, "PATCH", {"items": [patch]})
        assert served.get("/v1/items/47").json()["attributes"] == {"title": "Lighthouse keeper", "year": 1995}
        served.until(lambda: found(served, query="lighthouse keeper")[0] == "47")

    def test_an_item_that_was_stored_hidden_is_found_once_it_is_shown(self, served: Any) -> None:
        hidden = send(served, "POST", {"items": [item("t-1", "Lighthouse keeper", hidden=True)]})
        assert hidden == {"accepted": 1, "encoded": 0}
        assert "t-1" not in found(served, query="lighthouse keeper")
        send(served, "PATCH", {"items": [{"item_id": "t-1", "hidden": False}]})
        assert found_soon(served, "t-1", query="lighthouse keeper")[0] == "t-1"

    def test_unknown_ids_are_named(self, served: Any) -> None:
        patches = [{"item_id": one, "hidden": True} for one in ("none", "260", "nothing", "none", "260")]
        answer = send(served, "PATCH", {"items": patches})
        assert answer == {"changed": 1, "unknown": ["none", "nothing"]}

    def test_a_patch_that_changes_nothing_is_fine(self, served: Any) -> None:
        assert send(served, "PATCH", {"items": [{"item_id": "260"}]}) == {"changed": 1, "unknown": []}

    def test_a_lost_encoder_costs_the_vector_not_the_change(self, served: Any) -> None:
        served.client.broken = {"encoding"}
        send(served, "PATCH", {"items": [{"item_id": "47", "attributes": {"title": "Zebra"}}]})
        assert served.get("/v1/items/47").json()["title"] == "Zebra"

    def test_mistakes_are_named(self, shared: Any) -> None:
        response = shared.call("PATCH", "/v1/items", json={"items": [{"item_id": "1", "hiden": True}]})
        assert response.status_code == 422
        assert "did you mean 'hidden'?" in response.json()["error"]["message"]


class TestDelete:
    def test_a_deleted_item_is_gone_everywhere(self, served: Any) -> None:
        answer = served.call("DELETE", "/v1/items/260")
        DeletedAnswer.model_validate(answer.json())
        assert answer.json() == {"deleted": 1}
        gone_at_once(served, "260")
        assert served.get("/v1/items/260").status_code == 404
        assert served.call("DELETE", "/v1/items/260").json() == {"deleted": 0}

    def test_many_at_once(self, served: Any) -> None:
        body = {"item_ids": ["1", "2", "nothing", "1"]}
        assert send(served, "DELETE", body) == {"deleted": 2}
        assert not {"1", "2"} & set(found(served))
        assert send(served, "DELETE", body) == {"deleted": 0}

    def test_it_comes_back(self, served: Any) -> None:
        served.call("DELETE", "/v1/items/1")
        send(served, "POST", {"items": [item("1", "Toy Story again")]})
        found_soon(served, "1")
        assert served.get("/v1/items/1").json()["title"] == "Toy Story again"

    def test_the_audit_log_knows(self, served: Any) -> None:
        served.call("DELETE", "/v1/items/260")
        send(served, "DELETE", {"item_ids": ["1", "2", "3"]})
        send(served, "DELETE", {"item_ids": ["1", "2"]})
        many, one = served.store.audit(10)
        assert (one.actor, one.action, one.target) == ("anonymous", "item.delete", "260")
        assert (many.target, many.detail) == ("3 items", {"deleted": 2, "item_ids": ["1", "2", "3"]})

    def test_a_body_is_needed(self, shared: Any) -> None:
        assert shared.call("DELETE", "/v1/items").status_code == 415
        assert shared.call("DELETE", "/v1/items", json={"item_ids": []}).status_code == 422


class TestList:
    def test_all_items_part_by_part(self, served: Any) -> None:
        send(served, "PATCH", {"items": [{"item_id": "260", "hidden": True}]})
        served.call("DELETE", "/v1/items/1")
        listed: list[dict[str, Any]] = []
        cursor: str | None = None
        sizes = []
        while True:
            query = {"limit": 7} if cursor is None else {"limit": 7, "cursor": cursor}
            answer = served.get("/v1/items", params=query).json()
            ItemsAnswer.model_validate(answer)
            listed.extend(answer["items"])
            sizes.append(len(answer["items"]))
            cursor = answer["cursor"]
            if cursor is None:
                break
            # What is listed already may go, and more may come.
            served.call("DELETE", f"/v1/items/{listed[0]['item_id']}")
        ids = [one["item_id"] for one in listed]
        assert len(ids) == len(set(ids))
        assert sum(sizes) == 24
        assert sizes[:-1] == [7] * (len(sizes) - 1)
        assert next(one for one in listed if one["item_id"] == "260")["hidden"]
        assert "1" not in ids

    def test_the_last_part_has_no_cursor(self, shared: Any) -> None:
        answer = shared.get("/v1/items?limit=25").json()
        assert len(answer["items"]) == 25
        assert answer["cursor"] is None

    @pytest.mark.parametrize("query", ["limit=0", "limit=1001", "limit=x"])
    def test_a_wrong_limit(self, shared: Any, query: str) -> None:
        response = shared.get(f"/v1/items?{query}")
        assert response.status_code == 422
        assert response.json()["error"]["field"] == "limit"

    def test_a_wrong_cursor(self, shared: Any) -> None:
        of_a_page = shared.post("/v1/recommend", {"n": 2}).json()["cursor"]
        for cursor in ("x", "", "AAAA", of_a_page):
            response = shared.get("/v1/items", params={"cursor": cursor})
            assert response.status_code == 422, cursor
            assert response.json()["error"]["field"] == "cursor"


def test_writes_to_a_lost_store_are_503(served: Any) -> None:
    served.break_store()
    for method, path, body in [
        ("POST", "/v1/items", {"items": [item("t-1", "x")]}),
        ("PATCH", "/v1/items", {"items": [{"item_id": "1", "attributes": {"title": "x"}}]}),
        ("DELETE", "/v1/items", {"item_ids": ["1"]}),
        ("DELETE", "/v1/items/1", None),
        ("GET", "/v1/items", None),
    ]:
        response = served.call(method, path, **({} if body is None else {"json": body}))
        assert response.status_code == 503, (method, response.text)
        assert response.json()["error"]["code"] == "store_unavailable"
        assert response.headers["retry-after"] == "1"


class TestVectors:
    """Vectors in named spaces, of which the server's configuration declares ``image`` with three numbers."""

    def test_they_are_stored_with_the_item_and_replaced_alone(self, served: Any) -> None:
        send(served, "POST", {"items": [item("t-1", "Red", vectors={"image": [1, 0.5, 0]})]})
        send(served, "PATCH", {"items": [{"item_id": "1", "vectors": {"image": [0, 0, 2]}}]})
        given = served.store.snapshot(events=False).vectors["image"]
        found = dict(zip(given.item_ids, given.vectors.tolist(), strict=True))
        assert found == {"t-1": [1, 0.5, 0], "1": [0, 0, 2]}
        send(served, "PATCH", {"items": [{"item_id": name, "vectors": {"image": None}} for name in found]})
        assert served.store.snapshot(events=False).vectors == {}
        assert served.get("/v1/items/1").json()["title"] == "Toy Story"

    @pytest.mark.parametrize("method", ["POST", "PATCH"])
    @pytest.mark.parametrize(
        ("vectors", "field", "said"),
        [
            ({"image": [1, 2]}, "items[1].vectors.image", "2 numbers instead of 3"),
            ({"imgae": [1, 2, 3]}, "items[1].vectors.imgae", "unknown vector space; did you mean 'image'"),
            ({"image": [0, 0, 0]}, "items[1].vectors.image", "no direction"),
            ({"image": [1, 1e200, 0]}, "items[1].vectors.image", "not finite"),
        ],
    )
    def test_what_is_no_vector_of_its_space_is_refused(
        self, served: Any, method: str, vectors: Any, field: str, said: str
    ) -> None:
        body = {"items": [{"item_id": "1"}, {"item_id": "2", "vectors": vectors}]}
        response = served.call(method, "/v1/items", json=body)
        assert response.status_code == 422
        error = response.json()["error"]
        assert (error["code"], error["field"]) == ("invalid_request", field)
        assert said in error["message"]
        assert served.store.snapshot(events=False).vectors == {}

    @pytest.mark.parametrize("vectors", [{"image": "red"}, {"image": [1] * 4097}, {"image": []}, [1, 2, 3]])
    def test_bodies_are_bounded(self, served: Any, vectors: Any) -> None:
        response = served.call("POST", "/v1/items", json={"items": [{"item_id": "1", "vectors": vectors}]})
        assert response.status_code == 422
        assert response.json()["error"]["field"].startswith("items[0].vectors")
