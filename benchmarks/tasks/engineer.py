"""Ten tasks of an engineer."""

from __future__ import annotations

from typing import Any

from benchmarks.tasks.hand import Hand, WrongAnswerError
from benchmarks.tasks.parts import Task, agree, open_view, region, section, told
from benchmarks.tasks.world import World

CHANGE = "promotion: {margin: 0.02}\n"


def slow_stage(hand: Hand, world: World) -> str:
    """By the mean time of each step in the last seconds."""
    before = _steps(world)
    open_view(hand, "Live")
    bars = hand.page.locator(".live .bars")
    hand.read("the time of each step", bars)
    read = dict(
        zip(
            (text.split()[0] for text in bars.locator("th[scope=row]").all_inner_texts()),
            (float(text.split()[0]) for text in bars.locator(".bar-value").all_inner_texts()),
            strict=True,
        )
    )
    slowest = max(read, key=lambda step: read[step])
    now = _steps(world)
    grown = {step: (now[step][0] - before[step][0], now[step][1] - before[step][1]) for step in before}
    means = {step: 1000 * seconds / count for step, (count, seconds) in grown.items() if count}
    # The page's seconds and these overlap, but are not the same: a close race may end otherwise.
    if means[slowest] < 0.5 * max(means.values()):
        raise WrongAnswerError(f"the page says {read}, the API {means}")
    return f"{slowest}, {read[slowest]:.1f} ms"


def _steps(world: World) -> dict[str, tuple[float, float]]:
    rows = world.get("/v1/live")["latency"]["steps"]
    return {row["step"]: (sum(row["buckets"]), row["seconds"]) for row in rows}


def degraded(hand: Hand, world: World) -> str:
    """Since the start, so that what is over is seen as well."""
    open_view(hand, "Live")
    table = region(hand.page, "What answers went on without")
    hand.read("parts and causes", table)
    cells = [row.split("\t") for row in table.locator("tbody tr").all_inner_texts()]
    read = {(part.strip(), cause.strip()): int(count.replace(",", "")) for part, cause, _, count in cells}
    known = {(row["part"], row["cause"]): row["count"] for row in world.get("/v1/live")["degraded"]}
    agree("parts and causes", set(read), set(known))
    for key, count in read.items():
        if not 0 < count <= known[key]:
            raise WrongAnswerError(f"{key}: the page says {count}, the API {known[key]}")
    return ", ".join(f"{part} ({cause}): {count}" for (part, cause), count in read.items())


def replicas(hand: Hand, world: World) -> str:
    """Of all stages, with their machines."""
    open_view(hand, "Live")
    table = region(hand.page, "Replicas: ")
    hand.read("replicas", table)
    cells = [row.split("\t") for row in table.locator("tbody tr").all_inner_texts()]
    read = sorted((stage.strip(), replica.strip(), node.strip()) for stage, replica, node, *_ in cells)
    stages = world.get("/v1/live")["stages"]
    known = sorted(
        (stage["stage"], one["replica"], one["node"]) for stage in stages for one in stage["replicas"]
    )
    agree("replicas", read, known)
    counts = {stage: sum(1 for one in read if one[0] == stage) for stage, _, _ in read}
    machines = len({node for _, _, node in read})
    told(table.get_attribute("aria-label"), f"Replicas: {len(read)}; machines: {machines}")
    return f"{', '.join(f'{stage} {count}' for stage, count in counts.items())}, on {machines} machine"


def what_a_parameter_does(hand: Hand, world: World) -> str:
    """Found by its name."""
    page, name = hand.page, "iterations"
    open_view(hand, "Plugins")
    hand.type("the parameter's name", page.get_by_label("Search"), name)
    component = page.locator(".component", has=page.get_by_role("heading", name="mf Retriever"))
    row = component.locator("tbody tr", has=page.get_by_role("rowheader", name=name, exact=True))
    read = hand.read("what it is", row)
    schema = _component(world, "mf")["parameters"]["properties"][name]
    told(read, schema["description"].replace("`", ""), f"{schema['default']}")
    return str(schema["description"])


def _component(world: World, name: str) -> dict[str, Any]:
    plugins = world.get("/v1/plugins")["plugins"]
    found: dict[str, Any] = next(
        one for plugin in plugins for one in plugin["components"] if one["name"] == name
    )
    return found


def check_a_configuration(hand: Hand, world: World) -> str:
    """Changes the text and reads what that would do; nothing is applied."""
    page = hand.page
    open_view(hand, "Plugins")
    hand.click("Configuration", page.get_by_role("link", name="Configuration"))
    text = page.get_by_label("Configuration, as YAML")
    shown = text.input_value()
    hand.type("the text", text, CHANGE, at_end=True)
    read = hand.read("what it would do", page.locator(".plugins .result"), until=lambda said: "valid" in said)
    known = world.post("/v1/config/validate", {"text": shown + CHANGE})
    agree("whether it is valid", "1 mistake" not in read, known["valid"])
    for change in known["changes"]:
        told(read, change["key"])
    told(read, *(" ".join(line.split()) for line in known["diff"].splitlines() if line.startswith("+ ")))
    words = {"restart": "once they are started anew with it", "training": "a bundle that is trained with it"}
    told(read, words[known["needs"]])
    return f"valid, {known['changes'][0]['key']} changes: needs {known['needs']}"


