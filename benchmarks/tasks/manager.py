"""Ten tasks of a product manager."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

from benchmarks.tasks.hand import Hand, WrongAnswerError
from benchmarks.tasks.parts import Task, agree, open_view, region, section, told
from benchmarks.tasks.world import World


def live_bundle(hand: Hand, world: World) -> str:
    """By the offline comparison, which is paired, and by what people did."""
    open_view(hand, "Quality")
    read = hand.read("the bundle in service", hand.page.locator(".quality .live"))
    verdict = hand.read(
        "whether it is better than the last",
        section(hand.page, "Is it better than the last?"),
        until=lambda text: "Offline, over" in text and "Online, click" in text,
    )
    current, earlier = world.bundles()
    agree("bundle in service", read, current)
    measured = world.get("/v1/bundles/compare", a=earlier, b=current)["measured"]
    told(verdict, f"the same {measured['users']} users: {_judged(measured['difference'])}")
    rows = {row["group"]: row["ctr"]["value"] for row in world.outcomes("bundle", days=90)["rows"]}
    told(verdict, f"{100 * rows[current]:.4g}"[:4], f"{100 * rows[earlier]:.4g}"[:4])
    return verdict.removeprefix("Is it better than the last? ").removesuffix(" Compare the two")


def _judged(difference: dict[str, Any]) -> str:
    if difference["low"] > 0:
        return "better"
    return "worse" if difference["high"] < 0 else "no difference shown"


def why_this_item(hand: Hand, world: World) -> str:
    """Asks as that person, and unfolds the third card."""
    page = hand.page
    hand.type("the user's id", page.get_by_label("User id"), world.user, enter=True)
    page.wait_for_function("(user) => location.hash.includes(`user=${user}`)", arg=world.user)
    page.wait_for_selector("#items:not([aria-busy]) .card:nth-child(3)")
    card = page.locator("#items .card").nth(2)
    hand.click("Why?", card.locator(".because summary"))
    read = hand.read("who proposed it", card.locator(".because"))
    item = world.recommended()[2]
    agree("item", card.get_attribute("data-id"), item["item_id"])
    for one in item["details"]["proposals"]:
        told(read, f"{one['retriever']} #{one['place']}")
    told(read, item["explanation"])
    return f"{item['explanation']}; proposed by {', '.join(item['sources'])}"


def hide_an_item(hand: Hand, world: World) -> str:
    """From a list that it should not be in."""
    page = hand.page
    card = page.locator("#items .card").first
    item_id = card.get_attribute("data-id")
    hand.click("the item's title", card.get_by_role("heading").get_by_role("link"))
    hand.click("Hide", page.get_by_role("button", name="Hide", exact=True))
    read = hand.read("what was done", page.locator(".toast").last)
    told(read, "is in no answer from now on")
    agree("hidden", world.get(f"/v1/items/{item_id}")["hidden"], True)
    if item_id in {item["item_id"] for item in world.recommended()}:
        raise WrongAnswerError(f"{item_id} is still recommended")
    return read


def retriever_that_earns_its_keep(hand: Hand, world: World) -> str:
    """By the click-through rate of what each found."""
    open_view(hand, "Quality")
    table = region(hand.page, "Retrievers")
    hand.read("verdicts", table)
    names = table.locator("tbody th").all_inner_texts()
    read = dict(zip(names, table.locator("tbody .chip").all_inner_texts(), strict=True))
    report = world.outcomes("retriever")
    average = report["total"]["ctr"]["value"]
    known = {row["group"]: row["ctr"] for row in report["rows"]}
    agree("retrievers", set(read), set(known))
    above = {name for name, ctr in known.items() if ctr["low"] > average}
    below = {name for name, ctr in known.items() if ctr["high"] < average}
    agree("above average", {name for name, word in read.items() if word == "above average"}, above)
    agree("below average", {name for name, word in read.items() if word == "below average"}, below)
    return ", ".join(f"{name}: {word}" for name, word in read.items())


def share_shown(hand: Hand, world: World) -> str:
    """Over the last 28 days."""
    open_view(hand, "Quality")
    tile = hand.page.locator(".quality .tile", has_text="items were shown")
    read = hand.read("the share of items that were shown", tile)
    report = world.outcomes()
    share = float(read.split("%", maxsplit=1)[0])
    if abs(share - 100 * report["total"]["coverage"]) > 0.051:
        raise WrongAnswerError(f"{read!r}, but the API says {report['total']['coverage']}")
    told(read, f"of {report['catalogue']} items")
    return read


def start_a_test(hand: Hand, world: World) -> str:
    """The bundle that is compared with the one in service, for a tenth of the users."""
    page = hand.page
    open_view(hand, "Quality")
    hand.click("Compare", page.get_by_role("button", name="Compare", exact=True))
    hand.click("Try one against the other", page.get_by_role("link", name="Try one against the other"))
    hand.click("Create and start", page.get_by_role("button", name="Create and start"))
    state = hand.read("its state", page.locator(".experiments .panel .chip").first)
    agree("state", state, "running")
    name = page.locator("h1").inner_text()
    found = world.get(f"/v1/experiments/{name}")
    _, earlier = world.bundles()
    agree("its arms", [arm.get("bundle") for arm in found["arms"]], [None, earlier])
    agree("its share", (found["status"]["state"], found["status"]["share"]), ("running", 0.1))
    return f"{name}: {state}, for {100 * found['status']['share']:.0f}% of the users"


def stop_the_losing_arm(hand: Hand, world: World) -> str:
    """Of an experiment that runs."""
    page = hand.page
    report = world.get("/v1/experiments/fewer-neighbours/report")
    losing = min(
        (one for one in report["comparisons"] if one["metric"] == "click_through_rate"),
        key=lambda one: float(one["difference"]["value"]),
    )
    open_view(hand, "Experiments")
    hand.click("the experiment", page.get_by_role("link", name="fewer-neighbours"))
    read = hand.read("the differences", section(page, "Differences to control"))
    told(read, f"{losing['arm']} {losing['verdict']} −{abs(100 * losing['difference']['value']):.2f} pp")
    hand.click("Stop fewer", page.get_by_role("button", name=f"Stop {losing['arm']}", exact=True))
    hand.click("Stop", page.get_by_role("dialog").get_by_role("button", name="Stop", exact=True))
    row = region(page, "Arms").locator("tbody tr", has_text=losing["arm"])
    hand.read("its state", row, until=lambda text: "stopped" in text)
    stopped = world.get("/v1/experiments/fewer-neighbours")["status"]["stopped_arms"]
    agree("stopped arms", list(stopped), [losing["arm"]])
    return f"{losing['arm']}, which lost {-100 * losing['difference']['value']:.1f} points, is stopped"


def sample_ratio(hand: Hand, world: World) -> str:
    """Of an experiment that ended strangely."""
    page = hand.page
    open_view(hand, "Experiments")
    hand.click("the experiment", page.get_by_role("link", name="lopsided"))
    read = hand.read("the alarm", page.locator(".alarms [role=alert]").first)
    sizes = world.get("/v1/experiments/lopsided/report")["sample_ratio"]
    agree("whether there is an alarm", "Sample ratio mismatch" in read, sizes["mismatch"])
    for arm, users, expected in zip(sizes["arms"], sizes["users"], sizes["expected"], strict=True):
        told(read, f"{arm}: {users} of {expected:.0f} planned")
    return read.split(" Rely", maxsplit=1)[0]


def forget_a_person(hand: Hand, world: World) -> str:
    """Looks at what is known of them, deletes it, and keeps the receipt."""
    page, user = hand.page, world.leaving
    known = world.get(f"/v1/users/{user}/history", limit=1000)["events"]
    open_view(hand, "People")
    hand.type("the person's id", page.get_by_label("A person's id"), user, enter=True)
    hand.read("what is known of them", section(page, "History, newest first"))
    hand.click("Delete…", page.get_by_role("button", name="Delete…"))
    hand.type("the id, to confirm", page.get_by_label("Type the id to confirm"), user, enter=True)
    hand.read("the receipt", page.locator(".receipt"))
    with page.expect_download() as saved:
        hand.click("Download the receipt", page.get_by_role("button", name="Download the receipt"))
    receipt = json.loads(Path(saved.value.path()).read_text(encoding="utf-8"))
    agree("events that were deleted", receipt["deleted"]["events"], len(known))
    agree("what is left", world.get(f"/v1/users/{user}/history")["events"], [])
    told(page.locator(".receipt").inner_text(), receipt["receipt_id"])
    return f"{len(known)} events deleted, receipt {receipt['receipt_id'][:8]}…"


def items_like_this(hand: Hand, world: World) -> str:
    """Found by its title."""
    page = hand.page
    item = world.get("/v1/items", limit=30)["items"][-1]
    open_view(hand, "Catalogue")
    hand.type("the title", page.get_by_label("Words"), item["title"], enter=True)
    hand.click("the item", page.locator(".rows").get_by_role("link", name=item["title"], exact=True))
    ranked = section(page, "Similar items").locator(".ranked li a")
    hand.read("similar items", ranked.first)
    answer = world.post("/v1/similar", {"item_id": item["item_id"], "n": 12, "preview": True})
    agree("similar items", ranked.all_inner_texts(), [one["attributes"]["title"] for one in answer["items"]])
    return ", ".join(ranked.all_inner_texts()[:3])


TASKS = tuple(
    Task("product manager", question, do)
    for question, do in (
        ("Which bundle is live, and is it better than the last?", live_bundle),
        ("Why did this user get this item?", why_this_item),
        ("Hide this item from everybody.", hide_an_item),
        ("Which retriever earns its keep?", retriever_that_earns_its_keep),
        ("What share of the catalogue is shown?", share_shown),
        ("Start an A/B test of another bundle for a tenth of the users.", start_a_test),
        ("Stop the losing arm.", stop_the_losing_arm),
        ("Is the sample ratio of this experiment right?", sample_ratio),
        ("What do we know of this person? Erase them, with a receipt.", forget_a_person),
        ("Which items are like this one?", items_like_this),
    )
)
