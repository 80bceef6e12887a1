"""What open consoles cost the server, how soon the console is seen, and how much it weighs.

    python -m benchmarks.console [--home DIR] [--loads repeat ...] [--screens 3] [--repeats 8] [--seconds 6]
                                 [--connections 64] [--loadings 7] [--json OUT]

Each round asks the same loads of one server without and with ``--screens`` open pages, in an order that
alternates. A page is what the view Live asks: ``GET /v1/live`` over a connection of its own, every two
seconds, which is the most that any view asks by itself. Ratios are medians of the rounds' own ratios. Pages
are asked for by this process, so that what a browser takes to draw is not the server's.

Then, where Chromium and playwright are there, each view is loaded anew ``--loadings`` times from the idle
server: first contentful paint, when nothing is being loaded any more, and the bytes of all that it loaded.
"""

from __future__ import annotations

import argparse
import shutil
import sqlite3
import statistics
import sys
import threading
from collections.abc import Iterator, Mapping, Sequence
from contextlib import closing, contextmanager
from dataclasses import asdict, dataclass
from typing import Any

import httpx
from rich.console import Console
from rich.table import Table

from benchmarks import serving_load, serving_wrk
from benchmarks.common import arguments, machine, quantile, scratch_home, serving, train_once, write_json
from benchmarks.loop_cost import LOADS, Beside
from benchmarks.serving import USERS, server_processes
from benchmarks.serving_load import Plan, Summary

POLL_SECONDS = 2.0
"""How often an open page asks; `views/live/view.js` follows what the answer says, which is as much."""
VIEWS = ("live", "try", "catalogue", "people", "quality", "experiments", "plugins")
CHROMIUM = ("chromium", "chromium-browser", "google-chrome")
LOADED_SECONDS = 30.0

Found = dict[str, dict[str, list[Summary]]]


@dataclass(frozen=True)
class Loading:
    """One loading of a view with nothing cached.

    Attributes:
        view: Its name.
        paint: Milliseconds from the navigation to the first contentful paint.
        settled: Milliseconds to the end of the last response before the page was at rest.
        size: Bytes of all bodies, as they are sent: long reports are compressed.
        requests: How many responses there were.
    """

    view: str
    paint: float
    settled: float
    size: int
    requests: int


class Screens:
    """Open pages, each a thread that asks what the page asks.

    Args:
        url: The server.
        count: How many.
    """

    def __init__(self, url: str, count: int) -> None:
        self._url = url
        self._count = count
        self.answers = 0
        self.failures = 0

    @contextmanager
    def open(self) -> Iterator[None]:
        """Have the pages open."""
        over = threading.Event()
        threads = [
            threading.Thread(target=self._watch, args=(over, POLL_SECONDS * place / self._count))
            for place in range(self._count)
        ]
        for thread in threads:
            thread.start()
        try:
            yield
        finally:
            over.set()
            for thread in threads:
                thread.join()

    def _watch(self, over: threading.Event, delay: float) -> None:
        with httpx.Client(base_url=self._url, trust_env=False, timeout=10) as client:
            wait = delay
            while not over.wait(wait):
                try:
                    client.get("/v1/live").raise_for_status()
                    self.answers += 1
                except httpx.HTTPError:
                    self.failures += 1
                wait = POLL_SECONDS


def measure(options: argparse.Namespace) -> tuple[Found, Screens, list[Loading]]:
    """Figures of each round by load and state, the pages that were open, and loadings of the views."""
    found: Found = {load: {"closed": [], "open": []} for load in options.loads}
    with scratch_home(options.home, {}) as home, serving(home) as server:
        with closing(sqlite3.connect(home / "recserve.db")) as database:
            items = [row[0] for row in database.execute("SELECT item_id FROM items LIMIT 1000")]
        processes = server_processes(home)
        screens = Screens(server.url, options.screens)

        def ask(load: str, seed: int) -> Summary:
            plan = Plan(
                server.port,
                "/v1/recommend",
                options.connections,
                options.seconds,
                users=USERS,
                items=items,
                seed=seed,
                processes=processes,
                **LOADS[load],
            )
            anew = plan.fresh or plan.novel > 0 or not serving_wrk.available()
            return serving_load.run(plan).summary() if anew else serving_wrk.run(plan)

        for load in found:
            ask(load, 0)  # everything has been called once
        for number in range(1, options.repeats + 1):
            for state in ("closed", "open")[:: 1 if number % 2 else -1]:
                for load in found:
                    if state == "closed":
                        found[load][state].append(ask(load, number))
                    else:
                        with screens.open():
                            found[load][state].append(ask(load, number))
        loadings = load_views(server.url, options.loadings)
    return found, screens, loadings


