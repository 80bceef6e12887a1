"""The console's dictionaries: every text of a view has a translation, and none is left over."""

from __future__ import annotations

import re
from pathlib import Path

import pytest

import recserve.api

CONSOLE = Path(recserve.api.__file__).parent / "static" / "console"
TEXT = re.compile(r'"((?:[^"\\]|\\.)*)"')
SAID = re.compile(r'\bsay\("((?:[^"\\]|\\.)*)"')
ENTRY = re.compile(r'^  "((?:[^"\\]|\\.)*)": "((?:[^"\\]|\\.)*)",$', re.MULTILINE)


def entries(name: str) -> dict[str, str]:
    found = ENTRY.findall((CONSOLE / "locales" / "zh" / f"{name}.js").read_text(encoding="utf-8"))
    assert len(dict(found)) == len(found), f"{name} says something twice"
    return dict(found)


def sources(view: str) -> str:
    files = [CONSOLE / "views" / f"{view}.js", *sorted((CONSOLE / "views" / view).glob("*.js"))]
    return "\n".join(file.read_text(encoding="utf-8") for file in files)


@pytest.mark.parametrize("view", ["quality", "experiments", "plugins"])
def test_a_view_is_translated(view: str) -> None:
    # The page loads all of them at once.
    parts = (file.stem for file in (CONSOLE / "locales" / "zh").glob("*.js"))
    dictionary = {text for part in parts for text in entries(part)}
    source = sources(view)
    assert [text for text in SAID.findall(source) if text not in dictionary] == []
    # Names that are looked up, such as those of metrics, are written as texts or as keys of objects.
    written = {*TEXT.findall(source), *re.findall(r"\w+", source)}
    assert [text for text in entries(view) if text not in written] == []


@pytest.mark.parametrize("view", ["quality", "experiments", "plugins"])
def test_what_is_filled_in_is_filled_in_everywhere(view: str) -> None:
    for english, chinese in entries(view).items():
        assert english.count("{}") == chinese.count("{}"), english
