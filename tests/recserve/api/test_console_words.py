"""The console's dictionaries: every text of a view has a translation, and none is left over."""

from __future__ import annotations

import re
from pathlib import Path

import pytest
import yaml

import recserve.api
from recserve.data.entities import DEFAULT_EVENT_TYPES
from tools.structure import ROOT

CONSOLE = Path(recserve.api.__file__).parent / "static" / "console"
TEXT = re.compile(r'"((?:[^"\\]|\\.)*)"')
SAID = re.compile(r'\bsay\("((?:[^"\\]|\\.)*)"')
ENTRY = re.compile(r'^  "((?:[^"\\]|\\.)*)": "((?:[^"\\]|\\.)*)",$', re.MULTILINE)

# Names that answers have: steps, stages, and causes of degraded answers.
SERVER = {"history", "encoding", "retrieval", "ranking", "reranking", "explaining", "ingress"}
SERVER |= {"failed", "late", "down", "overloaded", "store", "bundle"}

VIEWS = sorted(file.stem for file in (CONSOLE / "locales" / "zh").glob("*.js") if file.stem != "shell")


def entries(name: str) -> dict[str, str]:
    found = ENTRY.findall((CONSOLE / "locales" / "zh" / f"{name}.js").read_text(encoding="utf-8"))
    assert len(dict(found)) == len(found), f"{name} says something twice"
    return dict(found)


def sources(view: str) -> str:
    views = CONSOLE / "views"
    files = [*views.glob(f"{view}.js"), *sorted((views / view).glob("*.js"))]
    assert files
    return "\n".join(file.read_text(encoding="utf-8") for file in files)


@pytest.mark.parametrize("view", VIEWS)
def test_a_view_is_translated(view: str) -> None:
    # The page loads all of them at once.
    parts = (file.stem for file in (CONSOLE / "locales" / "zh").glob("*.js"))
    dictionary = {text for part in parts for text in entries(part)}
    source = sources(view)
    assert [text for text in SAID.findall(source) if text not in dictionary] == []
    # Names that are looked up, such as those of metrics, are written in quotation marks or as keys.
    written = {*TEXT.findall(source), *re.findall(r"\w+", source), *SERVER}
    assert [text for text in entries(view) if text not in written] == []


@pytest.mark.parametrize("view", VIEWS)
def test_what_is_filled_in_is_filled_in_everywhere(view: str) -> None:
    for english, chinese in entries(view).items():
        assert english.count("{}") == chinese.count("{}"), english


def test_what_surrounds_the_views_is_translated() -> None:
    html = (CONSOLE.parent / "index.html").read_text(encoding="utf-8")
    script = "\n".join(file.read_text(encoding="utf-8") for file in sorted(CONSOLE.glob("*.js")))
    marked = re.findall(r"<[^>]*data-say(?:=\"([^\"]*)\")?[^>]*>([^<]*)", html)
    assert len(marked) > 6
    texts = {text.strip() for names, text in marked if not names} | set(SAID.findall(script))
    texts |= set(re.findall(r'^  \["\w+", "(\w+)",', script, re.MULTILINE))
    for tag in re.findall(r"<[^>]*data-say=[^>]*>", html):
        for name in re.findall(r'data-say="([^"]+)"', tag)[0].split():
            texts.add(re.findall(rf'{name}="([^"]+)"', tag)[0])
    texts |= {f"Theme: {theme}" for theme in ("automatic", "light", "dark")}
    known = entries("shell")
    assert texts - set(known) == set()
    everywhere = script + "\n".join(sources(view) for view in VIEWS) + html
    assert [text for text in set(known) - texts if f'"{text}"' not in everywhere] == []


def test_every_event_type_that_comes_with_a_plugin_has_words() -> None:
    source = (CONSOLE / "views" / "try" / "words.js").read_text(encoding="utf-8")
    named = set(re.findall(r'(\w+): "', source.partition("const PAST = {")[2].partition("};")[0]))
    configured = {
        kind
        for file in (ROOT / "plugins").glob("*/src/*/*.yaml")
        for kind in (yaml.safe_load(file.read_text(encoding="utf-8")) or {}).get("events", {})
    }
    assert {"follow", "watch"} < configured
    assert {*DEFAULT_EVENT_TYPES, *configured} - named == set()
