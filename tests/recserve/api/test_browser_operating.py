"""The console's views of quality, experiments and plugins in a real Chromium."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest

from recserve.api import create_app
from recserve.api.backends.desks.configuration import ConfigurationDesk
from recserve.auth.keyring import Keyring
from recserve.auth.keys import create_key
from recserve.config import parse_config
from recserve.data.entities import now_ms
from recserve.plugin.registry import Registry
from recserve.store import Scope
from recserve.training.retraining.status import RetrainingStatus, ended, write_status
from tests.recserve.api.conftest import SETTINGS, build, listening
from tests.support.console import Tab, console_page, looks_wrong, settled, tab, violations
from tests.support.operated import Operated, operate

pytestmark = pytest.mark.browser

CONFIG = {
    "store": {"url": "postgresql://shop:hush@db/shop"},
    "encoder": None,
    "scenarios": {"home": {"retrievers": [{"use": "popular", "weight": 2}], "ranker": None}},
}


class Site:
    """A server with a past, and where it listens."""

    def __init__(self, folder: Path, *, past: bool) -> None:
        self.served = build(folder)
        self.past: Operated | None = operate(folder, self.served.store) if past else None
        backend = self.served.app.state.backend
        backend.configuration = ConfigurationDesk(
            parse_config(CONFIG), lambda: Registry.discover(only=["builtins", "popular"])
        )


@pytest.fixture(scope="module")
def site(tmp_path_factory: pytest.TempPathFactory) -> Iterator[tuple[str, Operated]]:
    """The address of a server with a past that tests leave as it is, and that past."""
    made = Site(tmp_path_factory.mktemp("operated"), past=True)
    assert made.past is not None
    with made.served.store, listening(made.served.app) as url:
        yield url, made.past


@pytest.fixture(scope="module")
def opened(browser: Any, site: tuple[str, Operated]) -> Iterator[Tab]:
    """A tab on that server."""
    with tab(browser, site[0]) as made:
        yield made


@pytest.fixture
def changed(tmp_path: Path) -> Iterator[tuple[str, Operated, Any]]:
    """The same, of a test's own."""
    made = Site(tmp_path, past=True)
    assert made.past is not None
    with made.served.store, listening(made.served.app) as url:
        yield url, made.past, made.served


def test_empty_views_say_what_is_missing(browser: Any, tmp_path: Path) -> None:
    made = Site(tmp_path, past=False)
    with made.served.store, listening(made.served.app) as url, tab(browser, url) as opened:
        for place, told in (
            ("#/quality", "Nothing has been trained yet."),
            ("#/experiments", "There is no experiment yet."),
        ):
            with opened.at(place) as page:
                page.locator(".state.nothing", has_text=told).wait_for()
                settled(page)
                assert violations(page) == []


@pytest.mark.parametrize(
    ("place", "last"),
    [
        ("#/quality", "Items shown most"),
        ("#/quality/BUNDLE", "Save the report"),
        ("#/quality/compare?a=BEFORE&b=BUNDLE", "None yet."),
        ("#/experiments", "lopsided"),
        ("#/experiments/lopsided", "Guardrails"),
        ("#/experiments/new", "Create and start"),
        ("#/plugins", "Components: "),
        ("#/plugins/config", "As it was"),
    ],
)
def test_full_views_have_no_barrier(opened: Tab, site: tuple[str, Operated], place: str, last: str) -> None:
    _, past = site
    with opened.at(place.replace("BUNDLE", past.current).replace("BEFORE", past.before)) as page:
        page.get_by_text(last).first.wait_for()
        settled(page)
        assert violations(page) == []


@pytest.mark.parametrize(
    "place",
    [
        "#/quality",
        pytest.param("#/quality/BUNDLE", marks=pytest.mark.long),
        "#/experiments/lopsided",
        pytest.param("#/experiments/new", marks=pytest.mark.long),
        pytest.param("#/plugins", marks=pytest.mark.long),
        "#/plugins/config",
    ],
)
def test_full_views_have_no_barrier_on_a_dark_phone(
    opened: Tab, site: tuple[str, Operated], place: str
) -> None:
    """Elements are those of the wide light screen; colours, sizes and places are not."""
    with opened.at(place.replace("BUNDLE", site[1].current)) as page:
        settled(page)
        page.wait_for_selector(".view .panel")
        assert looks_wrong(page) == []