def load_views(url: str, times: int) -> list[Loading]:
    """Load each view in Chromium, each time with an empty cache; none where there is no Chromium."""
    path = next((found for name in CHROMIUM if (found := shutil.which(name))), None)
    try:
        from playwright.sync_api import sync_playwright
    except ImportError:
        path = None
    if path is None or not times:
        print("views are not loaded: Chromium or the package playwright is missing", file=sys.stderr)
        return []
    with sync_playwright() as driver:
        browser = driver.chromium.launch(executable_path=path, args=["--no-sandbox", "--disable-gpu"])
        _load(browser, url, VIEWS[0])  # the browser itself has been used once
        loadings = [_load(browser, url, view) for _ in range(times) for view in VIEWS]
        browser.close()
    return loadings


def _load(browser: Any, url: str, view: str) -> Loading:
    context = browser.new_context(viewport={"width": 1440, "height": 900})
    page = context.new_page()
    page.goto(f"{url}/#/{view}")
    page.wait_for_load_state("networkidle", timeout=LOADED_SECONDS * 1000)
    paint, settled, *sizes = page.evaluate(
        """() => {
          const loaded = performance.getEntriesByType("resource");
          const answers = [...performance.getEntriesByType("navigation"), ...loaded];
          return [performance.getEntriesByName("first-contentful-paint")[0].startTime,
                  Math.max(...loaded.map((one) => one.responseEnd)),
                  ...answers.map((one) => one.encodedBodySize)];
        }"""
    )
    loading = Loading(view, paint, settled, int(sum(sizes)), len(sizes))
    context.close()
    return loading


def show(found: Found, screens: Screens, loadings: Sequence[Loading]) -> None:
    """Print tables."""
    console = Console()
    table = Table(
        "load", "state", "requests/s", "p50 ms", "p99 ms", "failed", "ratio [rounds]", title=machine()
    )
    for load, states in found.items():
        for state, runs in states.items():
            rates = [run.rate for run in runs]
            each = [Beside(run, (closed,)).rate for closed, run in zip(states["closed"], runs, strict=True)]
            table.add_row(
                load,
                state,
                f"{statistics.median(rates):,.0f}",
                f"{statistics.median(run.p50 for run in runs):.1f}",
                f"{statistics.median(run.p99 for run in runs):.1f}",
                str(sum(run.failed for run in runs)),
                f"{statistics.median(each):.3f} [{min(each):.3f}, {max(each):.3f}]",
            )
    console.print(table)
    console.print(f"open pages: {screens.answers} answers, {screens.failures} failures")
    if not loadings:
        return
    table = Table(
        "view", "first paint ms", "longest", "settled ms", "kB", "requests", title="Chromium, nothing cached"
    )
    for view in VIEWS:
        mine = [loading for loading in loadings if loading.view == view]
        paints = [loading.paint for loading in mine]
        table.add_row(
            view,
            f"{statistics.median(paints):.0f}",
            f"{quantile(paints, 1.0):.0f}",
            f"{statistics.median(loading.settled for loading in mine):.0f}",
            f"{max(loading.size for loading in mine) / 1000:.0f}",
            str(max(loading.requests for loading in mine)),
        )
    console.print(table)


def main() -> None:
    """Measure and print."""
    parser = arguments(__doc__, seconds=6.0, repeats=8)
    parser.add_argument("--loads", nargs="+", choices=list(LOADS), default=list(LOADS))
    parser.add_argument("--screens", type=int, default=3)
    parser.add_argument("--connections", type=int, default=64)
    parser.add_argument("--loadings", type=int, default=7, help="Of each view in Chromium.")
    options = parser.parse_args()
    train_once(options.home)
    found, screens, loadings = measure(options)
    show(found, screens, loadings)
    content: Mapping[str, Any] = {
        "machine": machine(),
        "rounds": {
            load: {state: [asdict(run) for run in runs] for state, runs in states.items()}
            for load, states in found.items()
        },
        "pages": {"answers": screens.answers, "failures": screens.failures},
        "loadings": [asdict(loading) for loading in loadings],
    }
    write_json(options.json, content)


if __name__ == "__main__":
    main()
