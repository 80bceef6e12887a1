"""The benchmark of the console asks what open pages ask, and loads each view anew."""

from __future__ import annotations

import time
from pathlib import Path

import pytest

from benchmarks import console
from benchmarks.console import VIEWS, Screens, load_views
from tests.recserve.api.conftest import CHROMIUM, build, listening


def test_open_pages_ask_again_and_again(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(console, "POLL_SECONDS", 0.05)
    made = build(tmp_path)
    with made.store, listening(made.app) as url:
        screens = Screens(url, 3)
        with screens.open():
            end = time.monotonic() + 20
            while screens.answers < 9:
                assert time.monotonic() < end, "the pages do not ask"
                time.sleep(0.02)
        assert screens.failures == 0
        closed = screens.answers
        time.sleep(0.2)
        assert screens.answers == closed
    with Screens(url, 1).open():
        pass  # a server that is gone fails no benchmark


@pytest.mark.long
@pytest.mark.browser
def test_views_are_loaded_with_nothing_cached(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    pytest.importorskip("playwright.sync_api", reason="the Python package playwright is missing")
    if CHROMIUM is None:
        pytest.skip("no Chromium on this machine")
    monkeypatch.setattr(console, "VIEWS", VIEWS[:2])
    made = build(tmp_path)
    with made.store, listening(made.app) as url:
        loadings = load_views(url, 1)
    assert [loading.view for loading in loadings] == list(VIEWS[:2])
    for loading in loadings:
        assert loading.paint > 0
        assert 50_000 < loading.size < 400_000
        assert loading.requests > 8