@pytest.mark.parametrize(
    ("place", "call"),
    [
        ("#/quality", "**/v1/bundles"),
        ("#/experiments", "**/v1/experiments"),
        ("#/plugins", "**/v1/plugins"),
    ],
)
def test_failing_views_say_why_and_go_on(opened: Tab, place: str, call: str) -> None:
    error = '{"error": {"code": "store_unavailable", "message": "the store is down", "field": null}}'
    with opened.at("#/nowhere", expected=lambda one: "503" in one) as page:
        page.route(call, lambda route: route.fulfill(status=503, body=error, content_type="application/json"))
        page.evaluate("(place) => { location.hash = place }", place)
        failed = page.locator(".state.bad").first
        failed.wait_for()
        assert "the store is down" in failed.inner_text()
        assert violations(page, contrast=place == "#/quality") == []
        page.unroute(call)
        failed.get_by_role("button", name="Try again").click()
        page.wait_for_selector(".view .panel table, .view .component")


def test_loading_is_said(opened: Tab) -> None:
    with opened.at("#/nowhere") as page:
        held: list[Any] = []
        page.route("**/v1/experiments", lambda route: held.append(route))
        page.evaluate("location.hash = '#/experiments'")
        # The router's own state comes before, without a heading.
        page.wait_for_selector(".experiments .stack .state.loading")
        assert violations(page, contrast=False) == []
        while not held:
            page.wait_for_timeout(20)
        for route in held:
            route.continue_()
        page.wait_for_selector(".experiments table")
        page.unroute("**/v1/experiments")


def test_a_busy_server_is_asked_again(opened: Tab) -> None:
    error = {"error": {"code": "overloaded", "message": "not now", "field": None}}
    with opened.at("#/nowhere", expected=lambda one: "503" in one) as page:
        busy = {"status": 503, "headers": {"Retry-After": "1"}, "json": error}
        page.route("**/v1/experiments", lambda route: route.fulfill(**busy), times=1)
        page.evaluate("location.hash = '#/experiments'")
        page.wait_for_selector(".experiments table")
        assert page.locator(".state.bad").count() == 0


def test_a_question_goes_with_its_view(opened: Tab) -> None:
    with opened.at("#/experiments/fewer-neighbours") as page:
        page.get_by_role("button", name="Stop", exact=True).click()
        page.get_by_role("dialog").wait_for()
        page.go_back()
        page.get_by_role("dialog").wait_for(state="detached")


def test_quality_tells_whether_the_live_bundle_is_better(opened: Tab, site: tuple[str, Operated]) -> None:
    _, past = site
    with opened.at("#/quality") as page:
        better = page.locator("section", has_text="Is it better than the last?").first
        better.locator(".chip").nth(1).wait_for()
        told = better.inner_text()
        assert "Offline, over the same 200 users: better nDCG@10 +0.0110" in " ".join(told.split())
        assert past.current in page.locator(".live").inner_text()
        retrievers = page.locator("section", has_text="Which retriever earns its keep?")
        retrievers.locator(".chip").first.wait_for()
        verdicts = dict(
            zip(
                retrievers.locator(".table tbody th").all_inner_texts(),
                retrievers.locator(".table .chip").all_inner_texts(),
                strict=True,
            )
        )
        assert verdicts["same_words"] == "above average"
        assert verdicts["popular"] == "below average"
        page.get_by_label("Span").select_option("7")
        page.wait_for_function("location.hash.includes('days=7')")
        page.locator(".quality canvas").first.wait_for()
        page.get_by_label("with", exact=True).select_option(past.worse)
        page.get_by_role("button", name="Compare", exact=True).click()
        page.wait_for_selector(".verdict .chip.bad")
        assert "seed" in page.locator("section", has_text="What differs").inner_text()


def test_a_report_is_shown_in_a_frame_with_its_styles(opened: Tab, site: tuple[str, Operated]) -> None:
    with opened.at(f"#/quality/{site[1].current}") as page:
        inside = page.frame_locator("iframe.report")
        inside.locator("h1").wait_for()
        assert inside.locator("h1").inner_text() == "Evaluation, temporal split"
        assert inside.locator("main").evaluate("(main) => getComputedStyle(main).maxWidth") == "1060px"
        frame = page.locator("iframe.report")
        assert frame.get_attribute("sandbox") == "allow-same-origin"