def roll_back(hand: Hand, world: World) -> str:
    """To the bundle that was in service before."""
    page = hand.page
    current, earlier = world.bundles()
    open_view(hand, "Quality")
    hand.click("Roll back", page.get_by_role("button", name="Roll back to"))
    hand.click("Roll back", page.get_by_role("dialog").get_by_role("button", name="Roll back"))
    live = page.locator(".quality .live")
    read = hand.read("the bundle in service", live, until=lambda text: text != current)
    agree("bundle in service", read, earlier)
    agree("bundle in service", world.get("/v1/bundles")["current"], earlier)
    return f"{read} instead of {current}"


def compare_bundles(hand: Hand, world: World) -> str:
    """What training measured, and what differs in what made them."""
    page = hand.page
    open_view(hand, "Quality")
    hand.click("Compare", page.get_by_role("button", name="Compare", exact=True))
    verdict = hand.read("which is better", page.locator(".verdict"))
    differs = section(page, "What differs in what made them")
    read = hand.read("what differs", differs)
    current, earlier = world.bundles()
    known = world.get("/v1/bundles/compare", a=current, b=earlier)
    told(verdict, f"paired over the same {known['measured']['users']} users")
    told(read, *(row["key"] for row in known["differs"]))
    return f"{verdict.split(',', maxsplit=1)[0]}; {known['differs'][0]['key']} differs"


def what_the_cache_does(hand: Hand, world: World) -> str:
    """Hit rates since the start."""
    before = _hit_rates(world)
    open_view(hand, "Live")
    table = region(hand.page, "What the caches saved")
    hand.read("hit rates", table)
    row = table.locator("tbody tr", has=hand.page.get_by_role("rowheader", name="answers", exact=True))
    read = float(row.locator("td").last.inner_text().rstrip("%"))
    now = _hit_rates(world)
    low, high = sorted((before["result"], now["result"]))
    if not low - 1 <= read <= high + 1:
        raise WrongAnswerError(f"the page says {read}% of answers, the API {low:.1f} to {high:.1f}")
    return f"{read:g}% of the answers come from the cache"


def _hit_rates(world: World) -> dict[str, float]:
    rows = world.get("/v1/live")["caches"]
    found = {}
    for cache in {row["cache"] for row in rows}:
        counts = {row["outcome"]: row["count"] for row in rows if row["cache"] == cache}
        found[cache] = 100 * counts["hit"] / max(sum(counts.values()), 1)
    return found


def who_serves_a_scenario(hand: Hand, world: World) -> str:
    """Plugins with their versions, of what the configuration uses."""
    page = hand.page
    open_view(hand, "Plugins")
    hand.click("Only what the configuration uses", page.get_by_label("Only what the configuration uses"))
    panels = page.locator(".plugins section.panel", has=page.locator(".component", has_text="home"))
    hand.read("plugins that serve it", panels.first)
    read = {" ".join(text.split()) for text in panels.locator(".heading").all_inner_texts()}
    known = {
        f"{plugin['name']} {plugin['distribution']} {plugin['version']}"
        for plugin in world.get("/v1/plugins")["plugins"]
        if any(use["scenario"] == "home" for one in plugin["components"] for use in one["used"])
    }
    if not known <= read:
        raise WrongAnswerError(f"the page says {sorted(read)}, the API {sorted(known)}")
    return ", ".join(sorted(known))


def failing_requests(hand: Hand, world: World) -> str:
    """By route, and by the code of the error."""
    page = hand.page
    open_view(hand, "Live")
    codes = region(page, "Answers that were errors")
    hand.read("codes", codes)
    read = [row.split("\t")[0].strip() for row in codes.locator("tbody tr").all_inner_texts()]
    known = world.get("/v1/live")
    agree("codes", set(read), {row["code"] for row in known["errors"]})
    routes = region(page, "Requests by route")
    hand.read("routes", routes)
    cells = [row.split("\t") for row in routes.locator("tbody tr").all_inner_texts()]
    bad = {row[0].strip() for row in cells if row[-1].strip() != "0"}
    agree("routes", bad, {row["route"] for row in known["requests"] if row["status"] >= "400"})
    return f"{', '.join(sorted(bad))}: {', '.join(read)}"


TASKS = tuple(
    Task("engineer", question, do)
    for question, do in (
        ("Which stage is slow?", slow_stage),
        ("Is anything degraded, and why?", degraded),
        ("How many replicas run, on which machines?", replicas),
        ("What does the parameter `iterations` do?", what_a_parameter_does),
        ("Is this configuration valid, and what does it change?", check_a_configuration),
        ("Compare two bundles.", compare_bundles),
        ("What does the cache do?", what_the_cache_does),
        ("Which plugins, in which versions, serve this scenario?", who_serves_a_scenario),
        ("Which requests fail, and how?", failing_requests),
        ("Roll back the bundle.", roll_back),
    )
)