def test_a_worse_bundle_is_promoted_only_with_a_reason(
    browser: Any, changed: tuple[str, Operated, Any]
) -> None:
    address, past, served = changed
    with console_page(browser, address, f"#/quality/{past.worse}", lambda one: "409" in one) as page:
        page.get_by_role("button", name="Promote").click()
        page.keyboard.type("mine")
        page.get_by_role("dialog").get_by_role("button", name="Promote").click()
        dialog = page.get_by_role("dialog", name="The evidence speaks against it")
        dialog.wait_for()
        assert "more than the margin" in dialog.inner_text()
        assert violations(page, contrast=False) == []
        dialog.get_by_role("button", name="Cancel").click()
        assert served.store.current_bundle() == past.current
        page.get_by_role("button", name="Promote").click()
        page.get_by_role("dialog").get_by_role("button", name="Promote").click()
        dialog.get_by_label("Why").fill("the law")
        dialog.get_by_role("button", name="Promote anyway").click()
        page.wait_for_selector(".chip.good:has-text('in service')")
        assert served.store.promotions(1)[0].grounds.reason == "the law"
        page.goto(f"{address}/#/quality")
        page.get_by_role("button", name=f"Roll back to {past.current}").click()
        page.get_by_role("dialog").get_by_role("button", name="Roll back").click()
        page.wait_for_selector(f".live a:has-text('{past.current}')")
        assert served.store.current_bundle() == past.current


def test_an_experiment_is_created_started_and_stopped_by_keyboard(
    browser: Any, changed: tuple[str, Operated, Any]
) -> None:
    address, _, served = changed
    with console_page(browser, address, "#/experiments/new", lambda one: "422" in one) as page:
        name = page.get_by_label("Name", exact=True).first
        name.wait_for()
        page.get_by_role("button", name="Create", exact=True).focus()
        page.keyboard.press("Enter")
        assert name.evaluate("(input) => input === document.activeElement"), "the first mistake is focused"
        assert name.get_attribute("aria-invalid") == "true"
        page.keyboard.type("trial")
        page.get_by_label("Layer").fill("fewer-neighbours")
        page.get_by_label("What it changes").nth(1).select_option("parameters")
        page.get_by_label("Rules, as JSON").fill('{"nobody": {}}')
        page.keyboard.press("Control+Home")
        page.get_by_role("button", name="Create", exact=True).focus()
        page.keyboard.press("Enter")
        page.wait_for_selector(".wrong:has-text('nobody')")
        assert page.evaluate("document.activeElement.name") == "arms[1].parameters.rules"
        assert violations(page) == []
        page.get_by_label("Rules, as JSON").fill("")
        page.get_by_label("Candidates for the ranker").fill("3")
        page.keyboard.press("Enter")
        page.get_by_role("button", name="Start", exact=True).wait_for()
        page.get_by_role("button", name="Start", exact=True).focus()
        page.keyboard.press("Enter")
        page.get_by_label("Share of users, in percent").fill("40")
        page.keyboard.press("Enter")
        page.wait_for_selector(".chip.good:has-text('running')")
        (stored,) = (one for one in served.store.experiments() if one.name == "trial")
        assert (stored.status["share"], stored.definition["arms"][1]["parameters"]["budget"]) == (0.4, 3)
        page.get_by_role("button", name="Stop", exact=True).focus()
        page.keyboard.press("Enter")
        page.get_by_role("dialog").get_by_label("Why").fill("decided")
        page.get_by_role("dialog").get_by_role("button", name="Stop").focus()
        page.keyboard.press("Enter")
        page.wait_for_selector(".notice:has-text('decided')")


def test_alarms_come_before_figures(opened: Tab) -> None:
    with opened.at("#/experiments/lopsided") as page:
        page.wait_for_selector(".alarms")
        assert "Sample ratio mismatch" in page.locator(".alarms [role=alert]").inner_text()
        assert "a guardrail was passed" in page.locator(".alarms").inner_text()
        assert page.locator(".experiments h2").first.inner_text() == "Differences to control"


def test_plugins_explain_their_parameters(opened: Tab) -> None:
    with opened.at("#/plugins") as page:
        page.get_by_label("Search").fill("fields")
        component = page.locator(".component")
        assert component.count() == 1
        assert "used by all scenarios" in component.inner_text()
        component.get_by_text("3 parameters").click()
        assert component.locator("table tbody tr").count() == 3
        assert violations(page) == []


def test_a_changed_configuration_is_checked_and_not_applied(opened: Tab) -> None:
    with opened.at("#/plugins/config") as page:
        text = page.get_by_label("Configuration, as YAML")
        text.wait_for()
        shown = text.input_value()
        assert "hush" not in shown
        text.fill(f"{shown}train: {{sed: 1}}\n")
        page.wait_for_selector(".mistakes li:has-text('did you mean')")
        text.fill(f"{shown}train: {{seed: 1}}\n")
        page.wait_for_selector(".result .chip.good")
        assert "a bundle that is trained with it" in page.locator(".result").inner_text()
        assert page.locator(".diff .plus").first.inner_text().startswith("+train:")
        assert violations(page) == []
        page.get_by_role("button", name="As it was").click()
        page.wait_for_selector(".result:has-text('It changes nothing.')")
        page.reload()
        text.wait_for()
        assert text.input_value() == shown


@pytest.mark.parametrize(("scope", "lacked"), [("read", "admin"), ("recommend", "read")])
def test_a_key_that_may_not_says_which_scope_is_needed(
    browser: Any, tmp_path: Path, scope: Scope, lacked: str
) -> None:
    made = build(tmp_path)
    key, stored = create_key("test", [scope], 1, None)
    made.store.add_key(stored)
    keyring = Keyring(made.store)
    keyring.start()
    app = create_app(made.app.state.backend, SETTINGS, keyring)
    place = "#/plugins/config" if scope == "read" else "#/quality"
    try:
        with (
            made.store,
            listening(app) as url,
            console_page(browser, url, "#/nowhere", lambda one: "40" in one) as page,
        ):
            page.evaluate("(key) => sessionStorage.setItem('recserve-key', key)", key)
            page.evaluate("(place) => { location.hash = place }", place)
            failed = page.locator(".state.bad").first
            failed.wait_for()
            assert f"lacks the scope '{lacked}'" in failed.inner_text()
    finally:
        keyring.close()


def test_it_speaks_chinese(browser: Any, site: tuple[str, Operated]) -> None:
    with console_page(browser, site[0], "#/experiments/fewer-neighbours", locale="zh-CN") as page:
        page.wait_for_selector("h2:has-text('与 control 的差异')")
        assert page.locator("html").get_attribute("lang") == "zh-CN"
        assert violations(page, contrast=False) == []


def test_training_beside_the_server_is_told_of(browser: Any, changed: tuple[str, Operated, Any]) -> None:
    url, past, served = changed
    begun = RetrainingStatus.begun(1)
    running = begun.model_copy(update={"step": "Fitting bert_lstm: epochs", "done": 3, "total": 40})
    write_status(served.folder, running)
    metrics = {"ndcg@10": {"mean": 0.0612, "ci95": [0.05, 0.07]}}
    served.store.record_bundle(
        past.current, now_ms(), {"metrics": metrics, "postponed": ["ranker.bert_lstm"]}
    )
    with tab(browser, url) as opened:
        for view in ("#/try", "#/quality"):
            with opened.at(view) as page:
                notice = page.locator(".notice", has_text="Served now")
                notice.wait_for()
                assert notice.inner_text() == (
                    "Served now: a bundle that was trained quickly, without ranker.bert_lstm "
                    "(nDCG@10 0.0612). A better one is being trained for 0 min: "
                    "Fitting bert_lstm: epochs, 3 of 40."
                )
                settled(page)
                assert violations(page) == []
        with opened.at("#/try") as page:
            write_status(served.folder, ended(running, "failed", "no space is left"))
            failed = page.locator(".notice", has_text="ended without one: no space is left")
            failed.wait_for()
            done = ended(running, "promoted", "it is better")
            served.store.record_bundle(past.worse, now_ms(), {"metrics": metrics})
            served.store.set_current(past.worse)
            swapped = {"bundle_id": past.worse, "before": past.current}
            write_status(served.folder, done.model_copy(update=swapped))
            page.locator(".notice", has_text="A newly trained bundle was swapped in").wait_for()
